"""Which dead letters are re-submitted, in what transactions, and how often: on a log that a test keeps in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from consumer.dead_letters import resubmission
from consumer.dead_letters.prospects import Obstacle
from consumer.dead_letters.resubmission import ALREADY, DONE, Resubmission, Selection
from consumer.dead_letters.topic import Ranges
from consumer.errors import OptOutError
from consumer.events import RecordRef
from consumer.kafka.letter import DeadLetter, Entry, LetterForm, ResubmissionNote, entry_of, named
from consumer.kafka.record import Record
from consumer.kafka.transactions import Outgoing, RecordTooLargeError
from consumer.settings import KafkaSettings

KAFKA = KafkaSettings()
OFFERS = KAFKA.offer_topic
ALL = Selection()


class MemoryTopic:
    """A dead-letter topic of one partition, in which nothing is ever hidden."""

    name = "dead"

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.low = 0

    def add(
        self, source: int, *, reason: str = "undecodable", topic: str = OFFERS, told: bool = True, stamp: int = 5
    ) -> None:
        """A dead letter of the record at this offset."""
        place = RecordRef(self.name, 0, len(self.log))
        where = RecordRef(topic, 0, source) if told else None
        key, value = f"k{source}".encode(), b"v"
        self.log.append(
            DeadLetter(place, 100 + place.offset, LetterForm.WHOLE, reason, "", where, stamp, key, value, ())
        )

    def ranges(self, partitions: Any = (), since: int | None = None) -> Ranges:
        return {0: (self.low if since is None else max(since - 100, self.low), len(self.log))}

    def entries(self, ranges: Ranges) -> Iterator[Entry]:
        begin, end = ranges[0]
        assert begin >= self.low, "it is deleted"
        yield from self.log[begin:end]

    def see_to_the_end(self, ranges: Ranges) -> None:
        pass


class MemoryTransactions:
    """Writes to that topic and to an input; `too_large` are keys, and `fails` is raised by the write of that number."""

    def __init__(self, topic: MemoryTopic) -> None:
        self.topic = topic
        self.input: list[Outgoing] = []
        self.batches: list[int] = []
        self.too_large: set[bytes] = set()
        self.fails: dict[int, Exception] = {}
        self.meanwhile = lambda: None

    def begin_session(self) -> None:
        self.meanwhile()

    def write(self, records: Sequence[Outgoing], then: Any) -> None:
        if any(record.key in self.too_large for record in records):
            raise RecordTooLargeError("too large")
        if (error := self.fails.get(len(self.batches))) is not None:
            raise error
        self.batches.append(len(records))
        offsets = [1_000 + len(self.input) + number for number in range(len(records))]
        self.input += records
        for note in then(offsets):
            assert (note.topic, note.partition) == ("dead", 0)
            headers = tuple((name, str(value).encode()) for name, value in note.headers)
            self.topic.log.append(entry_of(Record("dead", 0, len(self.topic.log), 999, None, None, headers)))


class WholeOriginals:
    """Each record is in its dead letter, if that tells where it is from."""

    def of(self, letter: DeadLetter) -> Any:
        if letter.source is None:
            return Obstacle.UNTOLD, "not told"
        return Record(*letter.source, letter.timestamp, letter.key, letter.value, letter.headers)


class GivenProspects:
    """What was dead-lettered as `late` is late, and all else is of use."""

    def of(self, record: Record, reason: str) -> Any:
        return (Obstacle.LATE, "late") if reason == "late" else None


def run(topic: MemoryTopic, selection: Selection = ALL, **more: bool) -> Resubmission:
    return Resubmission(topic, WholeOriginals(), GivenProspects(), KAFKA, selection, **more)  # type: ignore[arg-type]


def carried_out(topic: MemoryTopic, selection: Selection = ALL, **more: bool) -> tuple[list[bytes], Any]:
    """The keys of what was written, and what became of the dead letters."""
    transactions = MemoryTransactions(topic)
    command = run(topic, selection, **more)
    command.plan()
    tally = command.carry_out(transactions)  # type: ignore[arg-type]
    return [record.key or b"" for record in transactions.input], {key: n for (key, _), n in tally.counts.items()}


def test_a_plan_writes_nothing_and_says_what_would_be_written() -> None:
    topic = MemoryTopic()
    topic.add(1)
    topic.add(2, reason="late")
    tally = run(topic).plan()
    assert dict(tally.counts) == {(DONE, OFFERS): 1, ("late", OFFERS): 1}
    assert tally.examples[Obstacle.LATE] == (RecordRef("dead", 0, 1), "late")
    assert len(topic.log) == 2


def test_each_record_is_written_once_however_many_dead_letters_it_has() -> None:
    topic = MemoryTopic()
    for source in (1, 2, 1):
        topic.add(source)
    assert carried_out(topic) == ([b"k1", b"k2"], {DONE: 2, ALREADY: 1})
    topic.add(2)
    assert carried_out(topic) == ([], {ALREADY: 4})
    assert carried_out(topic, again=True) == ([b"k1", b"k2"], {DONE: 2, ALREADY: 2})


def test_what_stands_in_the_place_of_a_record_that_was_resubmitted_is_another_one() -> None:
    """The topic was made anew, or its log was cut and has grown again."""
    topic = MemoryTopic()
    topic.add(7, stamp=1_000)
    assert carried_out(topic) == ([b"k7"], {DONE: 1})
    topic.add(7, stamp=9_000)
    assert carried_out(topic) == ([b"k7"], {DONE: 1, ALREADY: 1})
    topic.add(7, stamp=500)
    assert carried_out(topic) == ([b"k7"], {DONE: 1, ALREADY: 2}), "younger than no note, and another record"
    assert carried_out(topic) == ([], {ALREADY: 3})


@pytest.mark.parametrize("again", [False, True])
def test_two_records_that_stood_in_one_place_are_both_written_in_one_run(again: bool) -> None:
    topic = MemoryTopic()
    for stamp in (1_000, 9_000, 1_000):
        topic.add(7, stamp=stamp)
    assert carried_out(topic, again=again) == ([b"k7", b"k7"], {DONE: 2, ALREADY: 1})
    assert carried_out(topic) == ([], {ALREADY: 3})


def test_a_note_of_an_older_version_is_of_each_record_in_that_place_that_is_no_younger() -> None:
    topic = MemoryTopic()
    topic.add(7, stamp=999)
    carried_out(topic)
    note = topic.log[1]
    assert isinstance(note, ResubmissionNote)
    topic.log[1] = replace(note, timestamp=None)
    assert carried_out(topic) == ([], {ALREADY: 1})
    topic.add(7, stamp=1_000)
    assert carried_out(topic) == ([b"k7"], {DONE: 1, ALREADY: 1})
    assert carried_out(topic) == ([], {ALREADY: 2})


def test_a_record_whose_note_may_be_deleted_is_not_there_twice() -> None:
    topic = MemoryTopic()
    topic.add(1)
    assert carried_out(topic) == ([b"k1"], {DONE: 1})
    topic.add(1)
    topic.low = 2
    topic.add(2, stamp=102)
    topic.add(3, stamp=103)  # younger than the oldest entry: its note would be there
    assert carried_out(topic, anyway=True) == ([b"k3"], {"perhaps_already": 2, DONE: 1})
    assert carried_out(topic) == ([], {"perhaps_already": 2, ALREADY: 1})
    assert carried_out(topic, Selection(since=103)) == ([], {"perhaps_already": 1, ALREADY: 1})
    assert carried_out(topic, again=True) == ([b"k1", b"k2", b"k3"], {DONE: 3})


def test_what_was_known_when_the_run_was_planned_is_known_though_it_is_deleted_meanwhile() -> None:
    topic = MemoryTopic()
    topic.add(1)
    carried_out(topic)
    topic.add(1)
    topic.add(2)
    command = run(topic, Selection(since=102))
    assert command.plan().of(DONE) == 1
    topic.low = 2
    transactions = MemoryTransactions(topic)
    tally = command.carry_out(transactions)  # type: ignore[arg-type]
    assert (tally.of(DONE), tally.of(ALREADY)) == (1, 1)


def test_the_note_is_of_the_record_and_names_where_it_stands_now() -> None:
    topic = MemoryTopic()
    topic.add(7, stamp=1_000)
    carried_out(topic)
    note = topic.log[1]
    assert not isinstance(note, DeadLetter)
    assert (note.source, note.timestamp, note.letter, note.target) == (
        RecordRef(OFFERS, 0, 7),
        1_000,
        "dead[0]@0",
        named(RecordRef(OFFERS, 0, 1_000)),
    )


def test_what_another_has_written_between_the_plan_and_the_start_is_left_out() -> None:
    topic = MemoryTopic()
    topic.add(1)
    topic.add(2)
    command = run(topic)
    assert command.plan().of(DONE) == 2
    transactions = MemoryTransactions(topic)
    transactions.meanwhile = lambda: carried_out(topic, Selection(places=frozenset({(0, 0)})))  # type: ignore[assignment,return-value]
    tally = command.carry_out(transactions)  # type: ignore[arg-type]
    assert (tally.of(DONE), tally.of(ALREADY)) == (1, 1)
    assert [record.key for record in transactions.input] == [b"k2"]


def test_what_is_dead_lettered_between_the_plan_and_the_start_was_not_asked_for() -> None:
    topic = MemoryTopic()
    topic.add(1)
    command = run(topic)
    command.plan()
    topic.add(2)
    transactions = MemoryTransactions(topic)
    command.carry_out(transactions)  # type: ignore[arg-type]
    assert [record.key for record in transactions.input] == [b"k1"]


@pytest.mark.parametrize(
    ("selection", "keys"),
    [
        (Selection(frozenset({"rejected"})), [b"k2"]),
        (Selection(places=frozenset({(0, 0), (0, 1)})), [b"k1", b"k2"]),
        (Selection(since=101), [b"k2", b"k3"]),
        (Selection(until=102), [b"k1", b"k2"]),
        (Selection(frozenset({"undecodable"}), since=101), [b"k3"]),
    ],
)
def test_only_what_is_meant_is_written(selection: Selection, keys: list[bytes]) -> None:
    topic = MemoryTopic()
    topic.add(1)
    topic.add(2, reason="rejected")
    topic.add(3)
    assert carried_out(topic, selection)[0] == keys


def test_a_place_without_a_dead_letter_is_an_error_before_anything_is_written() -> None:
    topic = MemoryTopic()
    topic.add(1)
    carried_out(topic)
    for place in ((0, 1), (0, 5)):  # a note, and beyond the end
        with pytest.raises(OptOutError, match=r"dead\[0\]@\d is no dead letter"):
            run(topic, Selection(places=frozenset({(0, 0), place}))).plan()


def test_what_is_possible_is_done_anyway_and_what_is_not_is_not() -> None:
    topic = MemoryTopic()
    topic.add(1, reason="late")
    topic.add(2, topic="elsewhere")
    topic.add(3, told=False)
    assert carried_out(topic) == ([], {"late": 1, "other_topic": 1, "untold": 1})
    assert carried_out(topic, anyway=True) == ([b"k1"], {DONE: 1, "other_topic": 1, "untold": 1})


def test_large_runs_are_many_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resubmission, "BATCH", 2)
    topic = MemoryTopic()
    for source in range(5):
        topic.add(source)
    transactions = MemoryTransactions(topic)
    command = run(topic)
    command.plan()
    command.carry_out(transactions)  # type: ignore[arg-type]
    assert transactions.batches == [2, 2, 1]


def test_of_a_batch_with_one_that_is_too_large_the_others_are_written() -> None:
    topic = MemoryTopic()
    for source in range(3):
        topic.add(source)
    transactions = MemoryTransactions(topic)
    transactions.too_large = {b"k1"}
    command = run(topic)
    command.plan()
    tally = command.carry_out(transactions)  # type: ignore[arg-type]
    assert (tally.of(DONE), tally.of("too_large")) == (2, 1)
    assert [record.key for record in transactions.input] == [b"k0", b"k2"]


def test_an_error_says_how_much_was_done_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resubmission, "BATCH", 2)
    topic = MemoryTopic()
    for source in range(5):
        topic.add(source)
    transactions = MemoryTransactions(topic)
    transactions.fails = {1: OptOutError("it fails.")}
    command = run(topic)
    command.plan()
    with pytest.raises(OptOutError, match=r"it fails\. Re-submitted before that: 2\."):
        command.carry_out(transactions)  # type: ignore[arg-type]
    assert carried_out(topic)[1] == {ALREADY: 2, DONE: 3}
