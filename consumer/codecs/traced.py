"""Reads the trace of each presentation beside the presentation itself, with `trace.enabled`.

It stands around the codec of the inputs' format. So where it is not set, no headers are asked for and nothing is kept.
"""

from __future__ import annotations

from ..events import (
    CheckoutCompleted,
    OfferAmongSeveral,
    OfferOutcome,
    OfferPresented,
    TraceContext,
    TracedAmongSeveral,
    TracedOffer,
)
from .codec import Codec, Headers, Shown, no_headers
from .trace_context import trace_of


class TracingCodec:
    """Reads by another codec. What that makes of a record does not depend on its trace."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def decode_offer(self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers) -> Shown:
        """See `Codec`."""
        shown = self._codec.decode_offer(key, value, offset, headers)
        if not shown or (trace := trace_of(headers)) is None:
            return shown
        return _traced(shown, trace) if isinstance(shown, OfferPresented) else [_traced(one, trace) for one in shown]

    def decode_checkout(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> CheckoutCompleted | None:
        """See `Codec`. A checkout's trace is not carried on: it is another request's than the offer's."""
        return self._codec.decode_checkout(key, value, offset, headers)

    def encode_outcome(self, outcome: OfferOutcome) -> bytes:
        """See `Codec`."""
        return self._codec.encode_outcome(outcome)

    def close(self) -> None:
        """See `Codec`."""
        self._codec.close()


def _traced(event: OfferPresented, trace: TraceContext) -> OfferPresented:
    return TracedAmongSeveral(event, trace) if isinstance(event, OfferAmongSeveral) else TracedOffer(event, trace)
