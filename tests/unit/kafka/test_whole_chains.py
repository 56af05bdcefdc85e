"""Where to read from so that no offer is judged without what was presented of it before."""

from __future__ import annotations

import pytest
from support.changes_world import NOW, OURS, ChangesWorld

from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.kafka.whole_chains import Beginning, WholeChains

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
BEFORE = RULES.lateness + RULES.late_after + RULES.lookback + RULES.max_skew
"""How long before its time the offers of a beginning begin."""


def before(offset: int, moment: int, *, low: int = 0) -> Beginning:
    """With an offer and a checkout each 10 ms, at offset n that of 10 x n ms."""
    world = ChangesWorld(OURS, RULES)
    world.consumer.low = low
    world.consumer.stamps = {"offers": list(range(0, 2_000, 10)), "checkouts": list(range(0, 2_000, 10))}
    return WholeChains(world.consumer, world.starts, RULES).before(0, offset, moment, NOW)  # type: ignore[arg-type]


def test_it_lies_before_all_that_a_chain_of_the_time_may_begin_with_and_all_due_by_then_is_settled() -> None:
    found = before(150, 1_500)
    assert found.offers == -((BEFORE - 1_500) // 10)
    assert found.checkpoint.decided_to == 1_500 - RULES.lateness
    assert (found.checkpoint.next_offset, found.checkpoint.next_checkout) == (150, 150)
    assert not found.checkpoint.unsettled
    assert found.checkpoint.late_below == 1_500 - BEFORE + RULES.max_skew
    assert found.horizon == 1_500 - BEFORE - RULES.lookback - RULES.lateness
    assert found.checkouts * 10 >= found.horizon - RULES.max_skew


@pytest.mark.parametrize("low", [0, 150])
def test_where_nothing_is_before_it_nothing_is_decided(low: int) -> None:
    found = before(low, 10 * low, low=low)
    assert (found.offers, found.checkpoint.decided_to, found.checkpoint.late_below) == (low, MIN_TIME, MIN_TIME)
    assert found.horizon == (None if low else -BEFORE - RULES.lookback - RULES.lateness)
