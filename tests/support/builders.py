"""Records and files of which a test says only what it is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.kafka import Message, partition_end

from consumer.codecs.plain import PlainCodec

NOW = 1_000_000

CODEC = PlainCodec()

OFFER_FIELDS: dict[str, Any] = {
    "event_id": "e1",
    "session_id": "s1",
    "partner_code": "P1",
    "offer_id": "o1",
    "presented_at": 1_767_225_600_123,
    "product_code": "travel",
    "country": "DE",
    "currency": "EUR",
    "price": "12.50",
    "metadata": {"tier": "gold", "email": "a@b.example"},
}
"""An offer with all that our schema has for one."""

CHECKOUT_FIELDS: dict[str, Any] = {
    "event_id": "e2",
    "session_id": "s1",
    "checkout_id": "c1",
    "completed_at": 1_767_225_700_456,
    "purchased_offer_ids": ["o1", "o2"],
}
"""A checkout of the same session, as a producer writes it who has no metadata."""


def raw(topic: str, offset: int, key: str | None, value: bytes | None, stamp: int = NOW) -> Message:
    """A record of any bytes in partition 0, stamped NOW (ms) if not told otherwise."""
    return Message(topic, 0, offset, None if key is None else key.encode(), value, timestamp=stamp)


def offer(offset: int, at: int, *, session: str = "s1", offer_id: str = "o1", stamp: int | None = None) -> Message:
    """A presentation by partner P, at so many ms, stamped as it is dated, but not ahead of NOW, unless told."""
    event = {
        "event_id": "e",
        "session_id": session,
        "partner_code": "P",
        "offer_id": offer_id,
        "presented_at": at,
    }
    return raw("offers", offset, session, CODEC.encode_offer(event), min(at, NOW) if stamp is None else stamp)


def lone_offer(offset: int, at: int) -> Message:
    """A presentation in a session of its own, stamped as it is dated."""
    return offer(offset, at, session=f"s{offset}", offer_id=f"o{offset}", stamp=at)


def lone_checkout(offset: int, at: int) -> Message:
    """A checkout in a session of its own that bought nothing, stamped as it is dated."""
    return checkout(offset, at, session=f"c{offset}", stamp=at)


def checkout(
    offset: int,
    at: int,
    *bought: str,
    session: str = "s0",
    key: str | None = None,
    checkout_id: str = "c",
    stamp: int | None = None,
) -> Message:
    """A checkout that bought these offers, at so many ms, stamped as an offer is; `key` is the record's, if it is
    another session's."""
    event = {
        "event_id": "e",
        "session_id": session,
        "checkout_id": checkout_id,
        "completed_at": at,
        "purchased_offer_ids": list(bought),
    }
    stamp = min(at, NOW) if stamp is None else stamp
    return raw("checkouts", offset, key or session, CODEC.encode_checkout(event), stamp)


def end(topic: str, offset: int) -> Message:
    """The end of partition 0."""
    return partition_end(topic, 0, offset)


def release_file(folder: Path, *offers: str) -> Path:
    """A file that lets go of these offers of partner P."""
    path = folder / "release.toml"
    path.write_text(
        "".join(
            f'[[release]]\npartner_code = "P"\noffer_id = "{name}"\nwho = "on call"\nwhy = "gone at the insurer"\n'
            for name in offers
        )
    )
    return path
