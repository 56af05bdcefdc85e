"""What a dead letter looks like: the record unchanged if the topic takes it so, else as much of it as it takes.

A record that was as large as its topic allows is too large with our headers. It must not stop the service, which could
not go on behind it. So it is written in the first of these forms that the broker takes:

1. unchanged, with our headers after its own,
2. unchanged, without ours: as large as it was in its own topic,
3. with our headers instead of its own, where its own are what is large,
4. a stub: where the record stands, its sizes and hashes. By these it can be found, or known again in a copy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple, TypeAlias

from ..codecs.codec import MOST_BYTES
from ..hiding import hide
from .record import Record

_ERROR_LENGTH = 1_000
"""Characters of an error kept in a header."""

Headers: TypeAlias = list[tuple[str, str | bytes | None]]

ADDED = ("error", "reason", "source.topic", "source.partition", "source.offset", "source.timestamp")
"""The names of our headers, in their order behind those of the record."""

HEADERS_LEFT_OUT, VALUE_LEFT_OUT = "headers.left_out", "value.left_out"
"""Before ours, in place of the record's own headers; the second one with a stub alone."""


class Form(NamedTuple):
    """One way to write a dead letter.

    Attributes:
        left_out: what of it is not there, in words; empty for the whole.
        is_least: there is no smaller one.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers
    left_out: str = ""
    is_least: bool = False


def forms(record: Record, reason: str, error: str) -> Iterator[Form]:
    """The ways to write it, the best first, each smaller than the one before."""
    own: Headers = list(record.headers)
    place = record.topic, str(record.partition), str(record.offset), str(record.timestamp)
    ours: Headers = list(zip(ADDED, (hide(error)[:_ERROR_LENGTH], reason, *place), strict=True))
    yield Form(record.key, record.value, [*own, *ours])
    yield Form(record.key, record.value, own, "the headers that say where it is from and why")
    instead: Headers = [(HEADERS_LEFT_OUT, f"{len(own)} headers of {_size(own)} bytes were too large"), *ours]
    if _size(instead) < _size(own):
        yield Form(record.key, record.value, instead, "its headers")
    key = record.key if len(record.key or b"") <= MOST_BYTES else None
    said = (VALUE_LEFT_OUT, "too large: this is a stub")
    yield Form(key, _stub(record), [said, *ours], "all but a stub", is_least=True)


def _stub(record: Record) -> bytes:
    return json.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": record.timestamp,
            "key_bytes": None if record.key is None else len(record.key),
            "key_sha256": None if record.key is None else sha256(record.key).hexdigest(),
            "value_bytes": None if record.value is None else len(record.value),
            "value_sha256": None if record.value is None else sha256(record.value).hexdigest(),
            "headers_bytes": _size(list(record.headers)),
        }
    ).encode()


def _size(headers: Headers) -> int:
    return sum(
        len(name.encode()) + len(value.encode() if isinstance(value, str) else value or b"") for name, value in headers
    )
