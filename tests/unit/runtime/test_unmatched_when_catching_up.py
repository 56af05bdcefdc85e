"""The checkout producer wrote booking ids from 12:00 on, and the service starts after that: the row of ids that match
nothing stands in its backlog, in each partition. The client gives it the backlog of one partition before that of the
other, as it comes. What is decided does not depend on that."""

from __future__ import annotations

import pytest
from support.builders import checkout, offer
from support.kept_logs import MINUTE, NOON, A, B, KeptLogs, KeptShop
from support.loop_world import TOPICS

from consumer.core.guards import SuspendedBy

OFFERS, CHECKOUTS = TOPICS
LIMIT = 50
"""join.unmatched_limit"""


def wrote(kept: KeptLogs, partition: int, at: float, *, booking: bool) -> None:
    """An offer was shown, and bought ten seconds later."""
    name, ms = f"o{partition}{(at - NOON) / MINUTE:+.1f}", int(at * 1000)
    offers, checkouts = kept.records[OFFERS, partition], kept.records[CHECKOUTS, partition]
    bought = f"booking of {name}" if booking else name
    shown = offer(len(offers), ms, session=name, offer_id=name, stamp=ms)
    sold = checkout(len(checkouts), ms + 10_000, bought, session=name, stamp=ms + 10_000)
    for log, record in ((offers, shown), (checkouts, sold)):
        record._partition = partition
        log.append(record)


def backlog() -> KeptLogs:
    kept = KeptLogs()
    for partition in (A, B):
        for half_minute in range(-120, 240):
            wrote(kept, partition, NOON + half_minute * MINUTE / 2, booking=half_minute >= 0)
    kept.now = NOON + 121 * MINUTE
    return kept


@pytest.mark.parametrize("order", [[(A, B)], [(A,), (B,)], [(B,), (A,)]], ids=["together", "A first", "B first"])
def test_the_row_holds_though_a_partition_that_is_behind_is_before_it(order: list[tuple[int, ...]]) -> None:
    kept = backlog()
    shop = KeptShop(kept)
    places = [[(topic, partition) for topic in TOPICS for partition in partitions] for partitions in order]
    for read in places:
        for begin in range(0, 360, 40):
            shop.turn([record for place in read for record in kept.records[place][begin : begin + 40]])
    shop.go(kept.now + 20.0)
    assert shop.loop.suspension.by is SuspendedBy.UNMATCHED
    # The row is found half an hour after 12:00 at the latest, and what was due by then may be called.
    late = [name for name in shop.called if float(name[2:]) > LIMIT / 2 + 5]
    assert late == [], "bought, under other ids, and due behind the row"
