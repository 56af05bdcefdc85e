"""Plain Avro: value bytes without any framing, whose writer schema is the file.

This is the hot path: fastavro's compiled reader is called directly, and nothing is done per record that can be done
once. Measured by `tests/benchmarks`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from io import BytesIO
from operator import itemgetter
from sys import intern
from typing import Any, NoReturn

from fastavro import parse_schema, schemaless_reader, schemaless_writer

from ..errors import DecodeError
from ..events import (
    NO_METADATA,
    CheckoutCompleted,
    Details,
    Mode,
    OfferOutcome,
    OfferPresented,
    Outcome,
    Reason,
    RecordRef,
)
from .codec import EMPTY_ID, KEY_MISMATCH, MOST_BYTES, UNDECODABLE, refuse_too_large
from .schemas import CHECKOUT_COMPLETED, OFFER_OUTCOME, OFFER_PRESENTED, load_schema, without_logical_types

_SHARED_DETAILS = 16_384
"""Details kept to be shared. Prices vary, so the store is emptied when it is full rather than grow."""

_NO_COUNT = b"\xff" * 9
"""How the lowest of all longs begins. As a count of items it has no opposite, and fastavro reads it as no items."""

_OFFER_TEXTS = ("event_id", "session_id", "partner_code", "offer_id", *Details._fields)
_CHECKOUT_TEXTS = ("event_id", "session_id", "checkout_id")

# One call each into C, instead of a look-up per field.
_OFFER: Callable[[dict[str, Any]], tuple[str, str, str, int, dict[str, str]]] = itemgetter(
    "session_id", "partner_code", "offer_id", "presented_at", "metadata"
)
_DETAILS: Callable[[dict[str, Any]], tuple[str | None, ...]] = itemgetter(*Details._fields)
_CHECKOUT: Callable[[dict[str, Any]], tuple[str, str, int, list[str]]] = itemgetter(
    "session_id", "checkout_id", "completed_at", "purchased_offer_ids"
)


class PlainCodec:
    """Avro without any framing.

    Args:
        metadata_keys: the keys of an offer's metadata that are kept; the rest is dropped here, since it may be
            personal data and nothing needs it.
    """

    def __init__(self, metadata_keys: Collection[str] = ()) -> None:
        self._metadata_keys = frozenset(metadata_keys)
        self._offer = parse_schema(without_logical_types(load_schema(OFFER_PRESENTED)))
        self._checkout = parse_schema(without_logical_types(load_schema(CHECKOUT_COMPLETED)))
        self._outcome = parse_schema(without_logical_types(load_schema(OFFER_OUTCOME)))
        self._details: dict[tuple[str | None, ...], Details] = {}

    def decode_offer(self, key: bytes | None, value: bytes, offset: int) -> OfferPresented:
        """See `Codec`."""
        fields = _read(self._offer, value)
        session_id, partner_code, offer_id, presented_at, metadata = _OFFER(fields)
        if not (session_id and partner_code and offer_id):
            _refuse_empty(fields, ("session_id", "partner_code", "offer_id"))
        if len(value) > MOST_BYTES:  # hardly any record is, and in no other one can a text be
            refuse_too_large(_OFFER_TEXTS, fields)
        if key != session_id.encode():
            _refuse_key(key, session_id)
        shown = _DETAILS(fields)
        details = self._details.get(shown)
        if details is None:
            details = self._share(shown)
        return OfferPresented(
            session_id,
            intern(partner_code),
            offer_id,
            presented_at,
            offset,
            details,
            self._allowed(metadata) if metadata else NO_METADATA,
        )

    def decode_checkout(self, key: bytes | None, value: bytes, offset: int) -> CheckoutCompleted:
        """See `Codec`."""
        fields = _read(self._checkout, value)
        session_id, checkout_id, completed_at, purchased = _CHECKOUT(fields)
        # As the checkout's time it is one, if an odd one. No text holds these bytes.
        if value.count(_NO_COUNT) > (completed_at == -(2**63)):
            raise DecodeError(UNDECODABLE, "what it bought may be hidden behind a count that is none", session_id)
        if not (session_id and checkout_id):
            _refuse_empty(fields, ("session_id", "checkout_id"))
        if len(value) > MOST_BYTES:
            refuse_too_large(_CHECKOUT_TEXTS, fields)
            # A longer id names no offer that was admitted. Cut to one character more than the most, it is no other
            # offer's either: it still counts as an id that matches nothing, and takes no more memory than that.
            purchased = [offer_id[: MOST_BYTES + 1] for offer_id in purchased]
        if "" in purchased:
            # Something was bought and cannot be named: reading on would take it for not bought.
            raise DecodeError(EMPTY_ID, "purchased_offer_ids contains an empty id", session_id)
        if key != session_id.encode():
            _refuse_key(key, session_id)
        return CheckoutCompleted(session_id, checkout_id, completed_at, offset, tuple(purchased))

    def encode_outcome(self, outcome: OfferOutcome) -> bytes:
        """See `Codec`."""
        product_code, country, currency, price = outcome.details
        topic, partition, offset = outcome.source
        return _write(
            self._outcome,
            {
                "offer_id": outcome.offer_id,
                "partner_code": outcome.partner_code,
                "session_id": outcome.session_id,
                "outcome": outcome.outcome.value,
                "reason": outcome.reason.value,
                "checkout_id": outcome.checkout_id,
                "presented_at": outcome.presented_at,
                "decided_at": outcome.decided_at,
                "settled_at": outcome.settled_at,
                "status_code": outcome.status_code,
                "attempts": outcome.attempts,
                "product_code": product_code,
                "country": country,
                "currency": currency,
                "price": price,
                "source": {"topic": topic, "partition": partition, "offset": offset},
                "mode": outcome.mode.value,
                "note": outcome.note,
            },
        )

    # --- the other directions, for producers of test data and readers of outcomes

    def encode_offer(self, fields: Mapping[str, Any]) -> bytes:
        """An `OfferPresented` of the schema's fields; those with a default may be left out. Times in ms."""
        return _write(self._offer, fields)

    def encode_checkout(self, fields: Mapping[str, Any]) -> bytes:
        """A `CheckoutCompleted` of the schema's fields; those with a default may be left out. Times in ms."""
        return _write(self._checkout, fields)

    def decode_outcome(self, value: bytes) -> OfferOutcome:
        """Raises `DecodeError` with the reason `undecodable`."""
        fields: dict[str, Any] = _read(self._outcome, value)
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

    # --- inside

    def _share(self, shown: tuple[str | None, ...]) -> Details:
        if len(self._details) >= _SHARED_DETAILS:
            self._details.clear()
        # Many details differ in the price alone.
        details = Details(*(text and intern(text) for text in shown))
        self._details[details] = details
        return details

    def _allowed(self, metadata: dict[str, str]) -> Mapping[str, str]:
        return {key: metadata[key] for key in self._metadata_keys if key in metadata} or NO_METADATA


def _read(schema: Any, value: bytes) -> Any:
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


def _write(schema: Any, fields: Mapping[str, Any]) -> bytes:
    stream = BytesIO()
    schemaless_writer(stream, schema, fields)
    return stream.getvalue()


def _refuse_empty(fields: Mapping[str, Any], names: tuple[str, ...]) -> NoReturn:
    empty = next(name for name in names if not fields[name])
    raise DecodeError(EMPTY_ID, f"{empty} is empty", fields["session_id"])


def _refuse_key(key: bytes | None, session_id: str) -> NoReturn:
    found = "no key" if key is None else f"the key {key[:100]!r}"
    raise DecodeError(
        KEY_MISMATCH,
        f"it has {found}, but its session_id is {session_id[:100]!r}: the topic cannot be trusted to hold a session's "
        "records in the partition where its checkouts are",
        session_id,
    )
