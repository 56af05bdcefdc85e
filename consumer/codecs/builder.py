"""From the fields of a record, by the names of our schemas, to an event: the checks that every format shares."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from sys import intern
from typing import Any, NoReturn

from ..errors import DecodeError
from ..events import NO_METADATA, CheckoutCompleted, Details, OfferPresented
from .codec import EMPTY_ID, KEY_MISMATCH, MOST_BYTES, refuse_too_large

_SHARED_DETAILS = 16_384
"""Details kept to be shared. Prices vary, so the store is emptied when it is full rather than grow."""

_OFFER_TEXTS = ("event_id", "session_id", "partner_code", "offer_id", *Details._fields)
_CHECKOUT_TEXTS = ("event_id", "session_id", "checkout_id")

# One call each into C, instead of a look-up per field.
_OFFER: Callable[[Mapping[str, Any]], tuple[str, str, str, int, dict[str, str]]] = itemgetter(
    "session_id", "partner_code", "offer_id", "presented_at", "metadata"
)
_DETAILS: Callable[[Mapping[str, Any]], tuple[str | None, ...]] = itemgetter(*Details._fields)
_CHECKOUT: Callable[[Mapping[str, Any]], tuple[str, str, int, list[str]]] = itemgetter(
    "session_id", "checkout_id", "completed_at", "purchased_offer_ids"
)


class EventBuilder:
    """Makes events. The fields that it is given are all there and have the types of the schemas; times are in ms.

    Args:
        metadata_keys: the keys of an offer's metadata that are kept; the rest is dropped here, since it may be
            personal data and nothing needs it.

    Attributes:
        keeps_metadata: whether any is.
    """

    def __init__(self, metadata_keys: Collection[str] = ()) -> None:
        self._metadata_keys = frozenset(metadata_keys)
        self.keeps_metadata = bool(self._metadata_keys)
        self._details: dict[tuple[str | None, ...], Details] = {}

    def offer(
        self,
        key: bytes | None,
        fields: Mapping[str, Any],
        offset: int,
        size: int,
        kind: type[OfferPresented] = OfferPresented,
    ) -> OfferPresented:
        """An offer of a record with this key and so many value bytes. `offset` is as its `kind` has it.

        Raises:
            DecodeError: an id is empty or too long, or the key is another session's.
        """
        session_id, partner_code, offer_id, presented_at, metadata = _OFFER(fields)
        if not (session_id and partner_code and offer_id):
            _refuse_empty(fields, ("session_id", "partner_code", "offer_id"))
        if size > MOST_BYTES:  # hardly any record is, and in no other one can a text be
            refuse_too_large(_OFFER_TEXTS, fields)
        if key != session_id.encode():
            _refuse_key(key, session_id)
        return kind(
            session_id,
            intern(partner_code),
            offer_id,
            presented_at,
            offset,
            self.details(_DETAILS(fields)),
            self.allowed(metadata) if metadata else NO_METADATA,
        )

    def checkout(self, key: bytes | None, fields: Mapping[str, Any], offset: int, size: int) -> CheckoutCompleted:
        """A checkout of a record with this key and so many value bytes.

        Raises:
            DecodeError: as for an offer, or something that it bought is not named.
        """
        session_id, checkout_id, completed_at, purchased = _CHECKOUT(fields)
        if not (session_id and checkout_id):
            _refuse_empty(fields, ("session_id", "checkout_id"))
        if size > MOST_BYTES:
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

    def details(self, shown: tuple[str | None, ...]) -> Details:
        """The details of these texts, which are shared by all offers that have the same."""
        details = self._details.get(shown)
        if details is None:
            if len(self._details) >= _SHARED_DETAILS:
                self._details.clear()
            # Many details differ in the price alone.
            details = Details(*(text and intern(text) for text in shown))
            self._details[details] = details
        return details

    def allowed(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """What of an offer's metadata is kept."""
        return {key: metadata[key] for key in self._metadata_keys if key in metadata} or NO_METADATA


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
