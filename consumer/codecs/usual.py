"""Reads by hand what nearly every record of our two schemas looks like, in a third of the time that fastavro takes.

Usual are texts of less than 64 bytes (in metadata they may be longer), a time from 1970 to 2039 in six bytes, a list
and metadata in one block, and the key of the record's session. Each number but the time is one byte then, twice the
number: it is odd where the number is below 0, and 0x80 or more where it goes on. Of any other record, be it odd or
wrong, nothing is made here: fastavro reads it, and says what is wrong with it.
"""

from __future__ import annotations

from sys import intern

from ..events import NO_METADATA, CheckoutCompleted, Details, OfferPresented
from .builder import EventBuilder
from .schemas import CHECKOUT_COMPLETED, OFFER_PRESENTED, load_schema, without_logical_types

_MOST_KNOWN = 16_384
"""Details that are known by their bytes. Prices vary, so the store is emptied when it is full rather than grow."""

_TEXT, _MAYBE = "string", ["null", "string"]
_MAP = {"type": "map", "values": _TEXT}
_READ_BY_HAND = {
    OFFER_PRESENTED: [
        ("event_id", _TEXT),
        ("session_id", _TEXT),
        ("partner_code", _TEXT),
        ("offer_id", _TEXT),
        ("presented_at", "long"),
        *((name, _MAYBE) for name in Details._fields),
        ("metadata", _MAP),
    ],
    CHECKOUT_COMPLETED: [
        ("event_id", _TEXT),
        ("session_id", _TEXT),
        ("checkout_id", _TEXT),
        ("completed_at", "long"),
        ("purchased_offer_ids", {"type": "array", "items": _TEXT}),
        ("metadata", _MAP),
    ],
}
"""The fields and their types, in the order in which they stand."""

_UNUSUAL = 0x81
"""Bits of a number that is not one byte, or is below 0."""

_TIME_BYTES = 6


class UsualReader:
    """Gives the event of a record that is as usual, and None for any other; it raises nothing.

    Args:
        build: knows what of an offer is shared, and which metadata is kept.
    """

    def __init__(self, build: EventBuilder) -> None:
        for name, fields in _READ_BY_HAND.items():
            found = without_logical_types(load_schema(name))["fields"]
            if [(field["name"], field["type"]) for field in found] != fields:
                raise ValueError(f"{name}.avsc is not what {__name__} reads by hand")
        self._build = build
        self._keeps_metadata = build.keeps_metadata
        self._known: dict[bytes, Details] = {}

    def offer(self, key: bytes | None, value: bytes, offset: int) -> OfferPresented | None:
        """The presentation that these bytes are."""
        try:
            session = 1 + ((event_size := value[0]) >> 1)
            partner = session + 1 + ((session_size := value[session]) >> 1)
            offer = partner + 1 + ((partner_size := value[partner]) >> 1)
            time = offer + 1 + ((offer_size := value[offer]) >> 1)
            session_id = value[session + 1 : partner]
            if (event_size | session_size | partner_size | offer_size) & _UNUSUAL or not (
                key == session_id and session_size and partner_size and offer_size
            ):
                return None
            end = time + _TIME_BYTES
            for _ in Details._fields:
                if branch := value[end]:
                    if (size := value[end + 1]) & _UNUSUAL or branch != 2:
                        return None
                    end += 2 + (size >> 1)
                else:
                    end += 1
            if (texts := _metadata(value, end)) is None or (presented_at := _time(value, time)) is None:
                return None
            value[1:session].decode()  # nobody needs it, but if it is no text then this is no such record
            shown = value[time + _TIME_BYTES : end]
            return OfferPresented(
                session_id.decode(),
                intern(value[partner + 1 : offer].decode()),
                value[offer + 1 : time].decode(),
                presented_at,
                offset,
                self._known.get(shown) or self._details(shown),
                self._build.allowed(dict(zip(texts[::2], texts[1::2], strict=True)))
                if texts and self._keeps_metadata
                else NO_METADATA,
            )
        except (IndexError, UnicodeDecodeError):  # it ends too early, or a text is none
            return None

    def checkout(self, key: bytes | None, value: bytes, offset: int) -> CheckoutCompleted | None:
        """The checkout that these bytes are."""
        try:
            session = 1 + ((event_size := value[0]) >> 1)
            checkout = session + 1 + ((session_size := value[session]) >> 1)
            time = checkout + 1 + ((checkout_size := value[checkout]) >> 1)
            at = time + _TIME_BYTES
            session_id, count = value[session + 1 : checkout], value[at]
            if (event_size | session_size | checkout_size | count) & _UNUSUAL or not (
                key == session_id and session_size and checkout_size
            ):
                return None
            purchased: list[str] = []
            if count:
                at += 1
                for _ in range(count >> 1):
                    if not (size := value[at]) or size & _UNUSUAL:
                        return None
                    end = at + 1 + (size >> 1)
                    purchased.append(value[at + 1 : end].decode())
                    at = end
            # Another block would begin with its count.
            if value[at] or _metadata(value, at + 1) is None or (completed_at := _time(value, time)) is None:
                return None
            value[1:session].decode()
            return CheckoutCompleted(
                session_id.decode(), value[checkout + 1 : time].decode(), completed_at, offset, tuple(purchased)
            )
        except (IndexError, UnicodeDecodeError):
            return None

    def _details(self, shown: bytes) -> Details:
        texts: list[str | None] = []
        at = 0
        while at < len(shown):
            end = at + 2 + (shown[at + 1] >> 1) if shown[at] else at + 1
            texts.append(shown[at + 2 : end].decode() if shown[at] else None)
            at = end
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        details = self._known[shown] = self._build.details(tuple(texts))
        return details


def _time(value: bytes, at: int) -> int | None:
    a, b, c, d, e, f = value[at : at + _TIME_BYTES]
    if not a & b & c & d & e & 0x80 or f & 0x80 or a & 1:
        return None
    return a >> 1 & 0x3F | (b & 0x7F) << 6 | (c & 0x7F) << 13 | (d & 0x7F) << 20 | (e & 0x7F) << 27 | f << 34


def _metadata(value: bytes, at: int) -> list[str] | None:
    """The names and texts, in turn, of the metadata that begins at `at` and ends with the value.

    A text of it may have up to 8,191 bytes: then its number has two.
    """
    texts: list[str] = []
    if count := value[at]:
        if count & _UNUSUAL:
            return None
        at += 1
        for _ in range(count):  # which is twice the number of names
            size = value[at]
            at += 1
            if size & _UNUSUAL:
                if size & 1 or (more := value[at]) & 0x80:
                    return None
                size = size & 0x7F | more << 7
                at += 1
            end = at + (size >> 1)
            texts.append(value[at:end].decode())
            at = end
    return texts if value[at:] == b"\0" else None
