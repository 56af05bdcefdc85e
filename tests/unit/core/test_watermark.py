"""One watermark an input: what moves it, which input is to be paused, and what an undated event may be dated."""

from __future__ import annotations

import pytest

from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules
from consumer.core.watermark import InputWatermark, Side, Watermarks, possible_times

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
T = 1_000_000
LATER = T + 10**6


# --- one input


@pytest.mark.parametrize(
    ("event_time", "timestamp", "now", "value"),
    [
        (T, T, LATER, T - 6),
        (T, T + 20, LATER, T - 6),
        (T, T - 20, LATER, T - 26),
        (T, -1, LATER, T - 6),
        (T, 0, LATER, None),
        (T, T - 50, LATER, T - 56),
        (T, T - 51, LATER, None),
        (T, T, T - 3_050, T - 3_056),
        (T, T, T - 3_051, None),
        (T, -1, T - 3_051, None),
    ],
    ids=[
        "lateness and a millisecond behind",
        "stamped later",
        "stamped earlier",
        "without a stamp",
        "stamped at the epoch",
        "max_skew ahead of its stamp",
        "further ahead of its stamp",
        "max_skew ahead of the clock and its tolerance",
        "further ahead of the clock",
        "without a stamp, further ahead of the clock",
    ],
)
def test_a_record_moves_the_watermark_by_the_lower_of_its_times_unless_it_is_dated_too_far_ahead(
    event_time: int, timestamp: int, now: int, value: int | None
) -> None:
    one = InputWatermark(RULES)
    assert one.observe(event_time, timestamp, now) is (value is not None)
    assert one.value == (MIN_TIME if value is None else value)
    assert one.newest == (MIN_TIME if value is None else T if timestamp < 0 else min(T, timestamp))


def test_an_older_record_takes_nothing_back() -> None:
    one = InputWatermark(RULES)
    for time in (T, T + 9, T + 3):
        assert one.observe(time, time, LATER)
    assert (one.first, one.newest, one.value) == (T, T + 9, T + 3)


def test_what_is_known_from_before_a_restart_is_not_begun_anew() -> None:
    known = InputWatermark(RULES, first=T - 40)
    known.observe(T, T, LATER)
    assert (known.first, known.newest) == (T - 40, T)
    newer = InputWatermark(RULES, newest=T + 40)
    newer.observe(T, T, LATER)
    assert (newer.first, newer.newest, newer.value) == (MIN_TIME, T + 40, T - 6)


def test_an_input_without_records_moves_to_the_clock_and_never_back() -> None:
    one = InputWatermark(RULES)
    assert one.read_to == MIN_TIME
    one.idle(T)
    assert (one.value, one.read_to) == (T - 6, T)
    one.idle(T - 1)
    assert one.read_to == T
    assert (one.first, one.newest) == (MIN_TIME, MIN_TIME)


def test_an_input_was_read_to_its_newest_record() -> None:
    one = InputWatermark(RULES)
    one.observe(T, T, LATER)
    assert one.read_to == T


# --- both


def test_each_input_has_a_watermark_of_its_own_and_begins_with_what_is_known_of_it() -> None:
    both = Watermarks(RULES, T - 7, T - 3)
    assert both.of(Side.OFFERS) is both.offers is not both.of(Side.CHECKOUTS) is both.checkouts
    assert (both.offers.first, both.offers.newest) == (T - 7, MIN_TIME)
    assert (both.checkouts.first, both.checkouts.newest) == (MIN_TIME, T - 3)


@pytest.mark.parametrize("ahead", Side)
def test_the_lower_watermark_counts(ahead: Side) -> None:
    both = Watermarks(RULES, MIN_TIME, MIN_TIME)
    both.of(ahead).idle(T + 70)
    assert both.lower == MIN_TIME
    both.of(Side(1 - ahead)).idle(T)
    assert both.lower == T - 6


@pytest.mark.parametrize(
    ("was_ahead", "gap", "is_ahead"),
    [(False, 100, False), (False, 101, True), (True, 51, True), (True, 50, False)],
    ids=["window", "more", "over half", "half"],
)
@pytest.mark.parametrize("side", Side)
def test_an_input_is_paused_from_more_than_a_window_ahead_until_half_of_one(
    side: Side, was_ahead: bool, gap: int, is_ahead: bool
) -> None:
    both = Watermarks(RULES, MIN_TIME, MIN_TIME)
    both.of(side).idle(T + 1_000)
    if was_ahead:
        both.of(Side(1 - side)).idle(T)
        assert both.input_to_pause() is side
    both.of(Side(1 - side)).idle(T + 1_000 - gap)
    assert both.input_to_pause() is (side if is_ahead else None)


@pytest.mark.parametrize(("gap", "is_ahead"), [(300, False), (301, True)], ids=["lookback", "more"])
def test_while_calls_wait_the_checkouts_are_read_up_to_lookback_ahead(gap: int, is_ahead: bool) -> None:
    both = Watermarks(RULES, MIN_TIME, MIN_TIME)
    both.of(Side.OFFERS).idle(T)
    both.of(Side.CHECKOUTS).idle(T + 101)
    assert both.input_to_pause() is Side.CHECKOUTS
    assert both.input_to_pause(calls_wait=True) is None, "a call was decided since"
    both.of(Side.CHECKOUTS).idle(T + gap)
    assert both.input_to_pause(calls_wait=True) is (Side.CHECKOUTS if is_ahead else None)
    assert both.input_to_pause() is Side.CHECKOUTS, "it was made"


def test_while_calls_wait_offers_are_paused_as_always() -> None:
    both = Watermarks(RULES, MIN_TIME, MIN_TIME)
    both.of(Side.OFFERS).idle(T + 101)
    both.of(Side.CHECKOUTS).idle(T)
    assert both.input_to_pause(calls_wait=True) is Side.OFFERS


@pytest.mark.parametrize("side", Side)
def test_the_pause_goes_over_to_the_other_input_when_that_one_is_ahead_by_a_window(side: Side) -> None:
    both = Watermarks(RULES, MIN_TIME, MIN_TIME)
    both.of(side).idle(T)
    assert both.input_to_pause() is side
    both.of(Side(1 - side)).idle(T + 101)
    assert both.input_to_pause() is Side(1 - side)


# --- an event whose own date is not believed


@pytest.mark.parametrize(
    ("timestamp", "dated", "now", "times"),
    [
        (T, T + 5_000, T + 200, (T - 5, T + 3_250)),
        (T, T + 100, T + 200, (T - 5, T + 150)),
        (0, T, T, (-5, T + 50)),
        (T + 3_250, T + 5_000, T + 200, (T + 3_245, T + 3_300)),
        (T + 3_210, T - 5_000, T + 200, (T - 5_000, T + 3_260)),
        (T + 3_251, T + 5_000, T + 200, (MIN_TIME, T + 3_250)),
        (-1, T, T, (MIN_TIME, T + 50)),
        (T, MAX_TIME, T + 200, (T - 5, T + 3_250)),
    ],
    ids=[
        "no later than a clock that is behind by its tolerance",
        "no later than it says",
        "stamped at the epoch",
        "stamped as far ahead of the clock as is believed",
        "no earlier than its stamp, which a clock that is behind by more than its tolerance does not disprove",
        "stamped further ahead",
        "without a stamp",
        "without any date",
    ],
)
def test_an_event_of_doubtful_date_came_at_most_lateness_before_its_stamp_and_had_happened_when_it_was_read(
    timestamp: int, dated: int, now: int, times: tuple[int, int]
) -> None:
    assert possible_times(RULES, timestamp, dated, now) == times
