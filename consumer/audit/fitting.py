"""Whether an outcome may be what became of a chain, by the reference decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..events import Outcome, Reason
from .calls import ReferenceRules
from .decision import Fate
from .moments import iso
from .partition_log import SessionLog, ShownOffer
from .reading import OutcomeRecord

CALLED = frozenset({Outcome.OPTED_OUT.value, Outcome.NOT_FOUND.value})
"""Outcomes of which the insurer was told, and has answered."""

GIVEN_UP = frozenset({Reason.LATE.value, Reason.IMPLAUSIBLE_TIME.value})
"""Reasons of outcomes of single presentations, which joined no chain. It depends on when they came."""

LET_GO = frozenset({Outcome.DEAD_LETTERED.value, Outcome.RELEASED.value})
"""Outcomes that a backfill may replace, since the insurer was not told."""

_STATUS: Mapping[str, int] = {Outcome.OPTED_OUT.value: 204, Outcome.NOT_FOUND.value: 404}


def objection(
    outcome: OutcomeRecord, fate: Fate, shown: Sequence[ShownOffer], session: SessionLog, rules: ReferenceRules
) -> str:
    """Why this may not have become of the chain, in words; empty if it may. `shown` are the offer's presentations."""
    if not _fits(outcome, fate, session, rules):
        said = f"{outcome.outcome}, {outcome.reason}" + ("" if outcome.status is None else f", {outcome.status}")
        return f"it is told as {said}; by the reference decision the chain is {in_words(fate, rules)}"
    if outcome.decided_at != fate.decide_at:
        return f"it says decided at {iso(outcome.decided_at)}; by the reference decision it is {iso(fate.decide_at)}"
    if not _names_its_checkout(outcome, fate, session):
        return f"it names checkout {outcome.checkout_id}; by the reference decision it is {fate.checkout_id}"
    if outcome.partition != outcome.source[1]:
        return f"it stands in partition {outcome.partition} of the outcomes, its source in {outcome.source[1]}"
    if not any(event.record_offset == outcome.source[2] and event.presented_at == fate.last for event in shown):
        return f"its source is offset {outcome.source[2]}, and no presentation of {iso(fate.last)} stands there"
    return ""


def in_words(fate: Fate, rules: ReferenceRules) -> str:
    """What must become of a chain."""
    if fate.reason is Reason.ABANDONED and not rules.call_abandoned:
        return "ABANDONED and ignored"
    return f"{fate.reason} and to be called" if is_called(fate, rules) else str(fate.reason)


def is_called(fate: Fate, rules: ReferenceRules) -> bool:
    """Whether the chain is to be called."""
    return fate.reason is Reason.DECLINED or (fate.reason is Reason.ABANDONED and rules.call_abandoned)


def _fits(outcome: OutcomeRecord, fate: Fate, session: SessionLog, rules: ReferenceRules) -> bool:
    kind, reason, called = outcome.outcome, outcome.reason, is_called(fate, rules)
    if kind in CALLED:
        return called and reason == fate.reason and outcome.status == _STATUS[kind]
    if kind == Outcome.IGNORED:
        return reason == fate.reason == Reason.ABANDONED and not rules.call_abandoned and outcome.status is None
    if kind == Outcome.PURCHASED:
        return reason == Reason.PURCHASED and _is_bought(outcome, fate, session, called=called)
    if kind == Outcome.RELEASED:
        return reason == Reason.RELEASED and called
    if reason == Reason.CHECKOUT_UNREADABLE:
        is_unreadable = any(doubt.least.checkout is None for doubt in session.doubts)
        return fate.reason is Reason.CHECKOUT_UNREADABLE or (called and outcome.note is not None and is_unreadable)
    # Refused: by the insurer, or before it was sent, since no request can be made of it.
    is_refused = outcome.status is not None or (outcome.attempts > 0 and outcome.note is not None)
    return called and reason == fate.reason and is_refused


def _is_bought(outcome: OutcomeRecord, fate: Fate, session: SessionLog, *, called: bool) -> bool:
    """What was withheld names the purchase, and says so."""
    if called:
        return outcome.checkout_id in fate.may_withhold and outcome.note is not None
    doubtful = [doubt.least.checkout for doubt in session.doubts if doubt.least.checkout is not None]
    return fate.reason is Reason.PURCHASED and any(
        checkout.checkout_id == outcome.checkout_id and fate.offer_id in checkout.purchased
        for checkout in (*session.checkouts, *doubtful)
    )


def _names_its_checkout(outcome: OutcomeRecord, fate: Fate, session: SessionLog) -> bool:
    """Of a purchase see `_is_bought`. Of several checkouts without a time, any may have been taken for the first."""
    if outcome.outcome == Outcome.PURCHASED:
        return True
    if outcome.reason == Reason.CHECKOUT_UNREADABLE:
        return outcome.checkout_id is None
    perhaps = {doubt.least.checkout.checkout_id for doubt in session.doubts if doubt.least.checkout is not None}
    return outcome.checkout_id == fate.checkout_id or (fate.checkout_id in perhaps and outcome.checkout_id in perhaps)
