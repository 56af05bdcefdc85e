"""H at a first start: below what time checkouts may be gone that the log does not hold any more."""

from __future__ import annotations

import pytest

from consumer.core.horizon import LOG_IS_EMPTY, Horizon
from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules

RULES = DecisionRules(window=1_000, checkout_grace=100, lookback=5_000, lateness=300, max_skew=1_000)
HEAD = Horizon.HEAD

T = 1_000_000


def unknown() -> Horizon:
    return Horizon(MAX_TIME, RULES)


def test_what_is_known_is_not_learnt() -> None:
    assert not Horizon(MIN_TIME, RULES).unknown
    assert Horizon(MIN_TIME, RULES).late_below == MIN_TIME
    assert Horizon(T, RULES).late_below == T + RULES.lookback


@pytest.mark.parametrize("late", [1, HEAD - 1])
def test_the_newest_of_the_first_records_counts_so_that_not_one_that_was_kept_back_tells(late: int) -> None:
    horizon = unknown()
    for _ in range(late):
        assert horizon.read(T - 9_000_000) is None
    for number in range(HEAD - late):
        assert horizon.unknown
        found = horizon.read(T + number)
    assert horizon.value == T + HEAD - late - 1 + RULES.lateness
    assert found is not None
    assert str(horizon.late_below) in found


def test_a_log_with_fewer_records_tells_by_those() -> None:
    horizon = unknown()
    assert horizon.end() is None
    horizon.read(T)
    horizon.read(T - 1)
    assert horizon.end() is not None
    assert horizon.value == T + RULES.lateness


def test_an_empty_log_tells_by_the_clock() -> None:
    horizon = unknown()
    assert horizon.idle(T) == LOG_IS_EMPTY
    assert horizon.value == T + RULES.lateness


def test_a_quiet_log_tells_by_what_it_holds() -> None:
    horizon = unknown()
    horizon.read(T)
    assert horizon.idle(T + 9_000_000) != LOG_IS_EMPTY
    assert horizon.value == T + RULES.lateness
