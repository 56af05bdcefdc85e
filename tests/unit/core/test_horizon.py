"""H at a first start: below what time checkouts may be gone that the log does not hold any more."""

from __future__ import annotations

import pytest

from consumer.core.horizon import Horizon
from consumer.core.rules import MAX_TIME, MIN_TIME, YEAR_2000, DecisionRules

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
        assert horizon.read(T - 9_000_000, MIN_TIME, T) is None
    for number in range(HEAD - late):
        assert horizon.unknown
        found = horizon.read(T + number, MIN_TIME, T)
    assert horizon.value == T + HEAD - late - 1 + RULES.lateness
    assert found is not None
    assert str(horizon.late_below) in found


@pytest.mark.parametrize("records", [0, 1, HEAD - 1])
def test_a_log_with_fewer_records_tells_by_the_clock(records: int) -> None:
    horizon = unknown()
    for _ in range(records):
        horizon.read(T - 9_000, MIN_TIME, T)
    assert str(T + RULES.lateness + RULES.lookback) in horizon.idle(T)
    assert horizon.value == T + RULES.lateness


def test_none_of_the_first_records_was_written_before_what_was_read_before_it() -> None:
    horizon = unknown()
    for _ in range(HEAD):
        horizon.read(T - 9_000, T, T)
    assert horizon.value == T + RULES.lateness


@pytest.mark.parametrize(
    ("timestamp", "newest"),
    [(T, T), (T + 100, T + 50), (T + 1_051, T - 9_000), (-1, T - 9_000)],
    ids=["its stamp", "no later than the clock", "a stamp that the clock disproves", "no stamp"],
)
def test_a_checkout_whose_date_is_not_believed_tells_by_its_stamp(timestamp: int, newest: int) -> None:
    horizon = unknown()
    horizon.read_undated(timestamp, now=T + 50)
    for _ in range(HEAD):
        horizon.read(T - 9_000, MIN_TIME, T)
    assert horizon.value == newest + RULES.lateness


def test_checkouts_whose_dates_are_not_believed_are_no_sample_of_the_log() -> None:
    horizon = unknown()
    for _ in range(HEAD):
        horizon.read_undated(T, now=T)
    assert horizon.unknown


@pytest.mark.parametrize(("time", "counts"), [(YEAR_2000 - 1, False), (YEAR_2000, True)])
def test_checkouts_in_seconds_are_no_sample_of_the_log(time: int, counts: bool) -> None:
    horizon = unknown()
    for _ in range(HEAD):
        horizon.read(time, MIN_TIME, YEAR_2000)
    assert horizon.unknown != counts
