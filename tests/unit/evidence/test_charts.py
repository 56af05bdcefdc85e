"""The charts: axes that hold what they show, days without gaps, and no labels upon one another."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.evidence import charts
from consumer.evidence.charts import Bar, Share, Stack, bars_chart, days_chart, shares_chart


@given(st.floats(0, 1e9), st.booleans())
@examples(300)
def test_an_axis_holds_the_most_with_few_round_ticks(most: float, whole: bool) -> None:
    top, step = charts._axis(most, whole=whole)
    assert top >= most * (1 - 1e-9)
    assert 1 <= round(top / step) <= 6
    assert re.fullmatch(r"[125]\.0*e[+-]\d+", f"{step:.6e}")
    assert step >= 1 or not whole


@pytest.mark.parametrize("share", [0.0, 1.0, 0.0001])
def test_shares_stay_within_the_chart(share: float) -> None:
    chart = shares_chart([Share("a", share, max(0, share - 0.01), min(1, share + 0.01), "words")])
    places = [float(place) for place in re.findall(r'(?:x1|x2|cx)="([\d.]+)%"', chart)]
    assert len(places) > 4
    assert all(0 <= place <= 100 for place in places)


def test_days_between_are_shown_even_if_they_have_nothing() -> None:
    chart = days_chart([Stack("2026-02-27", 1, 2), Stack("2026-03-02", 4, 0)])
    assert re.findall(r"<span[^>]*>([\d-]+)<", chart) == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    assert chart.count("<rect") == 3


def test_days_that_are_years_apart_are_shown_alone() -> None:
    assert days_chart([Stack("2020-01-01", 1, 0), Stack("2026-01-01", 1, 0)]).count("<span") == 2


@pytest.mark.parametrize("days", [1, 7, 8, 31, 366])
def test_no_more_labels_than_there_is_room_for(days: int) -> None:
    labels = charts._thinned(range(days), 7)
    assert 1 <= len(labels) <= 7
    assert labels[0] == 0


def test_the_columns_stand_on_each_other_and_on_the_base_line() -> None:
    chart = days_chart([Stack("2026-01-01", 30, 10)])
    (lower, upper) = [
        (float(y), float(height)) for y, height in re.findall(r'<rect[^>]* y="([\d.]+)" height="([\d.]+)"', chart)
    ]
    assert sum(lower) == pytest.approx(180)
    assert sum(upper) == pytest.approx(lower[0])
    assert lower[1] == pytest.approx(3 * upper[1])


def test_bars_are_as_long_as_their_shares_of_the_longest() -> None:
    chart = bars_chart([Bar("a", 5, ""), Bar("b", 0, ""), Bar("c", 20, "")])
    assert re.findall(r'width="([\d.]+)%"', chart) == ["25.000", "0.000", "100.000"]
    assert 'width="0.000%"' in bars_chart([Bar("none", 0, "")])
