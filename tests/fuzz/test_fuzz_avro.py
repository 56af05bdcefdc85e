"""Bytes of the two topics: whatever they are, they are an event, exactly the one that they say, or they are refused."""

from __future__ import annotations

from typing import Any

from fuzz.avro_reader import HarmlessError, NotAvroError, read_checkout, read_offer
from fuzz.fuzzing import LONGS, TEXT, fuzz, spoilt, varint, varints
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.codecs.codec import EMPTY_ID, KEY_MISMATCH, UNDECODABLE
from consumer.codecs.plain import PlainCodec
from consumer.errors import DecodeError

CODEC = PlainCodec(metadata_keys=("tier",))
BEGIN = b"".join(varint(len(text)) + text for text in (b"e", b"s", b"c")) + varint(5)
"""A checkout of the session `s`, up to what it bought."""
MIN_LONG = varint(-(2**63))

METADATA = st.dictionaries(st.just("tier") | TEXT, TEXT, max_size=3)

OFFERS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"event_id": TEXT, "session_id": TEXT, "partner_code": TEXT, "offer_id": TEXT, "presented_at": LONGS},
    optional={
        **dict.fromkeys(("product_code", "country", "currency", "price"), st.none() | TEXT),
        "metadata": METADATA,
    },
)
CHECKOUTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "event_id": TEXT,
        "session_id": TEXT,
        "checkout_id": TEXT,
        "completed_at": LONGS,
        "purchased_offer_ids": st.lists(TEXT, max_size=4),
    },
    optional={"metadata": METADATA},
)
OFFER_BYTES = OFFERS.map(CODEC.encode_offer)
CHECKOUT_BYTES = CHECKOUTS.map(CODEC.encode_checkout)


@st.composite
def misnumbered(draw: st.DrawFn) -> bytes:
    """A record in which one or two numbers, be they a length, a count, a branch or a time, are others."""
    texts = [draw(TEXT).encode() for _ in range(3)]
    parts: list[bytes] = [part for text in texts for part in (varint(len(text)), text)]
    parts.append(varint(draw(LONGS)))
    if draw(st.booleans()):
        text = draw(TEXT).encode()
        parts[-1:-1] = [varint(len(text)), text]
        parts += [varint(branch) + b"\x02x" * branch for branch in draw(st.lists(st.integers(0, 1), max_size=4))]
        parts += [varint(0)] * (5 - len(parts) + 9)
    else:
        bought = [text.encode() for text in draw(st.lists(TEXT, max_size=3))]
        size = sum(len(varint(len(text)) + text) for text in bought)
        if bought:
            parts += draw(st.sampled_from(([varint(len(bought))], [varint(-len(bought)), varint(size)])))
        parts += [part for text in bought for part in (varint(len(text)), text)]
        parts += [varint(0), varint(0)]
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(parts) - 1))
        put = draw(
            st.sampled_from((MIN_LONG + varint(0), b"\x80", b"\x80\x00", *map(varint, range(-3, 4)))) | varints()
        )
        parts[at : at + draw(st.integers(0, 1))] = [put]
    return b"".join(parts)


ANY_BYTES = st.one_of(
    misnumbered(),
    misnumbered(),
    st.binary(max_size=200),
    OFFER_BYTES.flatmap(spoilt),
    CHECKOUT_BYTES.flatmap(spoilt),
    st.lists(varints() | st.binary(max_size=4), max_size=20).map(b"".join),
)
KEYS = st.none() | st.binary(max_size=20) | TEXT.map(str.encode)


def refusal(decode: Any, key: bytes | None, value: bytes) -> str | None:
    """Why it is refused, None if it is not. Whatever else is raised fails the test."""
    try:
        decode(key, value, 7)
    except DecodeError as error:
        return error.reason if str(error).encode() else "it has no words"  # they go into a header
    return None


@fuzz(30)
@given(OFFERS)
def test_an_offer_reads_back_as_it_was_written(fields: dict[str, Any]) -> None:
    value = CODEC.encode_offer(fields)
    key = fields["session_id"].encode()
    if not (fields["session_id"] and fields["partner_code"] and fields["offer_id"]):
        assert refusal(CODEC.decode_offer, key, value) == EMPTY_ID
        return
    event = CODEC.decode_offer(key, value, 7)
    assert (event.session_id, event.partner_code, event.offer_id, event.presented_at, event.offset) == (
        fields["session_id"],
        fields["partner_code"],
        fields["offer_id"],
        fields["presented_at"],
        7,
    )
    assert event.details._asdict() == {name: fields.get(name) for name in event.details._fields}
    assert dict(event.metadata) == {k: v for k, v in fields.get("metadata", {}).items() if k == "tier"}


