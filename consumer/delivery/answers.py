"""What becomes of a call by its answer: the table answer x state -> effect."""

from __future__ import annotations

from enum import Enum, auto

from ..calls import AnswerKind
from .not_found import Belief
from .partner import PendingCall


class Effect(Enum):
    """What becomes of a call. The first three settle it, as far as the delivery goes; the fourth ends it unsettled."""

    SETTLE_OPTED_OUT = auto()
    """The insurer has it."""
    SETTLE_NOT_FOUND = auto()
    """The insurer does not know the offer, and that is believed."""
    DEAD_LETTER = auto()
    """Given back, to be dead-lettered."""
    GIVE_UP = auto()
    """Made no more: its owner is gone, or an operator let the offer go."""
    AWAIT_BELIEF = auto()
    """Kept until its 404 is believed, or is not."""
    AWAIT_CREDENTIALS = auto()
    """In turn again, for when the partner's credentials are accepted."""
    RETRY_REFUSED = auto()
    """Tried again after minutes: somebody may have changed something."""
    BACK_OFF = auto()
    """Tried again after seconds, more of them each time."""


def effect_of(kind: AnswerKind, pending: PendingCall, now: float) -> Effect:  # noqa: PLR0911 - a table
    """What becomes of a call by this kind of answer; the partner has taken note of the answer (`Partner.on_answer`).

    An answer that settles a call counts though the call was given up while it was in flight: the insurer was told, or
    knows no such offer, and nothing takes that back. So a 204 and a 404 that is believed go before giving up. A 404
    that is not believed yet says nothing, and is not waited for: the call is given up unsettled. Then its offer is
    PURCHASED or RELEASED if it was bought or let go, and asked about anew by whoever reads on if its task is gone.
    """
    partner = pending.partner
    match kind:
        case AnswerKind.RECORDED:
            return Effect.SETTLE_OPTED_OUT
        case AnswerKind.NOT_FOUND if partner.not_found.belief(now) is Belief.TERMINAL:
            return Effect.SETTLE_NOT_FOUND
        case _ if pending.given_up:
            return Effect.GIVE_UP
        case AnswerKind.NOT_FOUND if partner.not_found.belief(now) is Belief.UNCONFIRMED:
            return Effect.AWAIT_BELIEF
        case AnswerKind.CREDENTIALS if not pending.denied_alone:
            return Effect.AWAIT_CREDENTIALS
        case AnswerKind.REFUSED if not pending.retry_refused and partner.refusals.may_dead_letter:
            return Effect.DEAD_LETTER
        case AnswerKind.REFUSED | AnswerKind.CREDENTIALS:
            return Effect.RETRY_REFUSED
        case _:
            return Effect.BACK_OFF
