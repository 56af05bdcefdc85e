"""What is wrong with a date is told in words, once for each error, and counted."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from support.other_units import UNITS, T

from consumer.core.dating import HOUR, MINUTE
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented
from consumer.runtime.misdated import Misdated


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


@pytest.mark.parametrize(("stamp", "unit"), UNITS.items(), ids=UNITS.values())
def test_a_date_that_is_right_is_not_blamed_for_a_record_stamped_in_another_unit(stamp: int, unit: str) -> None:
    misdated = Misdated(lambda: T / 1000)
    with capture_logs() as logs:
        misdated.checkout(bought(T - MINUTE, 0, stamp), "checkouts", 0)
        told = misdated.offer(OfferPresented("s", "ada", "o", T - MINUTE, 0), stamp, "offers", 0)
    (checkout, offer) = (line["seems_to_be"] for line in logs)
    assert checkout == offer == told == f"a record that is stamped in {unit} instead of milliseconds"


def test_where_both_are_in_another_unit_the_date_is_named() -> None:
    misdated = Misdated(lambda: T / 1000)
    assert misdated.offer(OfferPresented("s", "a", "o", T // 1000, 0), T // 1000, "offers", 0).startswith("seconds")
