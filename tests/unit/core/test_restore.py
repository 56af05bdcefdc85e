"""What a restart finds: the two checkpoints, and what they say of each record that is read again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consumer.core.admission import Admission
from consumer.core.chain import Chain
from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, Position, each_of, rules_key
from consumer.core.join import Join
from consumer.core.restore import PartitionsMoved, Restore
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.events import MOST_ELEMENTS, CheckoutCompleted, OfferAmongSeveral, OfferPresented

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
T = 1_000_000
LATER = T + 10**6


def offers(committed: int = 20, **found: Any) -> Position:
    """Of the offer partition: read to 40 and decided up to T, unless `found` says otherwise."""
    checkpoint = OfferCheckpoint(rules_key(RULES), 3, T, 40, 60)
    return Position(committed, replace(checkpoint, **found).encode(committed))


def checkouts(committed: int = 50, **found: Any) -> Position:
    """Of the checkout partition: read to 70, unless `found` says otherwise."""
    return Position(committed, replace(CheckoutCheckpoint(3, 70, T - 500), **found).encode(committed))


def restored(
    of_offers: Position | None = None,
    of_checkouts: Position | None = None,
    *,
    rules: DecisionRules = RULES,
    horizon: int | None = None,
    each: str = "",
) -> Restore:
    return Restore(rules, 3, of_offers or offers(), of_checkouts or checkouts(), horizon, each)


# --- the two checkpoints


def test_what_was_committed_is_found_and_nothing_is_odd_about_it() -> None:
    restore = restored()
    assert (restore.offers.decided_to, restore.offers.next_offset) == (T, 40)
    assert (restore.checkouts.next_offset, restore.checkouts.horizon) == (70, T - 500)
    assert restore.warnings == ()


@pytest.mark.parametrize(
    ("beside_the_offers", "of_its_own", "until"),
    [(60, 70, (40, 70)), (60, 50, (40, 60))],
    ids=["the checkouts' commit came through alone", "the offers' commit came through alone"],
)
def test_it_is_read_again_up_to_the_higher_of_what_either_commit_says(
    beside_the_offers: int, of_its_own: int, until: tuple[int, int]
) -> None:
    restore = restored(offers(next_checkout=beside_the_offers), checkouts(next_offset=of_its_own))
    assert restore.until == until


def test_without_metadata_everything_from_the_committed_offset_on_is_read_for_the_first_time() -> None:
    restore = restored(Position(20), Position(50))
    assert restore.until == (20, 50)
    assert (restore.offers.decided_to, restore.offers.next_checkout) == (MIN_TIME, 0)
    assert restore.offers.unsettled == restore.offers.dead == frozenset()
    assert restore.warnings == ()


@pytest.mark.parametrize(("horizon", "found"), [(T - 9, T - 9), (None, MIN_TIME)])
def test_without_metadata_of_the_checkouts_the_horizon_is_the_one_that_the_log_gives(
    horizon: int | None, found: int
) -> None:
    assert restored(of_checkouts=Position(50), horizon=horizon).checkouts.horizon == found
    assert restored(horizon=horizon).checkouts.horizon == T - 500  # it is committed, and needs no other


def test_offer_metadata_that_cannot_be_read_is_said_with_what_it_costs_and_the_rest_goes_on() -> None:
    restore = restored(Position(20, "copied by a tool"))
    assert restore.until == (20, 70)
    (warning,) = restore.warnings
    assert "copied by a tool" in warning
    assert "calls since offset 20 are repeated" in warning


def test_checkout_metadata_that_cannot_be_read_is_said_and_the_rest_goes_on() -> None:
    restore = restored(of_checkouts=Position(50, "copied by a tool"), horizon=T - 9)
    assert restore.until == (40, 60)
    assert restore.checkouts.horizon == T - 9
    (warning,) = restore.warnings
    assert "copied by a tool" in warning


def test_metadata_that_was_copied_to_another_offset_is_not_believed() -> None:
    restore = restored(Position(21, offers(20).metadata), Position(51, checkouts(50).metadata))
    assert restore.until == (21, 51)
    assert len(restore.warnings) == 2


@pytest.mark.parametrize(
    ("of_offers", "of_checkouts"),
    [(offers(partitions=2), checkouts()), (offers(), checkouts(partitions=2))],
    ids=["offers", "checkouts"],
)
def test_what_belongs_to_another_number_of_partitions_stops_the_start(
    of_offers: Position, of_checkouts: Position
) -> None:
    with pytest.raises(PartitionsMoved, match="committed with 2 partitions, the topics now have 3"):
        restored(of_offers, of_checkouts)


# --- the rules of then


@pytest.mark.parametrize(
    ("change", "rules_changed", "spans_changed"),
    [
        ({}, False, False),
        ({"window": 99}, True, True),
        ({"checkout_grace": 9}, True, True),
        ({"lookback": 301}, True, True),
        ({"call_abandoned": False}, True, False),
        ({"lateness": 6, "max_skew": 51}, False, False),  # no decision was made by these
    ],
    ids=["none", "window", "grace", "lookback", "abandoned", "lateness and skew"],
)
def test_changed_rules_are_found_and_said_and_what_was_decided_keeps_its_own(
    change: dict[str, Any], rules_changed: bool, spans_changed: bool
) -> None:
    now = replace(RULES, **change)
    restore = restored(rules=now)
    assert restore.rules_changed is rules_changed
    assert restore.spans_changed is spans_changed
    assert restore.rules_then == replace(RULES, lateness=now.lateness, max_skew=now.max_skew)
    assert [("differ from those of the last run" in text) for text in restore.warnings] == [True] * rules_changed


def test_what_was_ignored_as_abandoned_by_the_rules_of_then_stays_so() -> None:
    then = replace(RULES, window=90, checkout_grace=8, lookback=200, call_abandoned=False)
    assert restored(offers(rules=rules_key(then))).rules_then == then


def test_where_nothing_was_decided_the_rules_of_then_are_those_of_now() -> None:
    now = replace(RULES, window=7)
    restore = restored(Position(20), rules=now)
    assert not restore.rules_changed
    assert restore.rules_then == now


# --- records that are read again


@pytest.mark.parametrize(
    ("dead", "unsettled", "was"),
    [({25}, set(), True), ({25}, {25}, False), (set(), set(), False), (set(), {25}, False)],
    ids=["acknowledged", "its write was open", "readable then", "readable then and open"],
)
def test_an_offer_that_cannot_be_read_was_dead_lettered_only_if_it_was_known_as_dead_and_acknowledged(
    dead: set[int], unsettled: set[int], was: bool
) -> None:
    restore = restored(offers(dead=frozenset(dead), unsettled=frozenset(unsettled)))
    assert restore.was_dead_lettered(25) is was


@pytest.mark.parametrize(
    ("at", "plausible", "horizon", "admission"),
    [
        (T, True, MIN_TIME, Admission.ACCEPTED),
        (T, False, MIN_TIME, Admission.IMPLAUSIBLE),
        (T - 200, True, MIN_TIME, Admission.ACCEPTED),
        (T - 201, True, MIN_TIME, Admission.SETTLED),
        (T, True, T - 300, Admission.ACCEPTED),
        (T, True, T - 299, Admission.CUT_OFF),
    ],
    ids=[
        "on time",
        "implausible",
        "at the bound of what was late",
        "below it",
        "its checkouts are all there",
        "some of them are gone",
    ],
)
def test_what_was_found_about_a_presentation_is_found_again(
    at: int, plausible: bool, horizon: int, admission: Admission
) -> None:
    restore = restored(offers(late_below=T - 200))
    assert restore.admission(OfferPresented("s", "ada", "o", at, 25), horizon, plausible=plausible) is admission


@pytest.mark.parametrize(
    ("at", "dead", "unsettled", "admission"),
    [
        (T, {25}, set(), Admission.SETTLED),
        (T, {25}, {25}, Admission.IMPLAUSIBLE),
        (T - 201, set(), {25}, Admission.LATE),
        (T, set(), {25}, Admission.ACCEPTED),
        (T, {24}, {24}, Admission.ACCEPTED),
    ],
    ids=["dead", "dead and not acknowledged", "late and not acknowledged", "decided and unsettled", "another"],
)
def test_a_dead_letter_is_written_again_only_if_it_was_not_acknowledged(
    at: int, dead: set[int], unsettled: set[int], admission: Admission
) -> None:
    restore = restored(offers(late_below=T - 200, dead=frozenset(dead), unsettled=frozenset(unsettled)))
    assert restore.admission(OfferPresented("s", "ada", "o", at, 25), MIN_TIME, plausible=True) is admission


def due_then(restore: Restore) -> Join:
    """Four chains due by T: two of them are listed, by their first and by their last presentation."""
    join = Join(restore.rules_then)
    for offset, offer_id in ((21, "o1"), (22, "o1"), (23, "o2"), (24, "o2"), (25, "o3"), (26, "o3"), (27, "o4")):
        join.present(OfferPresented("s", "ada", offer_id, T - 200, offset))
    return join


def told(chains: list[Chain]) -> list[str]:
    return [chain.offer_id for chain in chains]


def test_of_what_was_due_then_the_listed_chains_wait_and_the_others_were_settled() -> None:
    restore = restored(offers(unsettled=frozenset({23, 26})))
    join = due_then(restore)
    assert told(restore.tell_settled(join)) == ["o1", "o4"]
    assert told(restore.tell_listed(join)) == ["o2", "o3"]
    assert join.presentations == 0


def test_what_became_due_by_a_checkout_that_was_read_later_is_neither_settled_nor_listed() -> None:
    restore = restored(offers(unsettled=frozenset({23, 26})))
    join = due_then(restore)
    restore.tell_settled(join)
    join.present(OfferPresented("s", "ada", "o5", T - 50, 28))
    join.complete(CheckoutCompleted("s", "c", T - 40, 60))
    assert told(restore.tell_listed(join)) == ["o2", "o3"]
    assert told(list(join.decide(T))) == ["o5"]


def test_what_waits_is_decided_by_the_rules_of_now() -> None:
    restore = restored(offers(unsettled=frozenset({23, 26})), rules=replace(RULES, window=250))
    join = due_then(restore)
    assert told(restore.tell_settled(join)) == ["o1", "o4"]
    assert restore.tell_listed(join) == []
    assert told(list(join.decide(T + 49))) == []
    assert told(list(join.decide(T + 50))) == ["o2", "o3"]


# --- a record that holds several


def test_a_new_task_knows_how_many_presentations_a_refused_record_may_hold() -> None:
    restore = Restore(RULES, 1, Position(0), Position(0), None, EACH)
    restore.refused.add(1)
    assert restore.refused.unacknowledged() == set(range(MOST_ELEMENTS, 2 * MOST_ELEMENTS))


def test_what_is_dead_and_believed_is_told_by_decided_to_as_well() -> None:
    restore = restored(offers(dead=frozenset({25, 26})))
    for offset, plausible in ((25, True), (26, False)):
        shown = OfferPresented("s", "ada", "o", T, offset)
        assert restore.admission(shown, MIN_TIME, plausible=plausible) is Admission.SETTLED
    late_by = T + RULES.late_after
    assert (restore.refused.late(late_by - 1), restore.refused.late(late_by)) == ([25], [])
    assert restore.refused.dead() == {26}


EACH = each_of("offers")


def among(record: int, place: int = 0, time: int = T) -> OfferAmongSeveral:
    return OfferAmongSeveral("s", "ada", "a", time, record * MOST_ELEMENTS + place)


@pytest.mark.parametrize(("then", "now"), [("", EACH), (EACH, ""), (EACH, each_of("items"))])
def test_lists_of_another_setting_are_not_read_and_calls_are_repeated(then: str, now: str) -> None:
    restore = restored(offers(each=then, unsettled=frozenset({30 * (64 if then else 1)})), each=now)
    assert (restore.offers.decided_to, restore.offers.unsettled, restore.until[0]) == (MIN_TIME, set(), 20)
    assert "input.offers.each was another; calls since offset 20 are repeated" in restore.warnings


def test_a_record_is_dead_lettered_if_nothing_that_it_may_hold_is_listed() -> None:
    dead = frozenset({30 * MOST_ELEMENTS, 31 * MOST_ELEMENTS})
    restore = restored(offers(each=EACH, dead=dead, unsettled=frozenset({31 * MOST_ELEMENTS + 5})), each=EACH)
    assert [restore.was_dead_lettered(offset) for offset in (29, 30, 31, 32)] == [False, True, False, False]
    found = [restore.admission(among(record), MIN_TIME, plausible=True) for record in (29, 30, 31)]
    assert found == [Admission.ACCEPTED, Admission.SETTLED, Admission.IMPLAUSIBLE]


def test_a_late_record_is_settled_if_nothing_that_it_may_hold_is_listed() -> None:
    listed = frozenset({31 * MOST_ELEMENTS + 63})
    restore = restored(offers(each=EACH, late_below=T, unsettled=listed), each=EACH)
    found = [restore.admission(among(record, time=T - 1), MIN_TIME, plausible=True) for record in (30, 31)]
    assert found == [Admission.SETTLED, Admission.LATE]
