"""What is wrong with a date is told in words, once for each error, and counted."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented
from consumer.runtime.misdated import DAY, HOUR, MINUTE, Misdated, seems

T = 1_800_000_000_000

UNITS = {
    T // 1_000: "seconds",
    T // MINUTE: "minutes",
    T // HOUR: "hours",
    T // DAY: "days",
    T * 1_000: "microseconds",
    T * 1_000_000: "nanoseconds",
}


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


def bought(dated: int, offset: int, stamp: int = T) -> CheckoutCompleted:
    event = CheckoutCompleted("s", "c", dated, offset, ("o",))
    event.stamped_at = stamp
    return event


def test_an_error_is_said_once_for_each_input_and_counted() -> None:
    misdated = Misdated(lambda: T / 1000)
    with capture_logs() as logs:
        for offset in range(5):
            misdated.checkout(bought(T // 1000, offset), "checkouts", 3)
            misdated.offer(OfferPresented("s", "ada", "o", T // 1000, offset), T, "offers", 3)
        misdated.checkout(bought(T - 5 * HOUR, 5), "checkouts", 3)
        misdated.report()
        misdated.report()
    seconds, zone = "seconds instead of milliseconds", "local time instead of UTC (UTC-5)"
    *said, counted = logs
    assert [(line["event"], line["seems_to_be"], line["offset"]) for line in said] == [
        ("implausible checkout", seconds, 0),
        ("implausible offer", seconds, 0),
        ("implausible checkout", zone, 5),
    ]
    assert counted["counts"] == {f"checkouts: {seconds}": 5, f"offers: {seconds}": 5, f"checkouts: {zone}": 1}
    assert misdated.counts[Side.CHECKOUTS, seconds] == 5


def test_a_clock_that_stands_still_is_one_error_however_late_it_gets() -> None:
    misdated = Misdated(lambda: T / 1000)
    with capture_logs() as logs:
        for hours in range(3, 12):
            misdated.checkout(bought(T, hours, T + hours * HOUR), "checkouts", 0)
    assert len(logs) == 1


@pytest.mark.parametrize("stamp", [-1, 10**15], ids=["without a stamp", "stamped by a clock that is as wrong"])
def test_where_the_stamp_tells_nothing_the_date_is_held_against_the_clock(stamp: int) -> None:
    assert Misdated(lambda: T / 1000).offer(OfferPresented("s", "ada", "o", T * 1000, 0), stamp, "offers", 0) == (
        "microseconds instead of milliseconds"
    )


def test_one_that_only_the_offer_tells_is_held_against_when_that_was_shown() -> None:
    misdated = Misdated(lambda: T / 1000)
    with capture_logs() as logs:
        misdated.checkout(bought(T - 5 * HOUR, 0, T - 5 * HOUR), "checkouts", 0, T)
    assert [line["seems_to_be"] for line in logs] == ["local time instead of UTC (UTC-5)"]
