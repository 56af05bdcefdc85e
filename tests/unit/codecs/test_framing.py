"""Schema ids, before the value and in a header."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from confluent_kafka.schema_registry import dual_schema_id_deserializer, prefix_schema_id_serializer
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.codecs.codec import UNDECODABLE, no_headers
from consumer.codecs.framing import HEADER, framed, is_framed, payload_of, unframe
from consumer.errors import DecodeError

GUID = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def headers(*pairs: tuple[str, bytes | None]) -> Callable[[], list[tuple[str, bytes | None]]]:
    return lambda: list(pairs)


def test_a_number_before_the_value() -> None:
    assert unframe(b"\x00\x00\x00\x01\x02payload", no_headers) == (258, b"payload")
    assert unframe(framed(258, b"payload"), headers(("other", b"\x00\x00\x00\x00\x09"))) == (258, b"payload")


def test_a_guid_before_the_value() -> None:
    assert unframe(b"\x01" + GUID.bytes + b"payload", no_headers) == (GUID, b"payload")


def test_an_id_in_a_header_leaves_the_value_as_it_is_whatever_it_begins_with() -> None:
    value = b"\x00\x00\x00\x00\x07 could be a frame"
    assert unframe(value, headers((HEADER, b"\x01" + GUID.bytes))) == (GUID, value)
    assert unframe(value, headers((HEADER, b"\x00\x00\x00\x00\x05"))) == (5, value)


def test_of_two_headers_the_last_one_counts() -> None:
    assert unframe(b"", headers((HEADER, framed(5, b"")), (HEADER, framed(6, b"")))) == (6, b"")


@given(st.integers(1, 2**31 - 1), st.binary(max_size=20))
def test_a_frame_is_the_one_that_the_clients_serializer_writes(number: int, payload: bytes) -> None:
    theirs = SchemaId("AVRO", number)
    assert prefix_schema_id_serializer(payload, None, theirs) == framed(number, payload)
    assert unframe(framed(number, payload), no_headers) == (number, payload)
    assert is_framed(framed(number, payload))
    assert payload_of(framed(number, payload)) == payload


@given(st.binary(max_size=24), st.none() | st.binary(max_size=18))
@example(b"\x00\xff\xff\xff\xff", None)
@example(b"\x01" + GUID.bytes, None)
def test_what_is_taken_is_what_the_clients_deserializer_takes(value: bytes, header: bytes | None) -> None:
    pairs = [(HEADER, header)] if header is not None else []
    try:
        found, payload = unframe(value, lambda: pairs)
    except DecodeError:
        return
    theirs = SchemaId("AVRO")
    rest = dual_schema_id_deserializer(value, SerializationContext("t", MessageField.VALUE, pairs), theirs).read()
    assert (theirs.id or theirs.guid, rest) == (found, payload)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "is empty"),
        (b"\x00", "ends within its schema id: it has 1 bytes"),
        (b"\x00\x00\x00\x01", "ends within its schema id: it has 4 bytes"),
        (b"\x01" + GUID.bytes[:15], "ends within its schema id: it has 16 bytes"),
        (b"\x00\x00\x00\x00\x00payload", "has the schema id 0"),
        (b"\x00\xff\xff\xff\xffpayload", "has the schema id -1"),
        (b"\x02e1", "begins with the byte 0x02 and has no schema id"),
    ],
)
def test_what_has_no_id_is_undecodable(value: bytes, words: str) -> None:
    for found, at in ((no_headers, value), (headers((HEADER, value)), b"\x00\x00\x00\x00\x05")):
        with pytest.raises(DecodeError, match=words) as caught:
            unframe(at, found)
        assert caught.value.reason == UNDECODABLE


def test_a_header_with_more_than_an_id_is_undecodable() -> None:
    with pytest.raises(DecodeError, match="3 bytes more"):
        unframe(b"payload", headers((HEADER, framed(5, b"abc"))))


def test_a_plain_outcome_is_not_taken_for_a_framed_one() -> None:
    assert not is_framed(b"\x04o1")
    assert not is_framed(b"")
