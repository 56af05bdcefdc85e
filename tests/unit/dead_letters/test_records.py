"""Which records dead letters and notes are of: by their places and their own timestamps."""

from __future__ import annotations

from consumer.dead_letters.records import RecordSet
from consumer.events import RecordIdentity, RecordRef
from consumer.kafka.letter import DeadLetter, LetterForm, ResubmissionNote

SOURCE = RecordRef("offers", 3, 812)
T = 1_790_000_000_000
LETTER = DeadLetter(RecordRef("dead", 3, 7), T + 500, LetterForm.WHOLE, "undecodable", "", SOURCE, T, b"k", b"v", ())


def note(timestamp: int | None, written_at: int = T + 900) -> ResubmissionNote:
    return ResubmissionNote(RecordRef("dead", 3, 8), written_at, SOURCE, timestamp, "dead[3]@7", "offers[3]@900")


def stamped(found: RecordSet, *timestamps: int) -> list[bool]:
    """Whether the record in that place with these timestamps is there."""
    return [RecordIdentity(SOURCE, timestamp) in found for timestamp in timestamps]


def test_another_record_in_the_same_place_is_another_record() -> None:
    found = RecordSet()
    found.add(LETTER)
    assert stamped(found, T, T + 1, T - 1, -1, 0) == [True, False, False, False, False]
    for other in (("checkouts", 3, 812), ("offers", 4, 812), ("offers", 3, 811), ("offers", 3, 813)):
        assert RecordIdentity(RecordRef(*other), T) not in found
    assert LETTER.identity in found
    assert None not in found, "of what does not say where it is from nothing is known"


def test_all_that_stood_in_a_place_one_after_the_other_is_there() -> None:
    found = RecordSet()
    for timestamp in (T, -1, 0, -(10**18), 10**19 - 1):
        found.add(note(timestamp))
    assert stamped(found, T, -1, 0, -(10**18), 10**19 - 1) == [True] * 5
    assert stamped(found, 1, -2, T + 1) == [False] * 3
    assert all(RecordIdentity(RecordRef("offers", 3, n), t) not in found for n in (811, 813) for t in (T, -1, 0))


def test_a_note_that_does_not_tell_the_timestamp_is_of_what_is_no_younger_than_itself() -> None:
    found = RecordSet()
    found.add(note(None))
    assert stamped(found, -1, T, T + 900, T + 901) == [True, True, True, False]
    found.add(note(None, T + 100))
    assert stamped(found, T + 900), "of several the youngest counts"
    assert RecordIdentity(SOURCE._replace(offset=811), T) not in found
    found.add(note(T + 5_000))
    assert stamped(found, T + 4_999, T + 5_000) == [False, True]


def test_what_does_not_say_where_it_is_from_adds_nothing() -> None:
    found = RecordSet()
    found.add(DeadLetter(LETTER.place, T, LetterForm.UNTOLD, "", "", None, -1, b"k", b"v", ()))
    assert stamped(found, -1) == [False]
