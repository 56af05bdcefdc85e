"""JSON as it comes from producers: one object, and nothing that two parsers read in two ways."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.codecs.codec import no_headers
from consumer.codecs.json import read_json
from consumer.errors import DecodeError


def read(value: bytes) -> dict[str, Any]:
    return read_json(value, no_headers)


def test_an_object_is_read_framed_or_not_with_a_byte_order_mark_or_without() -> None:
    text = '{"session_id": "säß", "items": [1, 2.5, null, true]}'
    expected = {"session_id": "säß", "items": [1, 2.5, None, True]}
    for value in (text.encode(), b"\0\0\0\0\7" + text.encode(), text.encode("utf-8-sig"), b" \n" + text.encode()):
        assert read(value) == expected


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (b"", "Expecting value"),
        (b"\0", "Expecting value"),
        (b"\0\0\0\0\7", "Expecting value"),
        (b"\0\0\0\0\7\2\4ab", "not JSON"),
        (b"null", "not a JSON object but a NoneType"),
        (b'["a"]', "not a JSON object but a list"),
        (b'{"a": 1} {"a": 2}', "Extra data"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the field 'c' stands in it twice"),
        (b'{"purchased_offer_ids": ["o1"], "purchased_offer_ids": []}', "stands in it twice"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": "\xff"}', "can't decode byte 0xff"),
        (b'{"a": "\xed\xa0\x80"}', "can't decode byte"),
        ('{"a": 1}'.encode("utf-16"), "can't decode byte"),
        ('{"a": 1}'.encode("utf-16-le"), "not JSON"),
        (b"[" * 20_000, "nested too deep"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "nested too deep"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
    ],
)
def test_what_is_no_such_object_is_undecodable(value: bytes, what: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read(value)
    assert caught.value.reason == "undecodable"
    assert what in str(caught.value)


def test_a_name_that_stands_twice_among_very_many_is_found_at_once() -> None:
    names = [f'"{n:x}":0' for n in range(100_000)]
    value = "{" + ",".join([*names, names[-1]]) + "}"
    begun = time.monotonic()
    with pytest.raises(DecodeError, match="'1869f' stands in it twice"):
        read(value.encode())
    assert time.monotonic() - begun < 5, "counted anew for each name it takes minutes, and the partition stands still"


def test_a_number_beyond_all_numbers_is_no_time() -> None:
    # JSON allows it, and the parser makes it infinite; the field that it stands in refuses it.
    assert read(b'{"at": 1e400}')["at"] == float("inf")


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
@example(b"\0\0\0\0\0{}")
def test_no_bytes_give_anything_but_an_object_or_a_refusal(value: bytes) -> None:
    with suppress(DecodeError):
        assert isinstance(read(value), dict)


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    )
)
def test_what_is_written_reads_back(document: dict[str, Any]) -> None:
    assert read(json.dumps(document).encode()) == document
