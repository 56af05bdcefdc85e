"""What the logs alone tell of a record: whether its date is believed, and whether it came late."""

from __future__ import annotations

import pytest

from consumer.audit.calls import ReferenceRules
from consumer.audit.partition_log import EVER, PartitionLog
from consumer.audit.reading import Checkout, Presentation

RULES = ReferenceRules(window=100, checkout_grace=10, lookback=300, lateness=20, max_skew=50)
NOW = 1_800_000_000_000


def shown(at: int, session: str = "s") -> Presentation:
    return Presentation(session, "P", "o", at)


@pytest.mark.parametrize(
    ("at", "stamp", "believed"),
    [
        (1_000, 1_000, True),
        (1_050, 1_000, True),
        (1_051, 1_000, False),
        (700, 1_000, True),
        (699, 1_000, False),
        (5, -1, True),
    ],
)
def test_a_date_is_believed_near_its_record(at: int, stamp: int, believed: bool) -> None:
    log = PartitionLog(RULES)
    log.present([shown(at)], stamp)
    assert (len(log.not_joined) == 0) is believed
    assert (len(log.sessions["s"].shown) == 1) is believed


def test_a_date_ahead_of_the_clock_or_before_the_year_2000_is_not_believed() -> None:
    log = PartitionLog(RULES, NOW)
    for at in (NOW + 51, 946_684_799_999):
        log.present([shown(at)], at)
    assert [one.event.presented_at for one in log.not_joined if one.event] == [NOW + 51, 946_684_799_999]
    log.present([shown(NOW + 50)], NOW + 50)
    assert len(log.sessions["s"].shown) == 1


def test_a_record_comes_late_behind_newer_ones_or_by_its_own_stamp() -> None:
    log = PartitionLog(RULES)
    log.present([shown(1_000, "first")], 1_000)
    log.present([shown(980, "on time")], 980)
    log.present([shown(979, "late")], 979)
    log.present([shown(1_000, "stamped late")], 1_021)
    log.expect("checkout")
    log.complete(Checkout("nobody", 2_000, ()), 2_000)
    log.complete(Checkout("checkout", 1_979, ()), 1_979)
    late = {name for name, session in log.sessions.items() if session.came_late}
    assert late == {"late", "stamped late", "checkout"}


def test_checkouts_of_sessions_of_which_nothing_is_known_are_passed_over() -> None:
    log = PartitionLog(RULES)
    log.complete(Checkout("s", 1_000, ()), 1_000)
    log.cannot_complete(["s"], 1_000)
    assert not log.sessions


def test_presentations_outside_of_what_is_kept_only_tell_how_late_others_are() -> None:
    log = PartitionLog(RULES)
    log.kept = 900, 1_000
    log.present([shown(1_000, "behind")], 1_000)
    log.present([shown(979, "late")], 979)
    assert list(log.sessions) == ["late"]
    assert log.sessions["late"].came_late


@pytest.mark.parametrize(
    ("at", "stamp", "least", "most"),
    [
        pytest.param(100, 1_000, 1_000, (100, 1_050), id="far behind"),
        pytest.param(9_000, 1_000, 1_000, (980, EVER), id="ahead"),
        pytest.param(None, 1_000, 1_000, (980, EVER), id="unreadable"),
        pytest.param(None, -1, EVER, (-EVER, EVER), id="unreadable and not stamped"),
    ],
)
def test_a_checkout_without_a_believed_time_lies_in_between(
    at: int | None, stamp: int, least: int, most: tuple[int, int]
) -> None:
    log = PartitionLog(RULES)
    log.expect("s")
    if at is None:
        log.cannot_complete(["s"], stamp)
    else:
        log.complete(Checkout("s", at, ("o",)), stamp)
    (doubt,) = log.sessions["s"].doubts
    assert (doubt.least.earliest, doubt.least.latest) == (least, least)
    assert (doubt.most.earliest, doubt.most.latest) == most
    assert (doubt.most.checkout is None) is (at is None)
