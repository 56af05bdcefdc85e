"""Records and files of which a test says only what it is about."""

from __future__ import annotations

from pathlib import Path

from support.kafka import Message, partition_end

from consumer.codecs.plain import PlainCodec

NOW = 1_000_000

CODEC = PlainCodec()


def raw(topic: str, offset: int, key: str | None, value: bytes | None, stamp: int = NOW) -> Message:
    """A record of any bytes in partition 0, stamped NOW (ms) if not told otherwise."""
    return Message(topic, 0, offset, None if key is None else key.encode(), value, timestamp=stamp)


def offer(offset: int, at: int, *, session: str = "s1", offer_id: str = "o1") -> Message:
    """A presentation by partner P, at so many ms, stamped as it is dated, but not ahead of NOW."""
    event = {
        "event_id": "e",
        "session_id": session,
        "partner_code": "P",
        "offer_id": offer_id,
        "presented_at": at,
    }
    return raw("offers", offset, session, CODEC.encode_offer(event), min(at, NOW))


def checkout(
    offset: int, at: int, *bought: str, session: str = "s0", key: str | None = None, checkout_id: str = "c"
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
    return raw("checkouts", offset, key or session, CODEC.encode_checkout(event), min(at, NOW))


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
