"""One partition is behind, and all of its purchases match. The other one is read along: its producer has written
booking ids, more in a row than join.unmatched_limit, and is mended then.

Decisions of both are held, since what matches is older than the row. What the partition that is read along sells from
then on is newer, and ends it.
"""

from __future__ import annotations

from support.builders import checkout, offer
from support.kept_logs import MINUTE, NOON, A, B, KeptLogs, KeptShop

from consumer.core.guards import SuspendedBy
from consumer.core.watermark import Side

MOST = 50
"""delivery.max_unsettled"""

LIMIT = 50
"""join.unmatched_limit"""

PLACES = [
    (side, topic, partition) for side, topic in zip(Side, ("offers", "checkouts"), strict=True) for partition in (A, B)
]


def sell(kept: KeptLogs, partition: int, at: float, *, booking: bool = False) -> None:
    """An offer is shown, and bought a second later."""
    ms, offers, checkouts = int(at * 1000), kept.records["offers", partition], kept.records["checkouts", partition]
    name = f"o{partition}-{len(offers)}"
    bought = f"booking of {name}" if booking else name
    shown = offer(len(offers), ms, session=name, offer_id=name, stamp=ms)
    sold = checkout(len(checkouts), ms + 1_000, bought, session=name, stamp=ms + 1_000)
    for log, record in ((offers, shown), (checkouts, sold)):
        record._partition = partition
        log.append(record)


def read_what_may_be_read(shop: KeptShop) -> None:
    """Ten records of each partition that is not paused."""
    runners = shop.loop.tasks.runners
    paused = shop.loop._back_pressure.wanted(runners.values(), shop.loop.suspension)
    messages = []
    for side, topic, partition in PLACES:
        if (topic, partition) not in paused:
            begin = runners[partition].task.next_offset(side)
            messages += shop.logs.records[topic, partition][begin : begin + 10]
    shop.turn(messages)


def test_what_another_partition_has_to_catch_up_with_does_not_keep_a_match_from_being_found_ever() -> None:
    kept = KeptLogs()
    for number in range(12 * MOST):
        sell(kept, A, NOON + 20.0 * number)
    now = NOON + 20.0 * 12 * MOST
    for number in range(LIMIT + 10):
        sell(kept, B, now - 15 * MINUTE + number, booking=True)
    sell(kept, B, now - MINUTE, booking=True)
    kept.now = now
    shop = KeptShop(kept)
    shop.set_max_unsettled(MOST)
    by = []
    for _ in range(60):
        sell(kept, B, kept.now)
        for _ in range(6):
            kept.now += 10.0
            read_what_may_be_read(shop)
        by.append(shop.loop.suspension.by)
    assert SuspendedBy.UNMATCHED in by
    assert by[-1] is SuspendedBy.NONE, "for an hour all that was bought was an offer"
