"""The forms of a dead letter: each says less than the one before, and is smaller."""

from __future__ import annotations

import json
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from consumer.hiding import IN_USE
from consumer.kafka.dead_letter import Form, forms
from consumer.kafka.record import Record

OURS = ["error", "reason", "source.topic", "source.partition", "source.offset", "source.timestamp"]


def size(form: Form) -> int:
    headers = sum(len(n) + len(v.encode() if isinstance(v, str) else v or b"") for n, v in form.headers)
    return len(form.key or b"") + len(form.value or b"") + headers


def record(key: bytes | None = b"s1", value: bytes | None = b"v" * 900_000, *own: tuple[str, bytes | None]) -> Record:
    return Record("offer.presented", 3, 41, 1_767_225_600_123, key, value, own)


def made(of: Record) -> list[Form]:
    return list(forms(of, "undecodable", "e" * 5_000))


def names(form: Form) -> list[str]:
    return [name for name, _ in form.headers]


def test_a_secret_is_hidden_before_the_error_is_cut() -> None:
    IN_USE.learn(["the-secret"])
    for before in range(980, 1_001):
        error = dict(next(forms(record(), "rejected", "." * before + "the-secret"))[2])["error"]
        assert set(error) <= {".", "*"}
        assert len(error) <= 1_000


def test_a_large_value_loses_our_headers_first_and_is_a_stub_then() -> None:
    whole, as_it_was, stub = made(record(b"s1", b"v" * 900_000, ("trace", b"7")))
    assert (whole.key, whole.value, names(whole)) == (b"s1", b"v" * 900_000, ["trace", *OURS])
    assert (as_it_was.key, as_it_was.value, names(as_it_was)) == (b"s1", b"v" * 900_000, ["trace"])
    assert (stub.key, names(stub)) == (b"s1", ["value.left_out", *OURS])
    assert [form.is_least for form in (whole, as_it_was, stub)] == [False, False, True]
    assert [bool(form.left_out) for form in (whole, as_it_was, stub)] == [False, True, True], (
        "the log says what is gone"
    )


def test_large_headers_of_its_own_are_left_out_before_the_value() -> None:
    _, _, without, stub = made(record(b"s1", b"v", ("big", b"x" * 5_000)))
    assert (without.key, without.value, names(without)) == (b"s1", b"v", ["headers.left_out", *OURS])
    assert dict(without.headers)["headers.left_out"] == "1 headers of 5003 bytes were too large"
    assert "headers" in without.left_out
    assert stub.is_least


def test_a_stub_says_where_the_record_stands_and_what_it_was() -> None:
    stub = made(record(b"k" * 400_000, b"v" * 7, ("big", b"x" * 10)))[-1]
    assert stub.key is None
    assert json.loads(stub.value or b"") == {
        "topic": "offer.presented",
        "partition": 3,
        "offset": 41,
        "timestamp": 1_767_225_600_123,
        "key_bytes": 400_000,
        "key_sha256": sha256(b"k" * 400_000).hexdigest(),
        "value_bytes": 7,
        "value_sha256": sha256(b"v" * 7).hexdigest(),
        "headers_bytes": 13,
    }
    assert dict(stub.headers)["reason"] == "undecodable"
    assert size(stub) < 2_500


def test_a_stub_of_a_record_without_key_and_value_says_that_too() -> None:
    stub = json.loads(made(record(None, None))[-1].value or b"")
    assert [stub[name] for name in ("key_bytes", "key_sha256", "value_bytes", "value_sha256")] == [None] * 4


@given(st.binary(max_size=3_000), st.integers(0, 3_000), st.lists(st.integers(0, 3_000), max_size=3))
def test_each_form_but_the_stub_is_smaller_than_the_one_before(key: bytes, value: int, own: list[int]) -> None:
    *whole, stub = made(record(key, b"v" * value, *[(f"h{n}", b"x" * n) for n in own]))
    sizes = [size(form) for form in whole]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    assert stub.is_least
    assert size(stub) < 4_000
