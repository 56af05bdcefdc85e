"""The builder of events: what all formats share. Most of it is tried through `PlainCodec`, in `test_plain.py`."""

from __future__ import annotations

import pytest
from support.builders import OFFER_FIELDS

from consumer.codecs import builder as builder_module
from consumer.codecs.builder import EventBuilder

FIELDS = OFFER_FIELDS | {"metadata": {}}


def test_the_store_of_shared_details_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder_module, "_SHARED_DETAILS", 3)
    build = EventBuilder()
    for price in range(10):
        event = build.offer(b"s1", {**FIELDS, "price": str(price)}, 0, 100)
        assert event.details.price == str(price)
    assert len(build._details) <= 3
