"""A way back while decisions are held by purchased ids that name no offer.

Purchases are rare: the row stands further back in the log than a way back reads again. So what was found has to be
remembered, as a silence is: else the offers that were held are called, and each of them was bought, under a booking id.
"""

from __future__ import annotations

import pytest
from support.changes_world import NOW
from support.two_logs import START, TwoLogs

from consumer.core.guards import Guards, SuspendedBy
from consumer.core.rules import MIN_TIME
from consumer.core.task import Task
from consumer.core.watermark import Side

LIMIT = 8
EVERY = 250
"""Seconds between two sales: a way back reads one more sale again than offers."""


class Shop(TwoLogs):
    """Each offer is bought ten seconds after it was shown, under a booking id but for those of these sales."""

    def __init__(self, right: frozenset[int] = frozenset(), count: int = LIMIT + 1) -> None:
        sales = [EVERY * n for n in range(count)]
        super().__init__([(at, f"o{at}") for at in sales], [(at + 10, f"o{at}") for at in sales])
        self.unmatched_limit = LIMIT
        self.sales = LIMIT + 1
        for number, checkout in enumerate(self.done):
            if number not in right:
                checkout.purchased = tuple(f"booking of {name}" for name in checkout.purchased)

    def begin(self) -> None:
        self.commit("offers", 0, self.starts.new_offers(0, NOW))
        self.commit("checkouts", 0, self.starts.checkouts_from(0, MIN_TIME))

    def run(self) -> tuple[SuspendedBy, list[str]]:
        """From what is committed on to the ends of the logs, sale by sale, and commits."""
        guards = Guards(checkout_silence=0, unmatched_limit=LIMIT, lateness=self.rules.lateness)
        task = self.task()
        called = self.turn(guards, task)
        for sale in range(self.sales):
            self.read(task, offers=sale + 1, checkouts=sale + 1)
            called += self.turn(guards, task)
        for moment in range(EVERY * self.sales, EVERY * (self.sales + 2), 50):
            for side in Side:
                task.idle(side, START + 1_000 * moment)
            called += self.turn(guards, task)
        assert self.keep(task)
        self.keep(task)  # what the offers' first commit allows to forget is forgotten by the next one
        return guards.suspended_by, called

    def turn(self, guards: Guards, task: Task) -> list[str]:
        guards.judge([task])
        due = task.decide() if guards.lets_decide(task) else []
        for chain in due:
            self.settle(task, chain, chain.decide_at)
        return [chain.offer_id for chain in due]


@pytest.mark.parametrize("goes_back", [False, True])
def test_a_way_back_keeps_decisions_held(goes_back: bool) -> None:
    shop = Shop()
    shop.begin()
    by, called = shop.run()
    assert by is SuspendedBy.UNMATCHED
    held = {f"o{EVERY * n}" for n in range(LIMIT + 1)} - set(called)
    assert held
    if goes_back:
        shop.changes.reset_to(START + 1_000 * EVERY * (LIMIT - 3), NOW)
    by, called = shop.run()
    assert not held & set(called), "they were bought, under other ids, and nothing has matched"
    assert by is SuspendedBy.UNMATCHED


@pytest.mark.parametrize("crashes", [False, True])
def test_what_is_read_again_does_not_end_it_and_a_newer_match_does(crashes: bool) -> None:
    """The first sale was right, and is read again. Of that time the producer has said nothing new."""
    shop = Shop(frozenset((0, LIMIT + 1)), LIMIT + 2)
    shop.begin()
    assert shop.run()[0] is SuspendedBy.UNMATCHED
    shop.changes.reset_to(START, NOW)
    guards, task = Guards(checkout_silence=0, unmatched_limit=LIMIT, lateness=shop.rules.lateness), shop.task()
    for sale in range(LIMIT + 1):
        shop.read(task, offers=sale + 1, checkouts=sale + 1)
        assert shop.turn(guards, task) == []
        assert guards.suspended_by is SuspendedBy.UNMATCHED, sale
        if crashes:
            shop.keep(task)
            guards, task = Guards(checkout_silence=0, unmatched_limit=LIMIT, lateness=shop.rules.lateness), shop.task()
    shop.sales = LIMIT + 2
    assert shop.run()[0] is SuspendedBy.NONE, "a newer one has matched"


def test_to_say_yes_where_retention_deleted_the_row_keeps_decisions_held() -> None:
    shop = Shop()
    shop.begin()
    shop.run()
    shop.consumer.begins["checkouts"] = LIMIT + 1
    shop.changes.accept(NOW)
    offset, checkouts = shop.checkouts()
    assert offset == LIMIT + 1
    assert checkouts is not None
    assert checkouts.guard.unmatched >= LIMIT
    assert shop.run()[0] is SuspendedBy.UNMATCHED
