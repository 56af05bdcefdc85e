"""The checkout producer writes booking ids, and is stopped then until it is mended: the silence of that time is the
first reason why decisions are held, and the ids are the second. Within the silence the service is started again.

A purchased id matches only an offer that is read. So offers must be read once the silence is over, as they are where
the start comes after it: see `runtime.suspension`.
"""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from support.builders import checkout, offer
from support.kept_logs import LATENESS, MINUTE, NOON, SILENCE, A, KeptLogs, KeptShop

from consumer.core.guards import SuspendedBy
from consumer.core.watermark import Side

MOST = 50
"""delivery.max_unsettled"""

LIMIT = 50
"""join.unmatched_limit"""


class PacedShop(KeptShop):
    """Reads what stands in the logs, but for what it has paused."""

    def sell(self, name: str, *, booking: bool) -> None:
        """An offer is shown, and bought a second later."""
        logs = self.logs.records
        ms = int(self.logs.now * 1000)
        offers, checkouts = logs["offers", A], logs["checkouts", A]
        bought = f"booking of {name}" if booking else name
        offers.append(offer(len(offers), ms, session=name, offer_id=name, stamp=ms))
        checkouts.append(checkout(len(checkouts), ms + 1_000, bought, session=name, stamp=ms + 1_000))
        self.logs.now += 2.0

    def read_what_may_be_read(self) -> None:
        paused = self.loop._back_pressure.wanted(self.loop.tasks.runners.values(), self.loop.suspension)
        messages = []
        for side, topic in zip(Side, ("offers", "checkouts"), strict=True):
            if (topic, A) not in paused:
                messages += self.logs.records[topic, A][self.runner.task.next_offset(side) :]
        self.turn(messages)


@pytest.mark.parametrize("starts_again_in_the_silence", [False, True])
def test_a_start_within_the_silence_does_not_keep_the_ids_from_matching_ever(
    starts_again_in_the_silence: bool,
) -> None:
    kept = KeptLogs()
    shop = PacedShop(kept, partitions=(A,))
    for number in range(LIMIT + 10):
        shop.sell(f"o{number}", booking=True)
        shop.read_what_may_be_read()
    shop.go(NOON + 15 * MINUTE)
    assert shop.loop.suspension.by is SuspendedBy.UNMATCHED
    shop.set_max_unsettled(MOST)
    kept.now = NOON + SILENCE + 5 * MINUTE
    shop.show(A, "shows the silence")
    shop.go(kept.now + 10.0)
    assert shop.loop.suspension.by is SuspendedBy.SILENCE
    if starts_again_in_the_silence:
        shop.turn(lambda it: it.on_revoke(it, [TopicPartition(topic, A) for topic in ("offers", "checkouts")]))
        shop = PacedShop(kept, shop, partitions=(A,))
        shop.set_max_unsettled(MOST)
        kept.now += LATENESS  # for so long no end of a log is believed
        shop.go(kept.now + 12.0)
        assert shop.loop.suspension.by is SuspendedBy.SILENCE
    for number in range(30):  # it is mended
        shop.sell(f"right{number}", booking=False)
        for _ in range(6):
            kept.now += 10.0
            shop.read_what_may_be_read()
    assert shop.loop.suspension.by is SuspendedBy.NONE, "all ids of half an hour are those of offers"
