"""What flows to the insurer and back: a call to make, the answer to one try, and what became of the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol

from .events import Outcome, Reason, RecordRef, TraceContext


class Withheld(NamedTuple):
    """A call that is not to be made any more.

    `released`: the note of whoever let the offer go; None: the offer was bought or may have been, or its task is going.
    """

    released: str | None = None


class CallOwner(Protocol):
    """Whoever a call is made for: one task for the length of one assignment. Compared by identity."""

    def withholds(self, call: OptOutCall, /) -> Withheld | None:
        """Why its call may not leave any more, at this very moment; None: it may.

        Asked on the thread that makes the calls, before each try: it only reads, and waits for nothing.
        """

    def on_result(self, result: CallResult, /) -> None:
        """What became of one of its calls; told on the thread that reads the results."""


class CallTrace:
    """The trace that a call carries on: that of the chain's last presentation, whose facts the call tells.

    `sent` counts the call's requests so far. Only who sends them counts, since one try may take two of them.
    """

    __slots__ = ("context", "sent")

    def __init__(self, context: TraceContext) -> None:
        self.context = context
        self.sent = 0


@dataclass(slots=True, eq=False)
class OptOutCall:
    """A call to make. Compared by identity, since one offer may be called for two chains. Nobody changes it.

    `metadata` holds only what `api.metadata_keys` allows; `source` is for the logs. By `owner` a call is cancelled,
    and told what became of it; by `chain_start`, the offset of the chain's first presentation, the owner finds the
    chain again. `trace`: None where there is none, or `trace.enabled` is not set.
    """

    partner_code: str
    offer_id: str
    session_id: str
    reason: Reason
    metadata: Mapping[str, str]
    source: RecordRef
    owner: CallOwner
    chain_start: int
    trace: CallTrace | None = None


class CallResult(NamedTuple):
    """What became of a call; each call that was submitted gets exactly one.

    `outcome` is OPTED_OUT or NOT_FOUND; RELEASED when the offer was let go; DEAD_LETTERED when the request was refused
    and is now to be dead-lettered; None when the call was cancelled before it settled. `status_code` is of the last
    answer, if any came; `note` is in human words, such as the API's message, or who let the offer go. `maybe_recorded`:
    a try was not answered, or by an error of the server, so that the insurer may have recorded it all the same.
    """

    call: OptOutCall
    outcome: Outcome | None
    status_code: int | None
    attempts: int
    note: str | None
    maybe_recorded: bool = False


class AnswerKind(Enum):
    """What an answer means for the call."""

    RECORDED = auto()
    """204: the insurer has it."""
    NOT_FOUND = auto()
    """404 as the API itself gives it: the offer does not exist. Whether that is believed is for the guard to say."""
    CREDENTIALS = auto()
    """401 or 403, or no credentials at all: no call of this partner can succeed."""
    TRANSIENT = auto()
    """It may go better next time."""
    UNEXPECTED = auto()
    """Not in the contract (a redirect, a 200, a gateway's page): retried like TRANSIENT, and reported."""
    REFUSED = auto()
    """Another 4xx: this request is wrong, and will be until somebody changes something."""
    WITHHELD = auto()
    """No answer, and no try: when its connection stood the call might leave no more. Nothing of it was sent."""


class Answer(NamedTuple):
    """One answer to one call. `retry_after` is in seconds and already clamped; `status_code` None: no answer came.

    `maybe_of_gateway`: whoever refused the request may never have looked at its signature.
    """

    kind: AnswerKind
    status_code: int | None = None
    retry_after: float | None = None
    note: str | None = None
    maybe_of_gateway: bool = False


RECORDED = Answer(AnswerKind.RECORDED, 204)
