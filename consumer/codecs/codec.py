"""What the service needs of a wire format. Each format is a module beside this one; `run` chooses among them."""

from __future__ import annotations

from typing import Protocol

from ..events import CheckoutCompleted, OfferOutcome, OfferPresented

UNDECODABLE = "undecodable"
"""The reason of a `DecodeError`: the bytes are no such event."""

KEY_MISMATCH = "key_mismatch"
"""The reason of a `DecodeError`: the record's key is not the event's session."""

EMPTY_ID = "empty_id"
"""The reason of a `DecodeError`: an id that names something is empty."""


class Codec(Protocol):
    """From the bytes of a record to an event, and from an outcome to bytes.

    `offset` is where the record stands in its partition. A `DecodeError` has one of the three reasons above.
    """

    def decode_offer(self, key: bytes | None, value: bytes, offset: int) -> OfferPresented:
        """Raises `DecodeError`."""

    def decode_checkout(self, key: bytes | None, value: bytes, offset: int) -> CheckoutCompleted:
        """Raises `DecodeError`."""

    def encode_outcome(self, outcome: OfferOutcome) -> bytes:
        """The value bytes of an outcome."""
