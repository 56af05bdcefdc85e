"""What a record of the dead-letter topic is: a dead letter in one of its forms, or a note that one was re-submitted.

`dead_letter` writes the forms. A note has neither key nor value: its headers say it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ..events import RecordIdentity, RecordRef
from .dead_letter import ADDED, HEADERS_LEFT_OUT, VALUE_LEFT_OUT, Headers
from .record import Record

RESUBMITTED_FROM = "opt-out.resubmitted-from"
"""The header by which a record in an input topic says of which dead letter it is; the last one of this name counts."""

RESUBMITTED = "resubmitted"
"""What a note has in the place of a reason."""

_NOTE = ("reason", "source.topic", "source.partition", "source.offset", "resubmitted.from", "resubmitted.to")
"""The headers of a note, in their order. With one more an older version takes it for a dead letter."""

_TIMESTAMP = " timestamp="
"""Behind the dead letter in `resubmitted.from`, before the timestamp of the record (ms)."""


class LetterForm(Enum):
    """How much of the record a dead letter has; the value is said to people.

    UNTOLD: the record without the headers that say where it is from. BARE: without its own headers. STUB: its place
    and its hashes.
    """

    WHOLE = "the whole record"
    UNTOLD = "the record, without the headers that say where it is from and why"
    BARE = "the record without its own headers"
    STUB = "a stub: the record's place, sizes and hashes"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter.

    Attributes:
        place: where it stands in the dead-letter topic.
        written_at: its own timestamp (ms).
        reason, error: why it is one, as a name and in words; empty where that is not told.
        source: where the record stood; None where that is not told.
        timestamp: of the record (ms); -1 if it has none or that is not told.
        key, value: of the record; of a stub the value tells of the record, and a long key is left out.
        headers: the record's own; empty where they are left out.
    """

    place: RecordRef
    written_at: int
    form: LetterForm
    reason: str
    error: str
    source: RecordRef | None
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def identity(self) -> RecordIdentity | None:
        """Of the record; None where it is not told where that stood."""
        return None if self.source is None else RecordIdentity(self.source, self.timestamp)


@dataclass(frozen=True, slots=True)
class ResubmissionNote:
    """Says that a dead letter was re-submitted.

    Attributes:
        place, written_at: of the note.
        source: where the record stood first. That, and not the dead letter, is what is not to be done twice: after a
            crash two dead letters may be of one record.
        timestamp: of the record (ms); None in a note of a version before 0.8.0, which does not tell it.
        letter, target: the dead letter, and where the record stands now, as `topic[partition]@offset`.
    """

    place: RecordRef
    written_at: int
    source: RecordRef
    timestamp: int | None
    letter: str
    target: str


Entry: TypeAlias = DeadLetter | ResubmissionNote


def entry_of(record: Record) -> Entry:
    """What a record of the dead-letter topic is. Whatever is none of ours is a dead letter of which nothing is told."""
    place = RecordRef(record.topic, record.partition, record.offset)
    names = tuple(name for name, _ in record.headers)
    if record.key is None and record.value is None and names == _NOTE:
        _, topic, partition, offset, letter, target = (_text(value) for _, value in record.headers)
        if (source := _source(topic, partition, offset)) is not None:
            return ResubmissionNote(place, record.timestamp, source, *_timestamp_and_letter(letter), target)
    untold = DeadLetter(
        place, record.timestamp, LetterForm.UNTOLD, "", "", None, -1, record.key, record.value, record.headers
    )
    if names[-len(ADDED) :] != ADDED:
        return untold
    own, added = record.headers[: -len(ADDED)], [_text(value) for _, value in record.headers[-len(ADDED) :]]
    error, reason, topic, partition, offset, timestamp = added
    source = _source(topic, partition, offset)
    # A dead letter stands in the partition of its record's number: else these are headers of a copied one.
    if source is None or source.partition != record.partition or (stamp := _number(timestamp)) is None:
        return untold
    form = LetterForm.WHOLE
    if own and own[0][0] in (VALUE_LEFT_OUT, HEADERS_LEFT_OUT):
        form, own = LetterForm.STUB if own[0][0] == VALUE_LEFT_OUT else LetterForm.BARE, ()
    return DeadLetter(place, record.timestamp, form, reason, error, source, stamp, record.key, record.value, own)


def note_of(record: RecordIdentity, letter: RecordRef, target: RecordRef) -> Headers:
    """The headers of a note."""
    topic, partition, offset = record.source
    from_ = f"{named(letter)}{_TIMESTAMP}{record.timestamp}"
    return list(zip(_NOTE, (RESUBMITTED, topic, str(partition), str(offset), from_, named(target)), strict=True))


def named(place: RecordRef) -> str:
    """A place in the log as it stands in headers and is said to people: `topic[partition]@offset`."""
    return f"{place.topic}[{place.partition}]@{place.offset}"


def _source(topic: str, partition: str, offset: str) -> RecordRef | None:
    numbers = _number(partition), _number(offset)
    if not topic or numbers[0] is None or numbers[1] is None or min(numbers[0], numbers[1]) < 0:
        return None
    return RecordRef(topic, numbers[0], numbers[1])


def _timestamp_and_letter(told: str) -> tuple[int | None, str]:
    letter, _, timestamp = told.partition(_TIMESTAMP)
    number = _number(timestamp)
    return (None, told) if number is None else (number, letter)


def _number(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 20 else None


def _text(value: bytes | None) -> str:
    """For people, too: an error may quote what a record holds, and that must do nothing to a terminal."""
    text = (value or b"").decode(errors="replace")
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
