"""Which dead letters an audit is told of: by the records' places and their own timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from consumer.errors import StartError
from consumer.events import RecordIdentity, RecordRef
from consumer.evidence import reconciling
from consumer.evidence.reconciling import _DeadLetters
from consumer.kafka.dead_letter import Headers, forms
from consumer.kafka.letter import note_of
from consumer.kafka.reader import Span
from consumer.kafka.record import Record

SOURCE = RecordRef("offers", 3, 7)
T = 1_790_000_000_000


class Written:
    """A record of the dead-letter topic."""

    def __init__(self, headers: Headers, key: bytes | None = None, value: bytes | None = None) -> None:
        self._headers, self._key, self._value = headers, key, value

    def topic(self) -> str:
        return "dead"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return 1, T + 900

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> list[tuple[str, bytes]]:
        return [(name, str(value).encode()) for name, value in self._headers]


def letter(timestamp: int, reason: str) -> Written:
    form = next(forms(Record(*SOURCE, timestamp, b"k", b"v"), reason, ""))
    return Written(form.headers, b"k", b"v")


def note(timestamp: int) -> Written:
    return Written(note_of(RecordIdentity(SOURCE, timestamp), RecordRef("dead", 3, 7), RecordRef("offers", 3, 900)))


def note_of_an_older_version() -> Written:
    return Written([(name, str(value).partition(" timestamp=")[0]) for name, value in note(T)._headers])


def told(monkeypatch: pytest.MonkeyPatch, *written: Written, is_cut: bool = False) -> _DeadLetters:
    span = Span("dead", 3, 0, len(written), 0, is_cut=is_cut)
    monkeypatch.setattr(reconciling, "spans_since", lambda *_: [span])
    monkeypatch.setattr(reconciling, "records_of", lambda *_: iter(written))
    consumer: Any = None
    return _DeadLetters(consumer, "dead", 0)


def reasons(found: _DeadLetters, *timestamps: int) -> list[str | None]:
    dead = found.of("offers", 3)
    assert dead is not None
    return [dead.reason(7, timestamp) for timestamp in timestamps]


def test_a_dead_letter_is_of_the_record_with_its_timestamp(monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(monkeypatch, letter(T, "undecodable"), note(T), letter(T + 5, "late"))
    assert reasons(found, T, T + 5, T + 1, -1) == ["undecodable", "late", None, None]
    other = found.of("offers", 2)
    assert other is not None
    assert other.reason(7, T) is None


def test_a_note_alone_tells_that_there_was_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reasons(told(monkeypatch, note(T)), T, T + 1) == ["resubmitted", None]
    assert reasons(told(monkeypatch, note_of_an_older_version()), T, T + 900, T + 901) == ["resubmitted"] * 2 + [None]


def test_where_not_all_is_told_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, letter(T, "undecodable"), Written([], b"k", b"v")).of("offers", 3) is None
    assert told(monkeypatch, letter(T, "undecodable"), is_cut=True).of("offers", 3) is None

    def refused(*_: object) -> Iterator[Span]:
        raise StartError("no right to read it")

    found = told(monkeypatch)
    monkeypatch.setattr(reconciling, "spans_since", refused)
    assert found.of("offers", 3) is None
    assert len(found.notes) == 1
    assert "no right to read it" in found.notes[0]
