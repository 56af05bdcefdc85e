"""What the auditor reads of the dead-letter topic."""

from __future__ import annotations

import pytest

from consumer.audit import reading
from consumer.events import RecordIdentity, RecordRef
from consumer.kafka.dead_letter import forms
from consumer.kafka.record import Record


class Letter:
    def __init__(self, timestamp: int, reason: str) -> None:
        self._form = next(forms(Record("offers", 3, 7, timestamp, b"k", b"v"), reason, ""))

    def headers(self) -> list[tuple[str, bytes]]:
        return [(name, str(value).encode()) for name, value in self._form.headers]


def test_dead_letters_are_of_records_that_their_timestamps_tell_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "read_topic", lambda *_: [Letter(1_500, "late"), Letter(-1, "undecodable")])
    place = RecordRef("offers", 3, 7)
    assert reading.read_dead_letters("nowhere:1", "dead") == [
        (RecordIdentity(place, 1_500), "late"),
        (RecordIdentity(place, -1), "undecodable"),
    ]
