"""The generator: repeatable, within the bounds that the consumer is promised, and with every turn in it."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from consumer.audit.calls import ReferenceRules
from consumer.audit.decision import fates
from consumer.audit.reading import Checkout, Presentation
from consumer.demo.generator import Event, Plan, generate
from consumer.events import Reason

BOUGHT, DECLINED, ABANDONED = Reason.PURCHASED, Reason.DECLINED, Reason.ABANDONED

PLAN = Plan(events=5000, span=30_000, window=3000, grace=500, lookback=6000, lateness=1000, seed=7)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return generate(PLAN)


def test_the_same_plan_gives_the_same_events_and_another_seed_others(events: list[Event]) -> None:
    assert generate(PLAN) == events
    assert generate(Plan(5000, 30_000, 3000, 500, 6000, 1000, seed=8)) != events


def test_as_many_events_as_asked_for_and_every_partner_has_a_share(events: list[Event]) -> None:
    assert PLAN.events <= len(events) < PLAN.events + 50
    partners = Counter(event.fields["partner_code"] for event in events if not event.is_checkout)
    assert set(partners) == set(PLAN.partners)
    assert min(partners.values()) > 0.8 * max(partners.values())


def test_no_event_is_written_behind_a_younger_one_by_as_much_as_the_lateness(events: list[Event]) -> None:
    newest, most = 0, 0
    for event in events:
        most = max(most, newest - event.time)
        newest = max(newest, event.time)
    assert 0 < most < PLAN.lateness


def test_events_are_in_the_order_of_their_writing_and_none_happens_before_the_plan_begins(events: list[Event]) -> None:
    written = [event.time + event.delay for event in events]
    assert written == sorted(written)
    assert min(event.time for event in events) >= 0


def test_every_turn_that_the_join_must_get_right_is_there(events: list[Event]) -> None:
    presentations = [
        Presentation(event.key, event.fields["partner_code"], event.fields["offer_id"], event.time)
        for event in events
        if not event.is_checkout
    ]
    checkouts = [
        Checkout(event.key, event.time, tuple(event.fields["purchased_offer_ids"]))
        for event in events
        if event.is_checkout
    ]
    found = fates(presentations, checkouts, ReferenceRules(PLAN.window, PLAN.grace, PLAN.lookback))
    kinds = Counter(fate.reason for fate in found)
    assert min(kinds[BOUGHT], kinds[DECLINED], kinds[ABANDONED]) > len(found) / 10
    bought = {(c.session_id, offer_id, c.completed_at) for c in checkouts for offer_id in c.purchased}
    called = [fate for fate in found if fate.reason is not BOUGHT]
    assert any(
        bought_at > f.decide_at for f in called for s, o, bought_at in bought if (s, o) == (f.session_id, f.offer_id)
    )
    chains = Counter((fate.session_id, fate.offer_id) for fate in found)
    assert max(chains.values()) > 1, "an offer shown again after its fate was decided"
    assert len(presentations) > len(found), "an offer shown again before"
    assert max(Counter(event.fields["event_id"] for event in events).values()) == 2, "duplicates"
    moments = {(event.key, event.time) for event in events if event.is_checkout}
    assert any((shown.session_id, shown.presented_at) in moments for shown in presentations), "at the same moment"
    first_shown: defaultdict[str, int] = defaultdict(lambda: 10**9)
    for shown in presentations:
        first_shown[shown.session_id] = min(first_shown[shown.session_id], shown.presented_at)
    assert any(
        checkout.purchased and checkout.completed_at < first_shown[checkout.session_id] for checkout in checkouts
    )
    assert any("/" in shown.offer_id for shown in presentations), "an id that must be encoded in a path"


def test_an_offer_belongs_to_one_session(events: list[Event]) -> None:
    sessions: defaultdict[str, set[str]] = defaultdict(set)
    for event in events:
        if not event.is_checkout:
            sessions[event.fields["offer_id"]].add(event.key)
    assert {len(found) for found in sessions.values()} == {1}
