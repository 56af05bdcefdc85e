"""A date that is wrong tells its unit, its zone, or that a clock is wrong."""

from __future__ import annotations

import pytest
from support.other_units import UNITS, T

from consumer.core.dating import DAY, HOUR, MINUTE, seems


@pytest.mark.parametrize(("dated", "unit"), UNITS.items(), ids=UNITS.values())
@pytest.mark.parametrize("under_way", [0, 500, 3 * HOUR])
def test_another_unit_is_told(dated: int, unit: str, under_way: int) -> None:
    assert seems(dated, T + under_way) == f"{unit} instead of milliseconds"


@pytest.mark.parametrize(
    ("ahead", "zone"),
    [(-5 * HOUR, "UTC-5"), (2 * HOUR, "UTC+2"), (5 * HOUR + 45 * MINUTE, "UTC+5:45"), (14 * HOUR, "UTC+14")],
)
@pytest.mark.parametrize("under_way", [0, 500, MINUTE])
def test_another_zone_is_told(ahead: int, zone: str, under_way: int) -> None:
    assert seems(T + ahead, T + under_way) == f"local time instead of UTC ({zone})"


@pytest.mark.parametrize("ahead", [-13 * HOUR, -DAY, -3 * HOUR - 7 * MINUTE, 0, -T])
def test_what_is_no_zone_is_a_clock_that_is_behind(ahead: int) -> None:
    assert seems(T + ahead, T) == "a clock that is behind or stands still"


@pytest.mark.parametrize("ahead", [15 * HOUR, 10**10, 7 * MINUTE])
def test_or_one_that_is_ahead(ahead: int) -> None:
    assert seems(T + ahead, T) == "a clock that is ahead"
