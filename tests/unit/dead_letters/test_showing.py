"""What is shown of a dead letter, to people and to programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from consumer.codecs.plain import PlainCodec
from consumer.core.rules import DecisionRules
from consumer.dead_letters.prospects import Obstacle, Prospects
from consumer.dead_letters.showing import MOST_SHOWN, ShownLetter, find_letter
from consumer.dead_letters.topic import Ranges
from consumer.errors import OptOutError
from consumer.events import RecordRef
from consumer.kafka.letter import DeadLetter, Entry, LetterForm, ResubmissionNote
from consumer.kafka.record import Record
from consumer.output import as_json, plain_lines
from consumer.settings import KafkaSettings

NOW = 1_790_000_000_000
KAFKA = KafkaSettings()
RULES = DecisionRules(window=60_000, checkout_grace=5_000, lookback=120_000, lateness=10_000, max_skew=20_000)
SOURCE = RecordRef(KAFKA.offer_topic, 3, 812)
CODEC = PlainCodec()
OFFER = CODEC.encode_offer(
    {"event_id": "e", "session_id": "s1", "partner_code": "P", "offer_id": "o1", "presented_at": NOW}
)


class GivenOriginals:
    """Gives this record, or says that it is gone."""

    def __init__(self, record: Record | None) -> None:
        self.record = record

    def of(self, letter: DeadLetter) -> Any:
        return (Obstacle.GONE, "it is no longer there") if self.record is None else self.record


def shown(
    value: bytes | None,
    *,
    form: LetterForm = LetterForm.WHOLE,
    is_there: bool = True,
    headers: tuple[tuple[str, bytes | None], ...] = (),
    notes: list[ResubmissionNote] | None = None,
    partitions: Callable[[str], int] = lambda _: 6,
) -> tuple[str, dict[str, Any]]:
    """As plain text, and as JSON."""
    letter = DeadLetter(
        RecordRef("dead", 3, 7), NOW + 5, form, "undecodable", "why", SOURCE, NOW, b"s1", value, headers
    )
    record = Record(*SOURCE, NOW, b"s1", value, headers) if is_there else None
    prospects = Prospects(CODEC, RULES, KAFKA, lambda: NOW / 1000, partitions)
    found = ShownLetter(letter, notes or [], GivenOriginals(record), CODEC, prospects, KAFKA)  # type: ignore[arg-type]
    document = found.for_people()
    text = "\n".join([*plain_lines(document.tables["dead_letter"]), *document.notes])
    return text, json.loads(as_json(found.for_programs()))


def test_what_it_holds_is_shown_though_what_would_become_of_it_cannot_be_told() -> None:
    def refused(topic: str) -> int:
        raise OptOutError(f"how many partitions {topic} has could not be asked.")

    text, told = shown(OFFER, partitions=refused)
    assert "decoded offer_id      o1" in text
    assert told["prospect"].startswith("cannot be told: how many partitions offer.presented has")


def test_what_can_be_decoded_is_shown_field_by_field() -> None:
    text, told = shown(OFFER)
    assert "decoded offer_id      o1" in text
    assert "it would be read" in text
    assert told["decoded"]["offer_id"] == "o1"
    assert (told["prospect"], told["not_decoded"], told["is_whole"]) == ("it would be read", None, True)


def test_what_cannot_be_decoded_is_text_or_a_hex_dump() -> None:
    text, told = shown(b'{"a": "\xc3\xbc"}')
    assert '{"a": "ü"}' in text
    assert told["value"] == {"text": '{"a": "ü"}', "base64": "eyJhIjogIsO8In0="}
    text, told = shown(bytes(range(20)))
    assert "00000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f  |................|" in text
    assert "00000010  10 11 12 13                                      |....|" in text
    assert told["value"]["text"] is None
    assert told["decoded"] is None
    assert told["not_decoded"].startswith("not read by these settings: ")


def test_nothing_that_would_do_something_to_a_terminal_is_printed() -> None:
    text, _ = shown(b"\x1b[2Jgone", headers=(("trace", b"\x1b[31m"), ("none", None)))
    assert "\x1b" not in text
    assert r"b'\x1b[31m'" in text


def test_a_long_value_is_cut_for_people_and_whole_for_programs() -> None:
    text, told = shown(b"x" * (MOST_SHOWN + 3))
    assert "... and 3 bytes more" in text
    assert len(told["value"]["text"]) == MOST_SHOWN + 3


def test_a_stub_of_which_the_record_is_gone_shows_what_is_known() -> None:
    text, told = shown(b'{"value_sha256": "abc"}', form=LetterForm.STUB, is_there=False)
    assert "The record is not here: cannot be: it is no longer there. What is known of it:" in text
    assert '{"value_sha256": "abc"}' in text
    assert (told["form"], told["is_whole"]) == ("stub", False)


def test_a_record_without_a_value_has_none() -> None:
    text, told = shown(None)
    assert "It has no value." in text
    assert told["value"] is None


def test_it_tells_when_it_was_resubmitted_and_as_what() -> None:
    note = ResubmissionNote(RecordRef("dead", 3, 9), NOW, SOURCE, NOW, "dead[3]@7", "offers[3]@900")
    text, told = shown(OFFER, notes=[note])
    assert "as offers[3]@900" in text
    assert "left out without --again, since it was re-submitted; it would be read" in text
    assert told["resubmitted"] == [{"at": NOW, "as": "offers[3]@900", "from": "dead[3]@7"}]


class TopicOfEntries:
    """A dead-letter topic that has these in its partition 3, from the offset 7 on."""

    name = "dead"

    def __init__(self, *entries: Entry) -> None:
        self._entries = entries

    def ranges(self, partitions: Any) -> Ranges:
        return {3: (7, 7 + len(self._entries))}

    def entries(self, ranges: Ranges) -> list[Entry]:
        begin, end = ranges[3]
        return [*self._entries[begin - 7 : end - 7]]


def test_notes_of_another_record_that_stood_in_the_same_place_are_not_its_own() -> None:
    letter = DeadLetter(
        RecordRef("dead", 3, 7), NOW + 5, LetterForm.WHOLE, "undecodable", "why", SOURCE, NOW, b"s1", OFFER, ()
    )
    notes = [
        ResubmissionNote(RecordRef("dead", 3, 8 + n), written_at, SOURCE, timestamp, "dead[3]@7", "offers[3]@900")
        for n, (written_at, timestamp) in enumerate(((NOW - 9, None), (NOW - 8, NOW - 10), (NOW + 6, NOW), (NOW, None)))
    ]
    topic = TopicOfEntries(letter, *notes)
    assert find_letter(topic, 3, 7) == (letter, notes[2:])  # type: ignore[arg-type]
