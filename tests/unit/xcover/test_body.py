"""The body of an answer: unpacked within bounds, and told from a gateway's."""

from __future__ import annotations

import gzip
import zlib

import pytest

from consumer.xcover.body import MAX_BODY, bounded, is_of_the_api, unpacked


@pytest.mark.parametrize("coding", ["gzip", "X-Gzip", " deflate "])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_packed_body_is_unpacked_whichever_way(coding: str, pack: object) -> None:
    assert unpacked(pack(b'{"a": 1}'), coding) == b'{"a": 1}'  # type: ignore[operator]


def test_what_is_not_packed_stays_as_it_is() -> None:
    assert unpacked(b"{}", None) == unpacked(b"{}", "identity") == b"{}"
    assert unpacked(b"", "gzip") == b""


@pytest.mark.parametrize(
    "body", [gzip.compress(b"{}", mtime=0)[:-9], gzip.compress(b" " * (MAX_BODY + 1), mtime=0), b"{}"]
)
def test_what_cannot_be_unpacked_whole_is_not_the_apis_own(body: bytes) -> None:
    assert not is_of_the_api(unpacked(body, "gzip"))


@pytest.mark.parametrize(
    ("body", "is_own"),
    [(b"", True), (b" \r\n", True), (b'{"a": 1}', True), (b"[]", False), (b"<html>", False), (b'{"a": NaN}', False)],
)
def test_the_apis_own_body_is_empty_or_an_object(body: bytes, is_own: bool) -> None:
    assert is_of_the_api(body) is is_own


def test_a_deep_body_is_not_the_apis_own() -> None:
    assert not is_of_the_api(b'{"a":' * 9_000)


@pytest.mark.parametrize("begin", [b"", b"{}"])
def test_a_body_that_is_cut_is_not_the_apis_own_whatever_is_left_of_it(begin: bytes) -> None:
    assert is_of_the_api(bounded(begin + b" " * (MAX_BODY - len(begin))))
    assert not is_of_the_api(bounded(begin + b" " * MAX_BODY + b"<html>"))


@pytest.mark.parametrize("first", [b"", b"{}"])
def test_what_stands_behind_a_packed_body_is_a_part_of_it(first: bytes) -> None:
    assert not is_of_the_api(unpacked(gzip.compress(first, mtime=0) + gzip.compress(b"<html>", mtime=0), "gzip"))
    assert not is_of_the_api(unpacked(gzip.compress(first, mtime=0) + b"<html>", "gzip"))
    assert is_of_the_api(unpacked(gzip.compress(first, mtime=0) + bytes(8), "gzip")), "a member may be padded"
