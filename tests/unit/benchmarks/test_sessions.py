"""The events that the whole way is measured with: of the plan's size, the same each time, one chain an offer."""

from __future__ import annotations

from collections import Counter

import pytest
from benchmarks.whole_way.sessions import GRACE, LATENESS, LOOKBACK, MINUTE, WINDOW, SessionPlan, Sessions

from consumer.events import Reason
from consumer.settings import JoinSettings

BEGIN = 1_700_000_000_000
PLAN = SessionPlan(presentations=4_000, begin=BEGIN, span=180 * MINUTE)


@pytest.fixture(scope="module")
def made() -> Sessions:
    return Sessions(PLAN)


def test_the_same_plan_gives_the_same_events(made: Sessions) -> None:
    assert Sessions(PLAN).events == made.events


def test_it_has_the_size_that_was_asked_for_and_half_as_many_checkouts(made: Sessions) -> None:
    assert 4_000 <= len(made.shown) < 4_003
    assert 0.45 < len(made.bought) / len(made.shown) < 0.55


def test_all_that_is_judged_is_written_once_and_the_trickle_beside_it(made: Sessions) -> None:
    written = Counter(event.fields["offer_id"] for event in made.events if not event.is_checkout)
    assert set(written.values()) == {1}
    assert {shown.offer_id for shown in made.shown} <= written.keys()
    assert len(written) == len(made.shown) + made.others


def test_the_judged_sessions_begin_evenly_over_the_time(made: Sessions) -> None:
    by_third = Counter((shown.presented_at - BEGIN) // (60 * MINUTE) for shown in made.shown)
    assert sorted(by_third)[:3] == [0, 1, 2]
    assert all(1_200 < by_third[third] < 1_450 for third in range(3))


def test_no_event_is_written_behind_one_that_is_younger_by_lateness(made: Sessions) -> None:
    newest = 0
    out_of_order = 0
    for event in made.events:
        assert event.at > newest - LATENESS
        out_of_order += event.at < newest
        newest = max(newest, event.at)
    assert out_of_order > 100


def test_each_offer_has_one_chain_and_a_fate(made: Sessions) -> None:
    fates = made.fates()
    assert len(fates) == len(made.shown)
    reasons = Counter(fate.reason for fate in fates)
    assert set(reasons) == {Reason.PURCHASED, Reason.DECLINED, Reason.ABANDONED}
    assert min(reasons.values()) > 400
    assert any(fate.may_withhold for fate in fates), "some are bought too late"


def test_the_trickle_moves_both_inputs_past_all_that_is_due(made: Sessions) -> None:
    due = max(fate.decide_at for fate in made.fates())
    for is_checkout in (False, True):
        newest = max(event.at for event in made.events if event.is_checkout is is_checkout)
        assert newest - LATENESS - 1 > due + MINUTE


def test_the_spans_are_a_fifth_of_the_service_s_defaults() -> None:
    join = JoinSettings()
    spans = join.window, join.checkout_grace, join.lookback, join.lateness
    assert [span.total_seconds() * 1000 / 5 for span in spans] == [WINDOW, GRACE, LOOKBACK, LATENESS]
