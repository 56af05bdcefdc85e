"""A silence lasts for hours, and the group shares its tasks anew again and again, as when its instances are restarted.

What is kept undecided has the same bound as without: see `manual/limits.md`.
"""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from support.kept_logs import LATENESS, MINUTE, NOON, SILENCE, A, KeptLogs, KeptShop

from consumer.core.guards import SuspendedBy

MOST = 50
"""delivery.max_unsettled"""


@pytest.mark.parametrize("rebalances", [0, 1, 6])
def test_offers_are_read_no_further_in_a_silence_however_often_the_tasks_are_shared_anew(rebalances: int) -> None:
    kept = KeptLogs()
    shop = KeptShop(kept, partitions=(A,))
    shop.set_max_unsettled(MOST)
    shop.show(A, "first")
    shop.check_out(A)
    shop.go(NOON + SILENCE - MINUTE)
    shop.delivery.answer()
    shop.turn()
    kept.now = NOON + SILENCE + MINUTE
    shop.show(A, "shows the silence")
    shop.go(kept.now + 10.0)
    assert shop.loop.suspension.by is SuspendedBy.SILENCE
    before = shop.runner.task.undecided
    for number in range(rebalances + 1):
        for offer in range(3 * MOST):
            if ("offers", A) in shop.loop._back_pressure.wanted(shop.loop.tasks.runners.values(), shop.loop.suspension):
                break
            shop.show(A, f"o{number}-{offer}")
            kept.now += 0.1
        shop.go(kept.now + 10.0)
        if number < rebalances:
            shop.turn(lambda it: it.on_revoke(it, [TopicPartition(topic, A) for topic in ("offers", "checkouts")]))
            shop = KeptShop(kept, shop, partitions=(A,))
            shop.set_max_unsettled(MOST)
            kept.now += LATENESS  # for so long no end of a log is believed
            shop.go(kept.now + 12.0)
            assert shop.loop.suspension.by is SuspendedBy.SILENCE
    assert shop.runner.task.undecided <= before + 2 * MOST
