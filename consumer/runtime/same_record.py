"""Whether a record that was read again is still the one: a topic may have been made anew."""

from __future__ import annotations

from ..codecs.codec import Codec, presentations
from ..errors import DecodeError, SchemaWaitError
from ..events import OfferPresented
from ..kafka.record import Record


def is_same(codec: Codec, record: Record, event: OfferPresented) -> bool:
    """Whether the record tells of this presentation, at its place where it holds several."""
    try:
        shown = codec.decode_offer(record.key, record.value or b"", record.offset, lambda: record.headers)
    except (DecodeError, SchemaWaitError):
        # The schema of the presentation is known, since it was read: this one was written with another.
        return False
    found = next((one for one in presentations(shown) if one.offset == event.offset), None)
    return found is not None and (found.session_id, found.partner_code, found.offer_id, found.presented_at) == (
        event.session_id,
        event.partner_code,
        event.offer_id,
        event.presented_at,
    )
