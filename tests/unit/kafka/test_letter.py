"""What a record of the dead-letter topic is, by the forms that the service writes."""

from __future__ import annotations

import pytest

from consumer.events import RecordIdentity, RecordRef
from consumer.kafka.dead_letter import Form, Headers, forms
from consumer.kafka.letter import (
    DeadLetter,
    LetterForm,
    ResubmissionNote,
    entry_of,
    named,
    note_of,
)
from consumer.kafka.record import Record

SOURCE = Record("offers", 3, 812, 1_790_000_000_000, b"s1", b"value", (("trace", b"\xff"), ("none", None)))


def written(form: Form, partition: int = 3) -> Record:
    """The form, as it is read from the dead-letter topic."""
    return Record("dead", partition, 7, 1_790_000_000_500, form.key, form.value, as_read(form.headers))


def as_read(headers: Headers) -> tuple[tuple[str, bytes | None], ...]:
    return tuple((name, value.encode() if isinstance(value, str) else value) for name, value in headers)


def letter_of(record: Record) -> DeadLetter:
    entry = entry_of(record)
    assert isinstance(entry, DeadLetter)
    return entry


def test_the_whole_record_has_its_own_headers_and_ours_are_taken_off() -> None:
    form = next(forms(SOURCE, "undecodable", "why"))
    assert letter_of(written(form)) == DeadLetter(
        place=RecordRef("dead", 3, 7),
        written_at=1_790_000_000_500,
        form=LetterForm.WHOLE,
        reason="undecodable",
        error="why",
        source=RecordRef("offers", 3, 812),
        timestamp=SOURCE.timestamp,
        key=b"s1",
        value=b"value",
        headers=SOURCE.headers,
    )


def test_each_form_that_is_written_is_known_again() -> None:
    large = SOURCE._replace(headers=(("large", b"x" * 500),))
    found = [letter_of(written(form)) for form in forms(large, "undecodable", "why")]
    assert [letter.form for letter in found] == [LetterForm.WHOLE, LetterForm.UNTOLD, LetterForm.BARE, LetterForm.STUB]
    assert [letter.source for letter in found] == [
        RecordRef("offers", 3, 812),
        None,
        RecordRef("offers", 3, 812),
        RecordRef("offers", 3, 812),
    ]
    assert [letter.headers for letter in found] == [large.headers, large.headers, (), ()]
    assert [letter.reason for letter in found] == ["undecodable", "", "undecodable", "undecodable"]


def test_an_error_does_nothing_to_a_terminal() -> None:
    letter = letter_of(written(next(forms(SOURCE, "undecodable", "there is no '\x1b[2J'\nü"))))
    assert letter.error == r"there is no '\x1b[2J'\nü"


def test_headers_of_the_record_that_are_called_like_ours_stay_its_own() -> None:
    own = (("reason", b"mine"), ("source.topic", b"mine"))
    letter = letter_of(written(next(forms(SOURCE._replace(headers=own), "late", "why"))))
    assert (letter.reason, letter.source, letter.headers) == ("late", RecordRef("offers", 3, 812), own)


def test_a_dead_letter_of_a_dead_letter_tells_of_the_last_one() -> None:
    first = written(next(forms(SOURCE, "late", "why")))
    again = Record("offers", 3, 900, -1, first.key, first.value, first.headers)
    letter = letter_of(written(next(forms(again, "undecodable", "why"))))
    assert (letter.reason, letter.source, letter.timestamp) == ("undecodable", RecordRef("offers", 3, 900), -1)
    assert letter.headers == first.headers


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers[:-1],
        lambda headers: headers[::-1],
        lambda headers: [*headers, ("more", "")],
        lambda headers: [(name, "x" if name == "source.offset" else value) for name, value in headers],
        lambda headers: [(name, "-1" if name == "source.offset" else value) for name, value in headers],
        lambda headers: [(name, "" if name == "source.topic" else value) for name, value in headers],
        lambda headers: [(name, "9" * 30 if name == "source.timestamp" else value) for name, value in headers],
        lambda headers: [(name, "4" if name == "source.partition" else value) for name, value in headers],
    ],
)
def test_what_the_service_did_not_write_tells_nothing(change) -> None:
    form = next(forms(SOURCE, "late", "why"))
    letter = letter_of(written(form._replace(headers=change(form.headers))))
    assert (letter.form, letter.source, letter.reason) == (LetterForm.UNTOLD, None, "")


def test_a_note_is_known_again_and_is_no_dead_letter() -> None:
    source, letter, target = RecordRef("offers", 3, 812), RecordRef("dead", 3, 7), RecordRef("offers", 3, 900)
    headers = note_of(RecordIdentity(source, SOURCE.timestamp), letter, target)
    # Others pass notes over by these names. Versions before 0.8.0 take what has others beside them for a dead letter.
    assert headers == [
        ("reason", "resubmitted"),
        ("source.topic", "offers"),
        ("source.partition", "3"),
        ("source.offset", "812"),
        ("resubmitted.from", "dead[3]@7 timestamp=1790000000000"),
        ("resubmitted.to", "offers[3]@900"),
    ]
    record = Record("dead", 3, 8, 5, None, None, as_read(headers))
    assert entry_of(record) == ResubmissionNote(
        RecordRef("dead", 3, 8), 5, source, SOURCE.timestamp, "dead[3]@7", "offers[3]@900"
    )
    assert isinstance(entry_of(record._replace(value=b"")), DeadLetter)
    assert isinstance(entry_of(record._replace(key=b"k")), DeadLetter)


@pytest.mark.parametrize(
    ("told", "letter", "timestamp"),
    [
        ("dead[3]@7", "dead[3]@7", None),
        ("dead[3]@7 timestamp=-1", "dead[3]@7", -1),
        ("dead[3]@7 timestamp=soon", "dead[3]@7 timestamp=soon", None),
        ("dead[3]@7 timestamp=", "dead[3]@7 timestamp=", None),
        ("", "", None),
    ],
)
def test_a_note_of_an_older_version_tells_no_timestamp(told: str, letter: str, timestamp: int | None) -> None:
    source = RecordRef("offers", 3, 812)
    headers = dict(note_of(RecordIdentity(source, 5), RecordRef("dead", 3, 7), RecordRef("offers", 3, 900)))
    record = Record("dead", 3, 8, 9, None, None, as_read([*(headers | {"resubmitted.from": told}).items()]))
    assert entry_of(record) == ResubmissionNote(RecordRef("dead", 3, 8), 9, source, timestamp, letter, "offers[3]@900")


def test_a_place_is_named_in_one_way() -> None:
    assert named(RecordRef("opt-out.dead-letter", 3, 812)) == "opt-out.dead-letter[3]@812"
