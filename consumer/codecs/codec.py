"""What the service needs of a wire format. Each format is a module beside this one; `run` chooses among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from ..errors import DecodeError
from ..events import CheckoutCompleted, OfferOutcome, OfferPresented

UNDECODABLE = "undecodable"
"""The reason of a `DecodeError`: the bytes are no such event."""

KEY_MISMATCH = "key_mismatch"
"""The reason of a `DecodeError`: the record's key is not the event's session."""

EMPTY_ID = "empty_id"
"""The reason of a `DecodeError`: an id that names something is empty."""


TOO_LARGE = "too_large"
"""The reason of a `DecodeError`: an id, or another text that an outcome carries, is longer than `MOST_BYTES`."""

MOST_BYTES = 1_000
"""UTF-8 bytes of an id, and of each other text that an outcome carries.

An id is a part of the call's URL, where each of its bytes may take three characters, and servers take URLs of about
8,000. And an outcome, with all of them in it, must be far below any topic's max.message.bytes: a single one that can
not be written would stop the whole deployment. Ids in use have 10 to 100 bytes.
"""


def refuse_too_large(names: Iterable[str], fields: Mapping[str, str | None]) -> None:
    """See that these fields are no longer than `MOST_BYTES`, whatever the format that they came in.

    Raises:
        DecodeError: one is; with the reason `too_large`.
    """
    for name in names:
        size = len((fields[name] or "").encode())
        if size > MOST_BYTES:
            raise DecodeError(
                TOO_LARGE, f"{name} has {size} bytes, and {MOST_BYTES} is the most that is taken", fields["session_id"]
            )


class Codec(Protocol):
    """From the bytes of a record to an event, and from an outcome to bytes.

    `offset` is where the record stands in its partition. A `DecodeError` has one of the four reasons above.
    """

    def decode_offer(self, key: bytes | None, value: bytes, offset: int) -> OfferPresented:
        """Raises `DecodeError`."""

    def decode_checkout(self, key: bytes | None, value: bytes, offset: int) -> CheckoutCompleted:
        """Raises `DecodeError`."""

    def encode_outcome(self, outcome: OfferOutcome) -> bytes:
        """The value bytes of an outcome."""
