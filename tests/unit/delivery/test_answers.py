"""The table answer x state -> effect, a row a test case."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import structlog
from support.delivery_world import make_calls

from consumer.calls import Answer, AnswerKind
from consumer.delivery.answers import Effect, effect_of
from consumer.delivery.limiter import CredentialLimiter
from consumer.delivery.not_found import UNCONFIRMED_S
from consumer.delivery.partner import Partner, PendingCall
from consumer.delivery.runs import Runs
from consumer.settings import DeliverySettings

NOW = 1_000.0
LIMIT = 3
State = Callable[[Partner, PendingCall], None]


def answered(kind: AnswerKind, times: int = 1, *, before: float = 0.0) -> State:
    """Other calls of the partner were answered so."""

    def prepare(partner: Partner, _: PendingCall) -> None:
        for _number in range(times):
            take_note(partner, pending_call(partner), kind, NOW - before)

    return prepare


def found_missing_long_ago(partner: Partner, pending: PendingCall) -> None:
    """A run of 404s began so long ago that they are believed."""
    answered(AnswerKind.NOT_FOUND, before=UNCONFIRMED_S)(partner, pending)


def as_new(partner: Partner, pending: PendingCall) -> None:
    """Nothing has been answered yet."""


def cancelled(_: Partner, pending: PendingCall) -> None:
    pending.cancelled = True


def released(_: Partner, pending: PendingCall) -> None:
    pending.released = "released by on call: gone"


def denied_before_a_204(partner: Partner, pending: PendingCall) -> None:
    take_note(partner, pending, AnswerKind.CREDENTIALS, NOW)
    take_note(partner, pending_call(partner), AnswerKind.RECORDED, NOW)


def undeadletterable(_: Partner, pending: PendingCall) -> None:
    pending.retry_refused = True


def others_refused_that_cannot_be_dead_lettered(partner: Partner, _: PendingCall) -> None:
    for _number in range(LIMIT):
        other = pending_call(partner)
        other.retry_refused = True
        take_note(partner, other, AnswerKind.REFUSED, NOW)


def both(one: State, other: State) -> State:
    def prepare(partner: Partner, pending: PendingCall) -> None:
        one(partner, pending)
        other(partner, pending)

    return prepare


def take_note(partner: Partner, pending: PendingCall, kind: AnswerKind, now: float) -> None:
    partner.on_answer(pending, Answer(kind, 400), now, was_probe=False, log=structlog.get_logger().bind())


def pending_call(partner: Partner) -> PendingCall:
    (call,) = make_calls(["offer"])
    return PendingCall(call, partner)


def effect(kind: AnswerKind, state: State, rejected: str = "hold") -> Effect:
    settings = DeliverySettings.model_validate({"not_found_limit": LIMIT, "rejected": rejected})
    partner = Partner("P", CredentialLimiter("key", 10.0), Runs(settings, LIMIT), Random(1))
    pending = pending_call(partner)
    state(partner, pending)
    take_note(partner, pending, kind, NOW)
    return effect_of(kind, pending, NOW)


@pytest.mark.parametrize(
    ("kind", "state", "expected"),
    [
        (AnswerKind.RECORDED, as_new, Effect.SETTLE_OPTED_OUT),
        (AnswerKind.RECORDED, cancelled, Effect.SETTLE_OPTED_OUT),
        (AnswerKind.RECORDED, released, Effect.SETTLE_OPTED_OUT),
        (AnswerKind.NOT_FOUND, as_new, Effect.AWAIT_BELIEF),
        (AnswerKind.NOT_FOUND, answered(AnswerKind.RECORDED), Effect.AWAIT_BELIEF),
        (AnswerKind.NOT_FOUND, both(found_missing_long_ago, answered(AnswerKind.RECORDED)), Effect.AWAIT_BELIEF),
        (AnswerKind.NOT_FOUND, both(answered(AnswerKind.RECORDED), found_missing_long_ago), Effect.SETTLE_NOT_FOUND),
        (
            AnswerKind.NOT_FOUND,
            both(answered(AnswerKind.RECORDED), answered(AnswerKind.NOT_FOUND, LIMIT - 1)),
            Effect.BACK_OFF,
        ),
        (
            AnswerKind.NOT_FOUND,
            both(answered(AnswerKind.NOT_FOUND, LIMIT), answered(AnswerKind.RECORDED)),
            Effect.AWAIT_BELIEF,
        ),
        (AnswerKind.NOT_FOUND, answered(AnswerKind.NOT_FOUND, before=UNCONFIRMED_S), Effect.SETTLE_NOT_FOUND),
        (AnswerKind.NOT_FOUND, answered(AnswerKind.NOT_FOUND, before=UNCONFIRMED_S - 1), Effect.AWAIT_BELIEF),
        (AnswerKind.NOT_FOUND, answered(AnswerKind.NOT_FOUND, LIMIT - 1), Effect.BACK_OFF),
        (AnswerKind.NOT_FOUND, answered(AnswerKind.NOT_FOUND, LIMIT - 1, before=UNCONFIRMED_S), Effect.BACK_OFF),
        (AnswerKind.NOT_FOUND, both(found_missing_long_ago, cancelled), Effect.SETTLE_NOT_FOUND),
        (AnswerKind.NOT_FOUND, both(found_missing_long_ago, released), Effect.SETTLE_NOT_FOUND),
        (AnswerKind.NOT_FOUND, both(answered(AnswerKind.RECORDED), cancelled), Effect.GIVE_UP),
        (AnswerKind.NOT_FOUND, cancelled, Effect.GIVE_UP),
        (AnswerKind.NOT_FOUND, both(answered(AnswerKind.NOT_FOUND, LIMIT), released), Effect.GIVE_UP),
        (AnswerKind.CREDENTIALS, as_new, Effect.AWAIT_CREDENTIALS),
        (AnswerKind.CREDENTIALS, answered(AnswerKind.RECORDED), Effect.AWAIT_CREDENTIALS),
        (AnswerKind.CREDENTIALS, denied_before_a_204, Effect.RETRY_REFUSED),
        (AnswerKind.CREDENTIALS, cancelled, Effect.GIVE_UP),
        (AnswerKind.CREDENTIALS, both(denied_before_a_204, released), Effect.GIVE_UP),
        (AnswerKind.TRANSIENT, as_new, Effect.BACK_OFF),
        (AnswerKind.TRANSIENT, released, Effect.GIVE_UP),
        (AnswerKind.UNEXPECTED, as_new, Effect.BACK_OFF),
        (AnswerKind.UNEXPECTED, cancelled, Effect.GIVE_UP),
    ],
)
def test_what_becomes_of_a_call(kind: AnswerKind, state: State, expected: Effect) -> None:
    assert effect(kind, state) is expected


@pytest.mark.parametrize(
    ("rejected", "state", "expected"),
    [
        ("hold", as_new, Effect.RETRY_REFUSED),
        ("hold", released, Effect.GIVE_UP),
        ("dead-letter", as_new, Effect.DEAD_LETTER),
        ("dead-letter", answered(AnswerKind.REFUSED, LIMIT - 1), Effect.DEAD_LETTER),
        ("dead-letter", answered(AnswerKind.REFUSED, LIMIT), Effect.RETRY_REFUSED),
        (
            "dead-letter",
            both(answered(AnswerKind.REFUSED, LIMIT), answered(AnswerKind.RECORDED)),
            Effect.DEAD_LETTER,
        ),
        ("dead-letter", undeadletterable, Effect.RETRY_REFUSED),
        ("dead-letter", others_refused_that_cannot_be_dead_lettered, Effect.DEAD_LETTER),
        ("dead-letter", cancelled, Effect.GIVE_UP),
    ],
)
def test_what_becomes_of_a_refused_request(rejected: str, state: State, expected: Effect) -> None:
    assert effect(AnswerKind.REFUSED, state, rejected) is expected
