"""One dead letter: why it is one, what it holds, and what would become of it now."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from ..checks.mapped import fields_of
from ..checks.sample import judged
from ..codecs.codec import Codec
from ..core.dating import iso_of
from ..errors import OptOutError
from ..events import RecordRef
from ..kafka.letter import DeadLetter, LetterForm, ResubmissionNote, named
from ..kafka.record import Record
from ..output import Column, Document, TableShown
from ..settings import KafkaSettings
from .originals import Originals
from .prospects import Prospects, side_of
from .records import RecordSet
from .topic import DeadLetterTopic

MOST_SHOWN = 4_096
"""Bytes of a value that are shown to people; programs get all of it."""

_COLUMNS = (Column("name", "what"), Column("value", "value"))


def find_letter(topic: DeadLetterTopic, partition: int, offset: int) -> tuple[DeadLetter, list[ResubmissionNote]]:
    """The dead letter in this place, and the notes that it was re-submitted.

    Raises:
        OptOutError: there is none.
    """
    ranges = topic.ranges([partition])
    low, end = ranges[partition]
    place = named(RecordRef(topic.name, partition, offset))
    if not low <= offset < end:
        raise OptOutError(
            f"{place} is not there: the partition has the offsets from {low} to {end - 1}. What retention has deleted "
            "is gone."
            if low < end
            else f"{place} is not there: the partition is empty"
        )
    found = next(iter(topic.entries({partition: (offset, offset + 1)})), None)
    if found is None:
        raise OptOutError(f"{place} is not there: this offset is no record's, but the mark of a transaction's end")
    if isinstance(found, ResubmissionNote):
        raise OptOutError(f"{place} is no dead letter: it is the note that {found.letter} was re-submitted")
    if found.source is None:
        return found, []
    behind = topic.entries({partition: (low, end)})
    return found, [note for note in behind if isinstance(note, ResubmissionNote) and _is_of(note, found)]


def _is_of(note: ResubmissionNote, letter: DeadLetter) -> bool:
    one = RecordSet()
    one.add(note)
    return letter.identity in one


class ShownLetter:
    """What is shown of a dead letter.

    Args:
        notes: that it was re-submitted.
    """

    def __init__(
        self,
        letter: DeadLetter,
        notes: list[ResubmissionNote],
        originals: Originals,
        codec: Codec,
        prospects: Prospects,
        kafka: KafkaSettings,
    ) -> None:
        self._letter = letter
        self._notes = notes
        self._record: Record | None = None
        self._event: object = None
        self._why = "its record is not here as a whole"
        self._prospect: str
        found = originals.of(letter)
        if not isinstance(found, Record):
            self._prospect = f"cannot be: {found[1]}"
            return
        self._record = found
        side = side_of(found.topic, kafka)
        if side is not None:
            sampled = judged(found, side, codec)
            # What it is, or in words why it is none.
            self._event = fields_of(sampled)
            self._why = "" if sampled.events else f"not read by these settings: {self._event or sampled.fate}"
            self._event = self._event if sampled.events else None
        try:
            obstacle = prospects.of(found, letter.reason)
        except OptOutError as error:  # what the dead letter holds is shown all the same
            self._prospect = f"cannot be told: {error}"
            return
        self._prospect = "it would be read" if obstacle is None else f"{obstacle[0].key}: {obstacle[1]}"

    def for_people(self) -> Document:
        """As a table, and below it what could not be decoded."""
        letter = self._letter
        rows: list[list[object]] = [
            ["dead letter", named(letter.place)],
            ["written", iso_of(letter.written_at)],
            ["reason", letter.reason or "not told"],
            ["error", letter.error or None],
            ["record", "not told" if letter.source is None else named(letter.source)],
            ["stamped", iso_of(letter.timestamp) if letter.timestamp >= 0 else None],
            ["is here", letter.form.value],
            ["key", None if letter.key is None else _in_words(letter.key)],
        ]
        record = self._record
        headers = letter.headers if record is None else record.headers
        rows += [
            [f"header {_in_words(name.encode())}", None if value is None else _in_words(value)]
            for name, value in headers
        ]
        rows += [["re-submitted", f"{iso_of(note.written_at)} as {note.target}"] for note in self._notes]
        before = "left out without --again, since it was re-submitted; " if self._notes else ""
        rows.append(["re-submitted now", f"{before}{self._prospect}"])
        rows += [[f"decoded {name}", value] for name, value in self._decoded()]
        return Document({"dead_letter": TableShown(named(letter.place), _COLUMNS, rows)}, notes=list(self._raw()))

    def for_programs(self) -> Document:
        """As one JSON object; bytes that are no text are in base64 only."""
        letter, record = self._letter, self._record
        key, value = (letter.key, letter.value) if record is None else (record.key, record.value)
        headers = letter.headers if record is None else record.headers
        facts = {
            "dead_letter": named(letter.place),
            "written": letter.written_at,
            "reason": letter.reason or None,
            "error": letter.error or None,
            "source": None if letter.source is None else letter.source._asdict(),
            "timestamp": letter.timestamp,
            "form": letter.form.name.lower(),
            "is_whole": record is not None,
            "key": _both(key),
            "value": _both(value),
            "headers": [{"name": name, **(_both(content) or {"text": None})} for name, content in headers],
            "decoded": self._event,
            "not_decoded": self._why or None,
            "resubmitted": [{"at": note.written_at, "as": note.target, "from": note.letter} for note in self._notes],
            "prospect": self._prospect,
        }
        return Document({}, facts)

    # --- inside

    def _decoded(self) -> Iterator[tuple[str, object]]:
        several = self._event if isinstance(self._event, list) else [self._event] if self._event else []
        for number, fields in enumerate(several):
            for name, value in fields.items():
                shown = ", ".join(map(str, value)) if isinstance(value, list) else value
                yield f"{number}.{name}" if len(several) > 1 else name, shown

    def _raw(self) -> Iterator[str]:
        """What there is where nothing is decoded."""
        if self._event is not None:
            return
        value = self._letter.value if self._record is None else self._record.value
        if value is None:
            yield "It has no value."
            return
        if self._letter.form is LetterForm.STUB and self._record is None:
            yield f"The record is not here: {self._prospect}. What is known of it:"
        else:
            yield f"{self._why[:1].upper()}{self._why[1:]}. The value has {len(value)} bytes:"
        yield from _lines(value[:MOST_SHOWN])
        if len(value) > MOST_SHOWN:
            yield f"... and {len(value) - MOST_SHOWN} bytes more, which --output json has"


def _both(data: bytes | None) -> dict[str, object] | None:
    if data is None:
        return None
    return {"text": _text_of(data), "base64": base64.b64encode(data).decode()}


def _text_of(data: bytes) -> str | None:
    """The text that these bytes are; None if they are none, or one that would do something to a terminal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if all(character.isprintable() or character in "\n\t" for character in text) else None


def _in_words(data: bytes) -> str:
    text = _text_of(data)
    return repr(data) if text is None else text


def _lines(data: bytes) -> Iterator[str]:
    """Text as it is, anything else sixteen bytes a line as hex dumps have it."""
    text = _text_of(data)
    if text is not None:
        yield from text.splitlines()
        return
    for begin in range(0, len(data), 16):
        part = data[begin : begin + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{begin:08x}  {part.hex(' '):<47}  |{shown}|"
