"""Where to read from so that no offer is judged without what was presented of it before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition
from support.changes_world import NOW, OURS, ChangesWorld

from consumer.core.checkpoint import OfferCheckpoint, rules_key
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.watermark import Side
from consumer.kafka.positions import CommittedPosition
from consumer.kafka.whole_chains import Beginning, WholeChains

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
BEFORE = RULES.lateness + RULES.late_after + RULES.lookback + RULES.max_skew
"""How long before its time the offers of a beginning begin."""


def before(offset: int, moment: int, *, low: int = 0, then: DecisionRules | None = None) -> Beginning:
    """With an offer and a checkout each 10 ms, at offset n that of 10 x n ms."""
    world = ChangesWorld(OURS, RULES)
    world.consumer.low = low
    world.consumer.stamps = {"offers": list(range(0, 2_000, 10)), "checkouts": list(range(0, 2_000, 10))}
    text = "" if then is None else OfferCheckpoint(rules_key(then), 1, 1_990, 199, 199).encode(150)
    found = CommittedPosition.of(Side.OFFERS, TopicPartition("offers", 0, 150, metadata=text))
    whole = WholeChains(world.consumer, world.starts, RULES)  # type: ignore[arg-type]
    return whole.before(0, offset, moment, NOW, found)


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


@pytest.mark.parametrize(
    "then", [replace(RULES, window=200), replace(RULES, lookback=400), replace(RULES, window=20, lookback=200)]
)
def test_by_settings_that_were_changed_it_lies_before_what_lasted_by_those_of_then_or_of_now(
    then: DecisionRules,
) -> None:
    found = before(150, 1_500, then=then)
    lasts = max(then.late_after, RULES.late_after) + max(then.lookback, RULES.lookback)
    assert found.checkpoint.rules == rules_key(then)
    assert found.checkpoint.late_below == 1_500 - RULES.lateness - lasts
    assert found.offers == (1_500 - RULES.lateness - lasts - RULES.max_skew + 9) // 10