@fuzz(30)
@given(CHECKOUTS)
def test_a_checkout_reads_back_as_it_was_written(fields: dict[str, Any]) -> None:
    value = CODEC.encode_checkout(fields)
    key = fields["session_id"].encode()
    bought = fields["purchased_offer_ids"]
    if not (fields["session_id"] and fields["checkout_id"]) or "" in bought:
        assert refusal(CODEC.decode_checkout, key, value) == EMPTY_ID
        return
    event = CODEC.decode_checkout(key, value, 7)
    assert (event.session_id, event.checkout_id, event.completed_at) == (
        fields["session_id"],
        fields["checkout_id"],
        fields["completed_at"],
    )
    assert event.purchased == tuple(dict.fromkeys(bought)), "each once, in the order of the record"


@fuzz(125)
@given(ANY_BYTES)
@example(b"")
@example(b"\x00" * 12)
@example(varint(2**62) + b"s")
@example(varint(-5) + b"hello")
@example(b"\xff" * 100)
@example(b"\x00" * 9 + MIN_LONG + b"\x00\x00")
def test_any_bytes_are_the_offer_that_they_say_or_undecodable(value: bytes) -> None:
    said = None
    try:
        said = read_offer(value)
    except HarmlessError:
        refusal(CODEC.decode_offer, None, value)
        return
    except NotAvroError:
        pass
    key = b"" if said is None else said.session_id.encode()
    reason = refusal(CODEC.decode_offer, key, value)
    if said is None:
        assert reason == UNDECODABLE
    elif not (said.session_id and said.partner_code and said.offer_id):
        assert reason == EMPTY_ID
    else:
        assert reason is None
        event = CODEC.decode_offer(key, value, 7)
        assert (event.session_id, event.partner_code, event.offer_id, event.presented_at) == said[1:5]
        assert tuple(event.details) == said[5:9]


@fuzz(125)
@given(ANY_BYTES)
@example(b"")
@example(BEGIN + varint(2**40) + varint(0))
@example(BEGIN + varint(2**62) + varint(0) + varint(0))
@example(BEGIN + varint(1_000_000) + b"\x00" * 100)
@example(BEGIN + MIN_LONG + varint(0) + b"\x00\x00")
@example(b"\x00\x00\x00\x00" + MIN_LONG + b"\x00\x00\x00")
@example(BEGIN + b"\x02\x04o1" + MIN_LONG + varint(3) + b"\x00\x00")
@example(BEGIN[:-1] + MIN_LONG + b"\x00\x00")
@example(BEGIN[:-1] + MIN_LONG + MIN_LONG + varint(0) + b"\x00\x00")
@example(BEGIN + varint(-1) + varint(3) + b"\x04o1" + b"\x00\x00")
@example(BEGIN + varint(-1) + MIN_LONG + b"\x04o1" + b"\x00\x00")
def test_any_bytes_are_the_checkout_that_they_say_or_undecodable(value: bytes) -> None:
    said = None
    try:
        said = read_checkout(value)
    except HarmlessError:
        refusal(CODEC.decode_checkout, None, value)
        return
    except NotAvroError:
        pass
    key = b"" if said is None else said.session_id.encode()
    reason = refusal(CODEC.decode_checkout, key, value)
    if said is None:
        assert reason == UNDECODABLE
    elif not (said.session_id and said.checkout_id) or "" in said.purchased_offer_ids:
        assert reason == EMPTY_ID
    else:
        assert reason is None
        event = CODEC.decode_checkout(key, value, 7)
        assert (event.session_id, event.checkout_id, event.completed_at) == said[1:4]
        assert list(event.purchased) == list(dict.fromkeys(said.purchased_offer_ids)), "each once"


@fuzz(30)
@given(OFFER_BYTES | CHECKOUT_BYTES, KEYS)
def test_a_key_that_is_not_the_session_is_never_passed_over(value: bytes, key: bytes | None) -> None:
    for read, decode in ((read_offer, CODEC.decode_offer), (read_checkout, CODEC.decode_checkout)):
        try:
            said = read(value)
        except NotAvroError:
            assert refusal(decode, key, value) == UNDECODABLE
            continue
        reason = refusal(decode, key, value)
        if key != said.session_id.encode():
            assert reason in (KEY_MISMATCH, EMPTY_ID)
        else:
            assert reason in (None, EMPTY_ID)
