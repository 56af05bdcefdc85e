"""The usual offers, read as if each record held its offer several times: all fates and outcomes stay the same."""

from __future__ import annotations

from consumer.codecs.codec import Headers, no_headers
from consumer.codecs.plain import PlainCodec
from consumer.events import MOST_ELEMENTS, OfferAmongSeveral

MOST_COPIES = 4
"""How often an offer stands in its record at the most."""

MORE_TEXT = 10
"""Characters by which the text of each commit is longer then: a broker that takes few takes so many more."""


class CopyingCodec(PlainCodec):
    """Reads the same offer from one place of its record, or from up to MOST_COPIES."""

    def decode_offer(  # type: ignore[override] # one codec gives one, another a list
        self, key: bytes | None, value: bytes, offset: int, headers: Headers = no_headers
    ) -> list[OfferAmongSeveral]:
        shown = super().decode_offer(key, value, offset, headers)
        begin = offset * MOST_ELEMENTS
        places = range(begin, begin + 1 + offset % MOST_COPIES)
        of, was = shown.offer_id, (shown.details, shown.metadata)
        return [
            OfferAmongSeveral(shown.session_id, shown.partner_code, of, shown.presented_at, at, *was) for at in places
        ]
