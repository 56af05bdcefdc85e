"""What is kept of settled chains while D stands still, since the list of the unsettled is full."""

from __future__ import annotations

import pytest

from consumer.core.checkpoint import Position
from consumer.core.commits import StraddlingChains
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import OfferPresented

RULES = DecisionRules(window=1_000, checkout_grace=0, lookback=2_000, lateness=0, max_skew=10**9)


@pytest.mark.parametrize("held", [5, 200], ids=["the list has room", "the list is full"])
def test_settled_chains_are_kept_in_bounds_while_the_list_of_the_unsettled_is_full(
    monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """One partner's credentials expire: its offers wait. All others' are shown twice, and settled. The broker takes
    every commit."""
    monkeypatch.setattr(StraddlingChains, "MOST", 100)
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0), metadata_limit=200)
    offset, now, waiting = 0, 10**6, 0
    for n in range(2_000):
        now += 2_000
        for _ in range(2):
            task.offer(OfferPresented(f"s{n}", "P", f"o{n}", now, offset), now, now)
            offset += 1
        for side in Side:
            task.idle(side, now + 1_500)
        for chain in task.decide():
            if n % 3 == 0 and waiting < held:
                waiting += 1
            else:
                task.settle(chain)
        plan = task.prepare_commit()
        if plan is not None:
            task.commit_acknowledged(plan)
    assert len(task._planner._straddling._chains) <= 110
