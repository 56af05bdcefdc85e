"""What a rehearsal finds, held against what was told or against other rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.outcomes import AT, outcome_of

from consumer.backfill.compare import Comparison, FateGroup, differences_table, fate_in_words, groups_table
from consumer.backfill.told import KnownFate, Told
from consumer.events import OfferOutcome, OfferPresented, Outcome, Reason, RecordRef


def told(*outcomes: OfferOutcome) -> Told:
    found = Told()
    for outcome in outcomes:
        found.add(outcome)
    return found


def test_alike_different_new_and_missing_chains_are_told_apart() -> None:
    calls: list[tuple[str, str]] = []
    found = Comparison(
        told(
            outcome_of(Outcome.NOT_FOUND, offer_id="alike"),
            outcome_of(Outcome.PURCHASED, Reason.PURCHASED, offer_id="different"),
            outcome_of(reason=Reason.ABANDONED, offer_id="gone"),
            outcome_of(offer_id="undecided"),
        ),
        lambda outcome, there: calls.append((outcome.offer_id, there)),
    )
    found.add(outcome_of(offer_id="alike"))
    found.add(outcome_of(offer_id="different", product="p"))
    found.add(outcome_of(offer_id="new", partner="eve"))
    found.add(outcome_of(Outcome.IGNORED, Reason.ABANDONED, offer_id="ignored"))
    found.add_open(OfferPresented("s", "ada", "undecided", AT, 0))
    found.add_open(OfferPresented("s", "ada", "open and not told", AT, 0))
    found.finish()
    assert (found.same, found.calls) == (1, 3)
    assert found.differences == {
        ("called: declined", "bought"): 1,
        ("called: declined", "nothing"): 1,
        ("ignored", "nothing"): 1,
        ("open", "called: declined"): 1,
        ("nothing", "called: abandoned"): 1,
    }
    assert calls == [("alike", "called: declined"), ("different", "bought"), ("new", "nothing")]
    assert found.new[FateGroup("eve", None, "called: declined")] == 1
    assert len(found.fates.fates) == 4, "what is undecided has no fate to be compared with"


def test_what_is_open_by_the_rules_in_force_is_not_said_to_be_nothing() -> None:
    """A shorter window calls what the rules in force leave open."""
    in_force = Comparison(Told())
    for offer_id in ("o", "open by both", "gone"):
        in_force.add_open(OfferPresented("s", "ada", offer_id, AT, 0))
    changed = Comparison(in_force.fates)
    changed.add(outcome_of(Outcome.OPTED_OUT, Reason.ABANDONED))
    changed.add_open(OfferPresented("s", "ada", "open by both", AT, 0))
    changed.finish()
    assert changed.differences == {("called: abandoned", "open"): 1, ("nothing", "open"): 1}
    assert changed.same == 1


GIVEN_UP = replace(outcome_of(Outcome.DEAD_LETTERED, Reason.LATE), source=RecordRef("offers", 0, 7))
"""Of another record than the chain's last."""


@pytest.mark.parametrize("others", [[], [outcome_of(), GIVEN_UP], [GIVEN_UP, outcome_of()]])
@pytest.mark.parametrize("chain_first", [False, True])
@pytest.mark.parametrize(
    "chain", [outcome_of(), outcome_of(Outcome.PURCHASED, Reason.PURCHASED)], ids=["called", "bought"]
)
def test_two_presentations_of_one_time_are_one_chain(
    others: list[OfferOutcome], chain_first: bool, chain: OfferOutcome
) -> None:
    """One of them joins none, and has an outcome of its own."""
    found = Comparison(told(*[chain if one is not GIVEN_UP else one for one in others]))
    for one in (chain, GIVEN_UP) if chain_first else (GIVEN_UP, chain):
        found.add(one)
    found.finish()
    words = fate_in_words(KnownFate(chain.outcome, chain.reason))
    assert found.groups == {FateGroup("ada", None, words): 1}
    assert found.new.total() == (0 if others else 1)
    assert found.same == (1 if others else 0)
    assert found.differences.keys() == (set() if others else {(words, "nothing")})


def test_a_chain_of_which_only_another_record_is_told_is_not_told_yet() -> None:
    """A run would settle it, and what is told is of no chain."""
    found = Comparison(told(GIVEN_UP))
    found.add(outcome_of())
    found.finish()
    assert found.new.total() == 1
    assert found.differences == {("called: declined", "nothing"): 1}


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_joins_no_chain_counts_by_itself_where_there_is_none(interrupted: bool) -> None:
    found = Comparison(told(GIVEN_UP, replace(GIVEN_UP, offer_id="not here")))
    found.add(GIVEN_UP)
    found.finish(interrupted=interrupted)
    assert found.groups == {FateGroup("ada", None, "dead-lettered: late"): 1}
    assert (found.same, found.new.total()) == (1, 0)
    assert found.differences == ({} if interrupted else {("nothing", "dead-lettered: late"): 1})


def test_two_presentations_of_one_time_are_one_chain_also_where_it_is_open_or_not_here() -> None:
    found = Comparison(told(GIVEN_UP, outcome_of(), replace(GIVEN_UP, offer_id="open"), outcome_of(offer_id="open")))
    found.add(replace(GIVEN_UP, offer_id="open"))
    found.add_open(OfferPresented("s", "ada", "open", AT, 0))
    found.finish()
    assert found.groups == {FateGroup("ada", None, "open"): 1}
    assert found.differences == {("nothing", "called: declined"): 1, ("open", "called: declined"): 1}


def test_the_tables_have_a_row_a_group_and_a_row_a_difference() -> None:
    found = Comparison(told())
    found.add(outcome_of(offer_id="a"))
    found.add(outcome_of(offer_id="b"))
    found.add(outcome_of(offer_id="c", product="p"))
    assert list(groups_table(found).rows) == [
        ["ada", None, "called: declined", 2, 2],
        ["ada", "p", "called: declined", 1, 1],
    ]
    assert list(differences_table(found, "t", "here", "there").rows) == [["called: declined", "nothing", 3]]


@pytest.mark.parametrize(
    ("outcome", "reason", "words"),
    [
        (Outcome.OPTED_OUT, Reason.DECLINED, "called: declined"),
        (Outcome.NOT_FOUND, Reason.ABANDONED, "called: abandoned"),
        (Outcome.PURCHASED, Reason.PURCHASED, "bought"),
        (Outcome.IGNORED, Reason.ABANDONED, "ignored"),
        (Outcome.RELEASED, Reason.RELEASED, "released"),
        (Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE, "dead-lettered: checkout_unreadable"),
    ],
)
def test_each_fate_in_words(outcome: Outcome, reason: Reason, words: str) -> None:
    assert fate_in_words(KnownFate(outcome, reason)) == words
