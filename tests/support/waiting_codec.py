"""A codec of framed records whose schemas a test makes known."""

from __future__ import annotations

from typing import Any

from support.builders import CODEC
from support.kafka import Message

from consumer.codecs.codec import Headers, no_headers
from consumer.codecs.framing import framed, unframe
from consumer.errors import SchemaWaitError
from consumer.events import CheckoutCompleted, OfferOutcome, OfferPresented


class WaitingCodec:
    """Reads our schemas behind any id that is known; what has no frame is plain.

    Attributes:
        known: ids whose schema is.
    """

    def __init__(self) -> None:
        self.known: set[int] = set()

    def decode_offer(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> OfferPresented:
        return CODEC.decode_offer(key, self._payload(value), offset)

    def decode_checkout(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> CheckoutCompleted:
        return CODEC.decode_checkout(key, self._payload(value), offset)

    def encode_outcome(self, outcome: OfferOutcome) -> bytes:
        return CODEC.encode_outcome(outcome)

    def _payload(self, value: bytes) -> bytes:
        if value[:1] != b"\x00":
            return value
        schema_id, payload = unframe(value, no_headers)
        if schema_id not in self.known:
            raise SchemaWaitError(f"schema id {schema_id}: the registry does not answer")
        return payload


def behind(schema_id: int, message: Message) -> Message:
    """The same record, framed."""
    more: dict[str, Any] = {"timestamp": message.timestamp()[1]}
    value = framed(schema_id, message.value() or b"")
    return Message(message.topic(), message.partition(), message.offset(), message.key(), value, **more)
