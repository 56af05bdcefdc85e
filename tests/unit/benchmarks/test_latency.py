"""From when on an offer could have been called, by the records of both topics."""

from __future__ import annotations

import pytest
from benchmarks.whole_way.latency import Passages, histogram, percentiles


def passages() -> Passages:
    made = Passages(lateness=100)
    for event_time, taken_at in ((1_000, 1_003), (1_200, 1_204), (1_150, 1_290), (1_400, 1_401)):
        made.read(0, False, event_time, taken_at)
    for event_time, taken_at in ((1_100, 1_105), (1_300, 1_309)):
        made.read(0, True, event_time, taken_at)
    return made


def test_it_is_when_the_later_of_both_inputs_has_passed_it() -> None:
    assert passages().passed_at(0, 1_000) == 1_309
    assert passages().passed_at(0, 999) == 1_204


def test_a_watermark_is_a_millisecond_below_lateness() -> None:
    made = passages()
    made.read(0, True, 1_301, 1_330)
    assert made.passed_at(0, 1_199) == 1_401
    assert made.passed_at(0, 1_200) == 1_401
    assert made.passed_at(0, 1_201) is None


def test_what_one_input_never_passes_is_never_due() -> None:
    assert passages().passed_at(0, 1_299) is None
    assert passages().passed_at(1, 0) is None


def test_percentiles() -> None:
    assert percentiles([float(number) for number in range(1, 102)]) == pytest.approx((51.0, 100.0, 101.0))


def test_a_histogram_has_a_line_for_each_range_that_has_any() -> None:
    assert histogram([5.0, 5.1, 9.0, 2_000.0], width=4) == [
        "    <= 5 ms       1  #",
        "   <= 10 ms       2  ##",
        "  > 1000 ms       1  #",
    ]
