"""What flows through the service: the two inputs, the outcome, and the words both sides share.

Times are integers, in milliseconds since the Unix epoch, UTC. The schemas of the same names are in `schemas/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

MOST_ELEMENTS = 64
"""Presentations that one record may hold, where `input.offers.each` is set: a page shows a few offers at once.

It stands in what is committed: with another number the text of the commits needs another version.
"""

NO_METADATA: Mapping[str, str] = MappingProxyType({})
"""Shared by every event without metadata, since an empty dict for each would cost 64 bytes of an open offer."""


class Outcome(StrEnum):
    """The fate of a chain: nothing more will be done for it."""

    PURCHASED = "PURCHASED"
    OPTED_OUT = "OPTED_OUT"
    NOT_FOUND = "NOT_FOUND"
    IGNORED = "IGNORED"
    DEAD_LETTERED = "DEAD_LETTERED"
    RELEASED = "RELEASED"


class Reason(StrEnum):
    """Why a chain met its fate."""

    PURCHASED = "PURCHASED"
    DECLINED = "DECLINED"
    ABANDONED = "ABANDONED"
    LATE = "LATE"
    IMPLAUSIBLE_TIME = "IMPLAUSIBLE_TIME"
    CHECKOUT_UNREADABLE = "CHECKOUT_UNREADABLE"
    RELEASED = "RELEASED"


class Mode(StrEnum):
    """Whether an outcome was reached by the deployment or by a backfill."""

    LIVE = "LIVE"
    BACKFILL = "BACKFILL"


class Details(NamedTuple):
    """What an offer looked like when it was presented. Equal details are shared between offers."""

    product_code: str | None = None
    country: str | None = None
    currency: str | None = None
    price: str | None = None


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The trace that a record was written in, by W3C Trace Context: what of its headers may be sent on.

    Attributes:
        traceparent: 55 characters, `00-TRACE_ID-PARENT_ID-FLAGS`, each part in small hexadecimal digits.
        tracestate: what tracing systems keep of their own, up to 512 characters of printable ASCII; empty: nothing.
    """

    traceparent: str
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits, not all of them 0."""
        return self.traceparent[3:35]

    @property
    def parent_id(self) -> str:
        """16 hexadecimal digits, not all of them 0: the span in which the record was written."""
        return self.traceparent[36:52]

    @property
    def is_sampled(self) -> bool:
        """Whether whoever began the trace records it."""
        return bool(int(self.traceparent[53:], 16) & 1)


class OfferPresented:
    """An offer was shown in a session.

    `offset` is where the event stands in its partition, and tells it from every other there; `metadata` holds only the
    keys that `api.metadata_keys` allows, the rest is dropped when the event is decoded.
    """

    # Not a dataclass: a million of these are open at a time and a hundred thousand a second are made,
    # and __slots__ with a plain __init__ is the smallest and the fastest that Python has.
    __slots__ = ("details", "metadata", "offer_id", "offset", "partner_code", "presented_at", "session_id")

    def __init__(
        self,
        session_id: str,
        partner_code: str,
        offer_id: str,
        presented_at: int,
        offset: int,
        details: Details = Details(),  # noqa: B008 - an immutable value
        metadata: Mapping[str, str] = NO_METADATA,
    ) -> None:
        self.session_id = session_id
        self.partner_code = partner_code
        self.offer_id = offer_id
        self.presented_at = presented_at
        self.offset = offset
        self.details = details
        self.metadata = metadata

    @property
    def record_offset(self) -> int:
        """Where its record stands in the partition."""
        return self.offset

    @property
    def trace(self) -> TraceContext | None:
        """The trace that it belongs to; None where `trace.enabled` is not set, or its record has none."""
        return None

    def __repr__(self) -> str:
        return f"OfferPresented({self.partner_code}/{self.offer_id} at {self.presented_at}, offset {self.offset})"


class OfferAmongSeveral(OfferPresented):
    """An offer of a record that may hold several, since `input.offers.each` is set.

    `offset` is its record's times MOST_ELEMENTS, plus its place in the record: offsets stay in the order of the log,
    and no two are the same. For example, the third offer of the record at 10 has 642.
    """

    __slots__ = ()

    @property
    def record_offset(self) -> int:
        """Where its record stands in the partition."""
        return self.offset // MOST_ELEMENTS


class TracedOffer(OfferPresented):
    """An offer whose record carries a trace.

    A class of its own: so an offer without one takes no byte more, of which a million may be open.
    """

    __slots__ = ("trace",)

    trace: TraceContext

    def __init__(self, event: OfferPresented, trace: TraceContext) -> None:
        super().__init__(
            event.session_id,
            event.partner_code,
            event.offer_id,
            event.presented_at,
            event.offset,
            event.details,
            event.metadata,
        )
        self.trace = trace


class TracedAmongSeveral(TracedOffer, OfferAmongSeveral):
    """The same of a record that may hold several."""

    __slots__ = ()


class CheckoutCompleted:
    """A checkout was completed in a session; `purchased` holds the offer ids it bought, each once, often none.

    `stamped_at` is its record's timestamp (ms); `completed_at` while that is not known.
    """

    __slots__ = ("checkout_id", "completed_at", "offset", "purchased", "session_id", "stamped_at")

    def __init__(
        self, session_id: str, checkout_id: str, completed_at: int, offset: int, purchased: tuple[str, ...] = ()
    ) -> None:
        self.session_id = session_id
        self.checkout_id = checkout_id
        self.completed_at = self.stamped_at = completed_at
        self.offset = offset
        # An offer holds several products, and a producer may name it for each.
        self.purchased = purchased if len(purchased) < 2 else tuple(dict.fromkeys(purchased))

    def __repr__(self) -> str:
        return (
            f"CheckoutCompleted({self.checkout_id} in {self.session_id} at {self.completed_at} bought {self.purchased})"
        )


class RecordRef(NamedTuple):
    """Where a record stands in the log."""

    topic: str
    partition: int
    offset: int


class RecordIdentity(NamedTuple):
    """Which record it is.

    Its place alone does not tell: where a topic was made anew, or a log was cut and has grown again, another one stands
    there.

    Attributes:
        timestamp: its own (ms); -1 if it has none.
    """

    source: RecordRef
    timestamp: int


@dataclass(slots=True, kw_only=True)
class OfferOutcome:
    """One record of the outcome topic: the fate of one chain. Nobody changes it; frozen, it would cost 3 times."""

    offer_id: str
    partner_code: str
    session_id: str
    outcome: Outcome
    reason: Reason
    checkout_id: str | None
    presented_at: int
    decided_at: int
    settled_at: int
    status_code: int | None
    attempts: int
    details: Details
    source: RecordRef
    mode: Mode
    note: str | None
