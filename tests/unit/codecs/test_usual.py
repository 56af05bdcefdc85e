"""What is read by hand: which records are, and which are left to fastavro. `tests/fuzz` holds it to fastavro."""

from __future__ import annotations

import io
import json
from typing import Any

import avro.io
import avro.schema
import pytest
from support.builders import CHECKOUT_FIELDS, OFFER_FIELDS

from consumer.codecs import usual as usual_module
from consumer.codecs.builder import EventBuilder
from consumer.codecs.plain import PlainCodec
from consumer.codecs.schemas import (
    CHECKOUT_COMPLETED,
    OFFER_PRESENTED,
    load_schema,
    schema_text,
    without_logical_types,
)
from consumer.codecs.usual import UsualReader
from consumer.events import NO_METADATA, Details

PLAIN = PlainCodec()
KEY = b"s1"
LONGEST = "x" * 63


def offer(key: bytes | None = KEY, **changes: Any) -> Any:
    return UsualReader(EventBuilder(("tier",))).offer(key, PLAIN.encode_offer(OFFER_FIELDS | changes), 7)


def checkout(key: bytes | None = KEY, **changes: Any) -> Any:
    return UsualReader(EventBuilder()).checkout(key, PLAIN.encode_checkout(CHECKOUT_FIELDS | changes), 7)


def test_a_usual_offer_is_read() -> None:
    event = offer()
    assert (event.session_id, event.partner_code, event.offer_id) == ("s1", "P1", "o1")
    assert (event.presented_at, event.offset, event.metadata) == (1_767_225_600_123, 7, {"tier": "gold"})
    assert event.details == Details("travel", "DE", "EUR", "12.50")
    assert offer(metadata={}).metadata is NO_METADATA
    assert offer(product_code=None, price=None).details == Details(None, "DE", "EUR", None)


def test_a_usual_checkout_is_read() -> None:
    event = checkout(metadata={"any": "thing"})
    assert (event.session_id, event.checkout_id, event.completed_at, event.offset) == ("s1", "c1", 1_767_225_700_456, 7)
    assert event.purchased == ("o1", "o2")
    assert checkout(purchased_offer_ids=[]).purchased == ()


@pytest.mark.parametrize("text", [LONGEST, "é" * 31, "€" * 21])
def test_a_text_of_63_bytes_is_usual_wherever_it_stands(text: str) -> None:
    key = text.encode()
    for name in ("event_id", "partner_code", "offer_id", *Details._fields):
        assert offer(**{name: text}) is not None, name
    for name in ("event_id", "checkout_id"):
        assert checkout(**{name: text}) is not None, name
    assert offer(key, session_id=text).session_id == checkout(key, session_id=text).session_id == text
    assert offer(metadata={text: text, "tier": text}).metadata == {"tier": text}
    assert checkout(metadata={text: text}, purchased_offer_ids=[text]).purchased == (text,)


@pytest.mark.parametrize("text", ["x" * 64, "é" * 32, "x" * 1_001])
def test_a_longer_text_is_not(text: str) -> None:
    key = text.encode()
    for name in ("event_id", "partner_code", "offer_id", *Details._fields):
        assert offer(**{name: text}) is None, name
    for name in ("event_id", "checkout_id"):
        assert checkout(**{name: text}) is None, name
    assert offer(key, session_id=text) is checkout(key, session_id=text) is None
    assert checkout(purchased_offer_ids=["o1", text]) is None


@pytest.mark.parametrize(("size", "is_usual"), [(64, True), (1_001, True), (8_191, True), (8_192, False)])
def test_a_longer_text_is_usual_in_metadata(size: int, is_usual: bool) -> None:
    text = "x" * size
    for metadata in ({text: "x"}, {"x": text}):
        for event in (offer(metadata=metadata), checkout(metadata=metadata)):
            assert (event is not None) == is_usual
    if is_usual:
        assert offer(metadata={"other": text, "tier": text}).metadata == {"tier": text}


def test_a_text_whose_number_has_three_bytes_is_not_taken_for_one_of_two() -> None:
    """Its third byte would be the first of the text then, and the rest is made so that it would come out even."""
    metadata = {"tier": "x" * 8_191 + "\x02", "\x06a": "b"}
    assert offer(metadata=metadata) is checkout(metadata=metadata) is None


def test_what_is_to_be_refused_is_not() -> None:
    for key in (None, b"", b"s2"):
        assert offer(key) is checkout(key) is None
    for name in ("partner_code", "offer_id"):
        assert offer(**{name: ""}) is None
    assert offer(b"", session_id="") is checkout(b"", session_id="") is None
    assert checkout(checkout_id="") is checkout(purchased_offer_ids=["o1", ""]) is None


@pytest.mark.parametrize(
    ("time", "is_usual"), [(-1, False), (2**34 - 1, False), (2**34, True), (2**41 - 1, True), (2**41, False)]
)
def test_a_time_of_six_bytes_is_usual(time: int, is_usual: bool) -> None:
    for event in (offer(presented_at=time), checkout(completed_at=time)):
        assert (event is not None) == is_usual
    if is_usual:
        assert offer(presented_at=time).presented_at == checkout(completed_at=time).completed_at == time


def test_details_are_known_by_their_bytes_and_their_store_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usual_module, "_MOST_KNOWN", 3)
    reader = UsualReader(EventBuilder())
    for price in [None, "", *map(str, range(10))]:
        one, other = (reader.offer(KEY, PLAIN.encode_offer({**OFFER_FIELDS, "price": price}), 0) for _ in range(2))
        assert one is not None
        assert other is not None
        assert one.details is other.details
        assert one.details.price == price
    assert len(reader._known) <= 3


def test_a_schema_that_is_not_read_by_hand_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(name: str) -> Any:
        schema = load_schema(name)
        schema["fields"].reverse()
        return schema

    monkeypatch.setattr(usual_module, "load_schema", changed)
    with pytest.raises(ValueError, match=r"offer_presented\.avsc is not what .* reads by hand"):
        UsualReader(EventBuilder())


@pytest.mark.parametrize("schema", [OFFER_PRESENTED, CHECKOUT_COMPLETED])
def test_what_apaches_library_writes_is_usual_and_is_what_it_wrote(schema: str) -> None:
    """Its reader and writer are no relation of fastavro's."""
    parsed = avro.schema.parse(json.dumps(without_logical_types(json.loads(schema_text(schema)))))
    stream = io.BytesIO()
    fields = OFFER_FIELDS if schema == OFFER_PRESENTED else {**CHECKOUT_FIELDS, "metadata": {"a": "b"}}
    avro.io.DatumWriter(parsed).write(fields, avro.io.BinaryEncoder(stream))
    reader = UsualReader(EventBuilder(("tier", "email")))
    if schema == OFFER_PRESENTED:
        event = reader.offer(KEY, stream.getvalue(), 7)
        assert event is not None
        assert event.metadata == fields["metadata"]
        names = ["session_id", "partner_code", "offer_id", "presented_at"]
        assert event.details._asdict() == {name: fields[name] for name in Details._fields}
        assert [getattr(event, name) for name in names] == [fields[name] for name in names]
    else:
        bought = reader.checkout(KEY, stream.getvalue(), 7)
        assert bought is not None
        assert list(bought.purchased) == fields["purchased_offer_ids"]
        assert (bought.checkout_id, bought.completed_at) == (fields["checkout_id"], fields["completed_at"])
