"""Plain Avro: value bytes without any framing, whose writer schema is the file.

This is the hot path: fastavro's compiled reader is called directly, and nothing is done per record that can be done
once. Measured by `tests/benchmarks`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from ..errors import DecodeError
from ..events import (
    CheckoutCompleted,
    Details,
    Mode,
    OfferOutcome,
    OfferPresented,
    Outcome,
    Reason,
    RecordRef,
)
from .builder import EventBuilder
from .codec import UNDECODABLE, Headers, no_headers
from .framing import framed, is_framed, payload_of
from .outcome_writer import OutcomeWriter
from .schemas import CHECKOUT_COMPLETED, OFFER_OUTCOME, OFFER_PRESENTED, load_schema, without_logical_types
from .usual import UsualReader

NO_COUNT = b"\xff" * 9
"""How the lowest of all longs begins. As a count of items it has no opposite, and fastavro reads it as no items."""


class PlainCodec:
    """Avro without any framing, but for the outcomes if they are to have one.

    Args:
        metadata_keys: see `EventBuilder`.
        outcome_schema_id: what a registry knows the schema of the outcomes by; None: they have no frame.
    """

    def __init__(self, metadata_keys: Collection[str] = (), outcome_schema_id: int | None = None) -> None:
        self._outcome_schema_id = outcome_schema_id
        self._build = EventBuilder(metadata_keys)
        self._usual = UsualReader(self._build)
        self._write_outcome = OutcomeWriter().write
        self._offer = parse_schema(without_logical_types(load_schema(OFFER_PRESENTED)))
        self._checkout = parse_schema(without_logical_types(load_schema(CHECKOUT_COMPLETED)))
        self._outcome = parse_schema(without_logical_types(load_schema(OFFER_OUTCOME)))

    def decode_offer(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> OfferPresented:
        """See `Codec`."""
        if (event := self._usual.offer(key, value, offset)) is not None:
            return event
        return self._build.offer(key, read_record(self._offer, value), offset, len(value))

    def decode_checkout(
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> CheckoutCompleted:
        """See `Codec`."""
        if (event := self._usual.checkout(key, value, offset)) is not None:
            return event
        fields = read_record(self._checkout, value)
        refuse_hidden_items(value, fields)
        return self._build.checkout(key, fields, offset, len(value))

    def encode_outcome(self, outcome: OfferOutcome) -> bytes:
        """See `Codec`."""
        payload = self._write_outcome(outcome)
        return payload if self._outcome_schema_id is None else framed(self._outcome_schema_id, payload)

    def close(self) -> None:
        """See `Codec`."""

    # --- the other directions, for producers of test data and readers of outcomes

    def encode_offer(self, fields: Mapping[str, Any]) -> bytes:
        """An `OfferPresented` of the schema's fields; those with a default may be left out. Times in ms."""
        return _write(self._offer, fields)

    def encode_checkout(self, fields: Mapping[str, Any]) -> bytes:
        """A `CheckoutCompleted` of the schema's fields; those with a default may be left out. Times in ms."""
        return _write(self._checkout, fields)

    def decode_outcome(self, value: bytes) -> OfferOutcome:
        """An outcome, be it framed or not: the schema's id behind which it stands is that of ours.

        Raises:
            DecodeError: it is none; with the reason `undecodable`.
        """
        fields: dict[str, Any] = read_record(self._outcome, payload_of(value) if is_framed(value) else value)
        details = Details(*(fields.pop(name) for name in Details._fields))
        return OfferOutcome(
            **fields
            | {
                "outcome": Outcome(fields["outcome"]),
                "reason": Reason(fields["reason"]),
                "mode": Mode(fields["mode"]),
                "source": RecordRef(**fields["source"]),
                "details": details,
            }
        )


def read_record(schema: Any, value: bytes) -> Any:
    """The fields of a record that was written with this schema, which fastavro has parsed.

    Raises:
        DecodeError: these bytes are no such record.
    """
    stream = BytesIO(value)
    try:
        fields: Any = schemaless_reader(stream, schema, None)
    except Exception as error:
        # Whatever bytes make the reader raise, they are no record: EOFError, IndexError, UnicodeDecodeError, ...
        raise DecodeError(UNDECODABLE, f"not a {schema['name']}: {type(error).__name__} {error}") from error
    if stream.tell() != len(value):
        left = len(value) - stream.tell()
        raise DecodeError(
            UNDECODABLE, f"not a {schema['name']}: {left} bytes are left over, so it was written with another schema"
        )
    return fields


def refuse_hidden_items(value: bytes, fields: Mapping[str, Any]) -> None:
    """See that no item of a checkout is hidden behind a count of which fastavro makes none.

    Raises:
        DecodeError: what it bought may be more than what was read.
    """
    # As the checkout's time these bytes are one, if an odd one. No text holds them.
    if value.count(NO_COUNT) > (fields["completed_at"] == -(2**63)):
        raise DecodeError(UNDECODABLE, "what it bought may be hidden behind a count that is none", fields["session_id"])


def _write(schema: Any, fields: Mapping[str, Any]) -> bytes:
    stream = BytesIO()
    schemaless_writer(stream, schema, fields)
    return stream.getvalue()
