"""What is read by hand, held to fastavro byte for byte: the same event, and the same refusal in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastavro import parse_schema
from fuzz.fuzzing import LONGS, TEXT, THOROUGH, fuzz, spoilt, varint
from hypothesis import given
from hypothesis import strategies as st
from support.builders import CHECKOUT_FIELDS, OFFER_FIELDS

from consumer.codecs.builder import EventBuilder
from consumer.codecs.codec import Codec
from consumer.codecs.framing import framed
from consumer.codecs.inputs import InputReader, InputsCodec
from consumer.codecs.plain import PlainCodec, read_record, refuse_hidden_items
from consumer.codecs.registry import RegistryReader
from consumer.codecs.schemas import (
    CHECKOUT_COMPLETED,
    OFFER_PRESENTED,
    load_schema,
    schema_text,
    without_logical_types,
)
from consumer.codecs.written import WrittenSchema, parse_texts
from consumer.errors import DecodeError
from consumer.events import CheckoutCompleted, OfferPresented

KEPT = ("tier",)
OFFER, CHECKOUT = (
    parse_schema(without_logical_types(load_schema(name))) for name in (OFFER_PRESENTED, CHECKOUT_COMPLETED)
)
BY_FASTAVRO, BARE_BY_FASTAVRO = EventBuilder(KEPT), EventBuilder()


class OursByTheirId:
    """A registry that has our schemas: of the offers as 1, of the checkouts as 2."""

    def get(self, schema_id: object) -> WrittenSchema:
        return parse_texts(schema_text(OFFER_PRESENTED if schema_id == 1 else CHECKOUT_COMPLETED))


READERS = tuple(RegistryReader(OursByTheirId(), name) for name in (OFFER_PRESENTED, CHECKOUT_COMPLETED))
PLAIN, BARE = PlainCodec(KEPT), PlainCodec()
FRAMED = InputsCodec(PLAIN, *map(InputReader.of_registry, READERS), KEPT)
FRAMED_BY_FASTAVRO = InputsCodec(PLAIN, *(InputReader(reader.fields_of, any_size=False) for reader in READERS), KEPT)


def offer_by_fastavro(key: bytes | None, value: bytes, offset: int) -> OfferPresented:
    return BY_FASTAVRO.offer(key, read_record(OFFER, value), offset, len(value))


def bare_offer_by_fastavro(key: bytes | None, value: bytes, offset: int) -> OfferPresented:
    return BARE_BY_FASTAVRO.offer(key, read_record(OFFER, value), offset, len(value))


def checkout_by_fastavro(key: bytes | None, value: bytes, offset: int) -> CheckoutCompleted:
    fields = read_record(CHECKOUT, value)
    refuse_hidden_items(value, fields)
    return BY_FASTAVRO.checkout(key, fields, offset, len(value))


def fate(decode: Callable[..., Any], key: bytes | None, value: bytes) -> Any:
    """All that an event holds, or all that a refusal says."""
    try:
        event = decode(key, value, 7)
    except DecodeError as error:
        return error.reason, str(error), error.session_id
    kept = [(name, type(getattr(event, name)), getattr(event, name)) for name in type(event).__slots__]
    return type(event), kept


def hold(key: bytes | None, value: bytes) -> None:
    """By hand or by fastavro, these bytes have one fate as an offer, and one as a checkout."""
    assert fate(PLAIN.decode_offer, key, value) == fate(offer_by_fastavro, key, value)
    assert fate(PLAIN.decode_checkout, key, value) == fate(checkout_by_fastavro, key, value)


def hold_framed(key: bytes | None, value: bytes) -> None:
    """The same with a frame, whose schema is ours, and where no metadata is kept."""
    hold(key, value)
    assert fate(BARE.decode_offer, key, value) == fate(bare_offer_by_fastavro, key, value)
    offer, checkout = framed(1, value), framed(2, value)
    assert fate(FRAMED.decode_offer, key, offer) == fate(FRAMED_BY_FASTAVRO.decode_offer, key, offer)
    assert fate(FRAMED.decode_checkout, key, checkout) == fate(FRAMED_BY_FASTAVRO.decode_checkout, key, checkout)


KEY = b"s1"
RECORDS = {
    "an offer": PLAIN.encode_offer(OFFER_FIELDS),
    "an offer without metadata": PLAIN.encode_offer({**OFFER_FIELDS, "metadata": {}}),
    "an offer that says little": PLAIN.encode_offer(
        {name: OFFER_FIELDS[name] for name in ("event_id", "session_id", "partner_code", "offer_id", "presented_at")}
    ),
    "an offer with much metadata": PLAIN.encode_offer({**OFFER_FIELDS, "metadata": {"tier": "x" * 70}}),
    "a checkout": PLAIN.encode_checkout(CHECKOUT_FIELDS),
    "a checkout that bought nothing": PLAIN.encode_checkout({**CHECKOUT_FIELDS, "purchased_offer_ids": []}),
    "a checkout with metadata": PLAIN.encode_checkout({**CHECKOUT_FIELDS, "metadata": {"tier": "gold", "a": ""}}),
}


BYTES = sorted({*range(0, 256, 5 if THOROUGH == 1 else 1), 1, 2, 3, 4, 0x7E, 0x7F, 0x80, 0x81, 0xFE})
"""All of them in a thorough run."""


@pytest.mark.parametrize("value", RECORDS.values(), ids=RECORDS)
def test_any_byte_at_any_place_has_the_fate_that_fastavro_gives_it(value: bytes) -> None:
    for at in range(len(value)):
        for byte in BYTES:
            hold(KEY, value[:at] + bytes([byte]) + value[at + 1 :])


ODD = (b"\0", b"\1", b"\2", b"\3", b"\x7e", b"\x80", b"\x80\0", b"\x82\0", b"\x81\x80\0", b"\xff", b"\xff" * 9 + b"\1")
"""Numbers that are 0, odd, or written with more bytes than they need, and what is the count of no items."""


@pytest.mark.parametrize("value", RECORDS.values(), ids=RECORDS)
def test_a_record_that_is_cut_longer_or_oddly_numbered_has_the_fate_that_fastavro_gives_it(value: bytes) -> None:
    for at in range(len(value) + 1):
        hold(KEY, value[:at])
        for odd in ODD:
            hold(KEY, value[:at] + odd + value[at:])
            hold(KEY, value[:at] + odd + value[at + 1 :])


SIZED = st.sampled_from((0, 1, 62, 63, 64, 65, 127, 128, 1_000, 1_001, 8_191, 8_192)).map(lambda size: "x" * size)
ANY_TEXT = TEXT | SIZED | st.sampled_from(("s1", "é" * 31, "é" * 32, "€" * 21))
TIMES = LONGS | st.integers(0, 2**42) | st.sampled_from((2**34 - 1, 2**34, 2**41 - 1, 2**41))
METADATA = st.dictionaries(st.just("tier") | ANY_TEXT, ANY_TEXT, max_size=3)
OFFERS = st.fixed_dictionaries(
    {
        "event_id": ANY_TEXT,
        "session_id": ANY_TEXT,
        "partner_code": ANY_TEXT,
        "offer_id": ANY_TEXT,
        "presented_at": TIMES,
        **dict.fromkeys(("product_code", "country", "currency", "price"), st.none() | ANY_TEXT),
        "metadata": METADATA,
    }
)
CHECKOUTS = st.fixed_dictionaries(
    {
        "event_id": ANY_TEXT,
        "session_id": ANY_TEXT,
        "checkout_id": ANY_TEXT,
        "completed_at": TIMES,
        "purchased_offer_ids": st.lists(ANY_TEXT, max_size=3) | st.lists(st.just("o"), min_size=62, max_size=66),
        "metadata": METADATA,
    }
)
EVENTS = OFFERS.map(lambda event: (event["session_id"].encode(), PLAIN.encode_offer(event))) | CHECKOUTS.map(
    lambda event: (event["session_id"].encode(), PLAIN.encode_checkout(event))
)


@fuzz(150)
@given(EVENTS)
def test_any_record_is_read_as_fastavro_reads_it(event: tuple[bytes, bytes]) -> None:
    hold_framed(*event)


@fuzz(30)
@given(EVENTS, st.none() | st.binary(max_size=4) | st.just(KEY))
def test_any_key_has_the_fate_that_fastavro_s_reading_gives_it(event: tuple[bytes, bytes], key: bytes | None) -> None:
    hold_framed(key, event[1])


@fuzz(200)
@given(EVENTS.flatmap(lambda event: st.tuples(st.just(event[0]), spoilt(event[1]))))
def test_any_spoilt_record_has_the_fate_that_fastavro_gives_it(event: tuple[bytes, bytes]) -> None:
    hold_framed(*event)


@st.composite
def in_blocks(draw: st.DrawFn, texts: list[bytes], each: int) -> bytes:
    """A list or a map as a writer may put it: in blocks, each with its size or not."""
    items = [b"".join(texts[at : at + each]) for at in range(0, len(texts), each)]
    written = b""
    while items:
        count = draw(st.integers(1, len(items)))
        block, items = b"".join(items[:count]), items[count:]
        sized = draw(st.booleans())
        written += (varint(-count) + varint(len(block)) if sized else varint(count)) + block
    return written + b"\0"


@fuzz(100)
@given(st.data())
def test_a_list_and_metadata_in_any_blocks_are_read_as_fastavro_reads_them(data: st.DataObject) -> None:
    texts = st.lists(st.sampled_from((b"\4o1", b"\4o2", b"\0", b"\x08tier")), max_size=4)
    bought, metadata = data.draw(texts), data.draw(texts.filter(lambda drawn: len(drawn) % 2 == 0))
    checkout = RECORDS["a checkout that bought nothing"][:-2] + data.draw(in_blocks(bought, 1))
    tail = data.draw(in_blocks(metadata, 2))
    for value in (checkout + tail, RECORDS["an offer without metadata"][:-1] + tail):
        hold(KEY, value)


def test_a_codec_of_either_form_shares_what_it_read_by_hand_with_what_fastavro_read() -> None:
    """Two records of the same details, of which one is read by hand and one is not."""
    odd = {**OFFER_FIELDS, "event_id": "x" * 100}
    for codec, frame in ((PLAIN, b""), (FRAMED, framed(1, b""))):
        one, other = (read(codec, frame + PLAIN.encode_offer(fields)) for fields in (OFFER_FIELDS, odd))
        assert one.details is other.details
        assert one.partner_code is other.partner_code


def read(codec: Codec, value: bytes) -> OfferPresented:
    event = codec.decode_offer(KEY, value, 7)
    assert isinstance(event, OfferPresented)
    return event
