"""What a backfill settles of what it reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.outcomes import AT, outcome_of

from consumer.backfill.mode import BackfillMode, RehearsalMode
from consumer.backfill.scope import BackfillScope, EventTimeRange, OffsetRange
from consumer.backfill.told import KnownFate, Told, chain_key
from consumer.core.chain import Chain
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.watermark import Side
from consumer.events import Mode, OfferPresented, Outcome, Reason, RecordRef
from consumer.kafka.letter import DeadLetter, LetterForm

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
TOPICS = "offers", "checkouts"
DONE_AT = 2_000 + 110


def shown(at: int, offer_id: str = "o") -> OfferPresented:
    return OfferPresented("s", "ada", offer_id, at, 0)


def chain(*presentations: OfferPresented) -> Chain:
    return Chain(list(presentations), 0, Reason.DECLINED, None, split=False)


def mode(told: Told | None = None, *, force: bool = False) -> BackfillMode:
    return BackfillMode(TOPICS, BackfillScope(EventTimeRange(1_000, 2_000), RULES, force), told)


def test_what_is_out_of_the_range_or_told_is_not_settled_and_what_is_told_is_counted() -> None:
    told = Told({chain_key("s", "ada", "told", 1_500): KnownFate(Outcome.PURCHASED, Reason.PURCHASED)})
    backfill = mode(told)
    for asks in (backfill.gives_up, lambda p, one: backfill.settles(p, chain(one))):
        assert [asks(0, one) for one in (shown(999), shown(1_500), shown(2_000))] == [False, True, False]
        assert not asks(0, shown(1_500, "told"))
    assert backfill.skipped == 2
    assert mode().settles(0, chain(shown(1_500, "told"))), "a rehearsal asks nobody"
    assert mode().gives_up(0, shown(1_500, "told"))
    assert backfill.mode is Mode.BACKFILL


def test_what_checkouts_are_lost_is_known_by_partition() -> None:
    scope = BackfillScope(EventTimeRange(1_000, 2_000), RULES)
    assert [BackfillMode(TOPICS, scope, None, {1: 500}).lost_below(p) for p in (0, 1)] == [MIN_TIME, 500]
    assert mode().lost_below(1) == MIN_TIME


def test_by_force_all_that_is_told_is_settled_once_more_but_what_is_bought() -> None:
    told = Told()
    for fate in Outcome:
        reason = Reason.PURCHASED if fate is Outcome.PURCHASED else Reason.DECLINED
        told.add(outcome_of(fate, reason, offer_id=fate.value))
    backfill = BackfillMode(TOPICS, BackfillScope(EventTimeRange(AT, AT + 1), RULES, force=True), told)
    skipped = [fate for fate in Outcome if not backfill.settles(0, chain(shown(AT, fate.value)))]
    assert skipped == [Outcome.PURCHASED]
    assert backfill.skipped == 1


@pytest.mark.parametrize("force", [False, True])
def test_a_record_that_cannot_be_read_is_dead_lettered_if_it_is_in_the_range_and_has_no_dead_letter(
    force: bool,
) -> None:
    told = Told()
    for topic, partition in (("offers", 0), ("checkouts", 1)):
        source, place = RecordRef(topic, partition, 7), RecordRef("dead", partition, 0)
        told.dead.add(DeadLetter(place, 9, LetterForm.WHOLE, "undecodable", "", source, 1_500, b"k", b"v", ()))
    backfill = mode(told, force=force)
    assert backfill.dead_letters(Side.OFFERS, 0, 6, 1_500)
    assert not backfill.dead_letters(Side.OFFERS, 0, 7, 1_500)
    assert backfill.dead_letters(Side.OFFERS, 0, 7, 1_501), "another record stood there, of a topic made anew"
    assert not backfill.dead_letters(Side.CHECKOUTS, 1, 7, 1_500)
    assert backfill.dead_letters(Side.CHECKOUTS, 1, 7, 1_499)
    assert not backfill.dead_letters(Side.OFFERS, 0, 6, 2_000)
    assert mode().dead_letters(Side.OFFERS, 0, 7, 1_500)
    offsets = BackfillMode(TOPICS, BackfillScope(OffsetRange({0: 5}, {0: 10}, 100, {0: 200}), RULES), None)
    assert offsets.dead_letters(Side.OFFERS, 0, 9, 5_000)
    assert not offsets.dead_letters(Side.OFFERS, 0, 10, 150)
    assert offsets.dead_letters(Side.CHECKOUTS, 0, 1_000, 150), "a range of offsets is the offers'"
    assert not offsets.dead_letters(Side.CHECKOUTS, 0, 7, 5_000)


def task(**more: Any) -> Any:
    given = {"restoring": False, "unsettled": 0, "decided_to": DONE_AT, "next_offset": lambda side: 10} | more
    return SimpleNamespace(**given)


@pytest.mark.parametrize(
    ("found", "done"),
    [
        ({}, True),
        ({"restoring": True}, False),
        ({"unsettled": 1}, False),
        ({"decided_to": DONE_AT - 1}, False),
    ],
)
def test_a_task_is_done_once_all_of_the_range_is_decided_and_settled(found: dict[str, Any], done: bool) -> None:
    assert mode().is_done(0, task(**found)) is done


def test_a_range_of_offsets_is_done_once_they_are_read_too() -> None:
    offsets = BackfillMode(TOPICS, BackfillScope(OffsetRange({0: 5}, {0: 11}, 100, {0: 200}), RULES), None)
    assert not offsets.is_done(0, task())
    assert offsets.is_done(0, task(next_offset=lambda side: 11))
    assert offsets.is_done(1, task(next_offset=lambda side: 0))


def test_only_where_nothing_is_called_the_end_of_a_log_is_believed_at_once() -> None:
    assert RehearsalMode.trusts_idleness_at_once
    assert not BackfillMode.trusts_idleness_at_once, "calls rest on it"
    assert BackfillMode.is_bounded
