"""Records that hold several presentations, as a shop writes them that shows a few offers at once."""

from __future__ import annotations

import json
from typing import Any

from support.builders import NOW, raw
from support.kafka import Message

from consumer.codecs.inputs import codec_of
from consumer.core.checkpoint import each_of
from consumer.settings import Settings

INPUT: dict[str, Any] = {
    "format": "json",
    "each": "offers",
    "fields": {"session_id": "$key", "partner_code": "$record.shop", "offer_id": "id", "presented_at": "$record.at"},
}
"""The settings of the group input.offers."""

SEVERAL = codec_of(Settings(input={"offers": INPUT}))
"""Reads such records; checkouts are plain Avro."""

EACH = each_of("offers")
"""What a task of these settings is given, and its commits say."""


def page(offset: int, at: int, *offer_ids: str, session: str = "s1", stamp: int | None = None) -> Message:
    """These offers of partner P, shown at once at so many ms; stamped as `builders.offer` is."""
    document = {"shop": "P", "at": at, "offers": [{"id": offer_id} for offer_id in offer_ids]}
    return raw("offers", offset, session, json.dumps(document).encode(), min(at, NOW) if stamp is None else stamp)
