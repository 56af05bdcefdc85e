"""Ranges of offsets are read as far as they are there, and each question for a record gets its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import confluent_kafka
import pytest
from brokers.producers import ordered_producer
from confluent_kafka import KafkaError, TopicPartition
from structlog.testing import capture_logs
from support.kafka import Message

from consumer.demo.broker import embedded_broker, make_topics
from consumer.errors import StopError
from consumer.events import RecordRef
from consumer.kafka import reader as reader_module
from consumer.kafka.config import record_reader_config
from consumer.kafka.reader import LogReader, NotAllReadError, RecordReader, Span, place_of, read_all, spans
from consumer.settings import KafkaSettings

A, B = ("t", 0), ("t", 1)
EOF = KafkaError._PARTITION_EOF


def message(place: tuple[str, int], offset: int, code: int | None = None) -> Message:
    """A record, or with `code` an event."""
    if code is not None:
        return Message(*place, offset, error=KafkaError(code))
    return Message(*place, offset, b"k", b"%d" % offset, timestamp=5)


class ReadingConsumer:
    """Gives what each round is to give, then nothing."""

    def __init__(self, *rounds: list[Message]) -> None:
        self.rounds = list(rounds)
        self.assigned: list[list[tuple[str, int, int]]] = []
        self.paused: list[tuple[str, int]] = []
        self.unassigned = self.closed = 0
        self.most: list[int] = []

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned.append([(place.topic, place.partition, place.offset) for place in places])

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused += [(place.topic, place.partition) for place in places]

    def resume(self, places: list[TopicPartition]) -> None:
        resumed = {(place.topic, place.partition) for place in places}
        assert resumed <= set(self.paused)
        self.still_paused = set(self.paused) - resumed

    def unassign(self) -> None:
        self.unassigned += 1

    def consume(self, most: int, timeout: float) -> list[Message]:
        self.most.append(most)
        return self.rounds.pop(0) if self.rounds else []

    def close(self) -> None:
        self.closed += 1


def records(place: tuple[str, int], *offsets: int) -> list[Message]:
    return [message(place, offset) for offset in offsets]


class Reading:
    def __init__(self, *rounds: list[Message]) -> None:
        self.consumer = ReadingConsumer(*rounds)
        self.errors: list[int] = []
        self.reader = LogReader(self.consumer, lambda message: self.errors.append(message.error().code()))  # type: ignore[arg-type, union-attr] # the part of it that is used

    def __call__(self, ranges: dict[tuple[str, int], tuple[int, int]], most_rounds: int = 10) -> list[Any]:
        left = iter(range(most_rounds))
        found = self.reader.read(ranges, lambda: next(left, None) is not None)
        return [(message.partition(), message.offset()) for message in found]


def test_ranges_are_read_to_their_ends_and_no_further() -> None:
    reading = Reading(records(A, 3, 4) + records(B, 7, 8, 9), records(A, 5, 6))
    assert reading({A: (3, 6), B: (7, 9)}) == [(0, 3), (0, 4), (1, 7), (1, 8), (0, 5)]
    assert reading.reader.unread == set()
    assert reading.consumer.assigned == [[("t", 0, 3), ("t", 1, 7)]]
    assert reading.consumer.paused == [B, A]
    assert reading.consumer.unassigned == 1
    assert len(reading.consumer.most) == 2, "it asks on although all was read"


def test_a_range_of_which_the_end_is_a_gap_ends_with_the_partition_or_the_first_record_behind_it() -> None:
    reading = Reading([*records(A, 3), message(A, 5, EOF), *records(B, 7, 12)])
    assert reading({A: (3, 5), B: (7, 9)}) == [(0, 3), (1, 7)]
    assert reading.reader.unread == set()


def test_what_was_not_asked_for_is_left_out() -> None:
    reading = Reading([*records(("other", 0), 3), message(("other", 0), 4, EOF), *records(A, 3)])
    assert reading({A: (3, 4)}) == [(0, 3)]


def test_when_the_time_is_over_the_rest_is_named() -> None:
    reading = Reading(records(A, 3) + records(B, 7))
    assert reading({A: (3, 4), B: (7, 9)}, most_rounds=2) == [(0, 3), (1, 7)]
    assert reading.reader.unread == {B}
    assert reading.consumer.unassigned == 1


@pytest.mark.parametrize("code", [KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE])
def test_what_the_broker_no_longer_has_is_named_and_not_waited_for(code: int) -> None:
    reading = Reading([message(A, 3, code), *records(B, 7, 8)])
    assert reading({A: (3, 5), B: (7, 9)}) == [(1, 7), (1, 8)]
    assert reading.reader.unread == {A}
    assert reading.errors == []


def test_other_errors_are_told_and_reading_goes_on() -> None:
    reading = Reading([message(A, -1001, KafkaError._TRANSPORT)], records(A, 3))
    assert reading({A: (3, 4)}) == [(0, 3)]
    assert reading.errors == [KafkaError._TRANSPORT]


def test_a_reader_is_used_again() -> None:
    reading = Reading(records(A, 3), [], records(A, 9))
    assert reading({A: (3, 5)}, most_rounds=1) == [(0, 3)]
    assert reading.reader.unread == {A}
    assert reading({A: (9, 10)}) == [(0, 9)]
    assert reading.reader.unread == set()


def test_a_reading_that_is_given_up_leaves_no_partition_paused() -> None:
    reading = Reading(records(A, 3) + records(B, 1, 2))
    found = reading.reader.read({A: (3, 4), B: (1, 9)}, lambda: True)
    assert [next(found).offset(), next(found).offset()] == [3, 1]
    assert reading.consumer.paused == [A]
    found.close()
    assert reading.consumer.still_paused == set()
    assert reading.consumer.unassigned == 1


def test_no_more_is_waited_for_than_is_wanted() -> None:
    """A round lasts until it has so many records: for one record it must not wait for the next."""
    reading = Reading(records(A, 3))
    reading({A: (3, 4)})
    assert reading.consumer.most == [1]
    reading({A: (0, 50_000)}, most_rounds=1)
    assert reading.consumer.most[-1] == 1_000


def whole(*rounds: list[Message], ranges: Any = None) -> list[int]:
    consumer: Any = ReadingConsumer(*rounds)
    return [message.offset() or 0 for message in read_all(consumer, ranges or {A: (3, 5)})]


def test_what_is_to_be_read_whole_is_and_empty_ranges_are_left_out() -> None:
    assert whole(records(A, 3), [], records(A, 4), ranges={A: (3, 5), B: (7, 7)}) == [3, 4]
    consumer: Any = ReadingConsumer()
    assert list(read_all(consumer, {B: (7, 7)})) == []
    assert consumer.assigned == []


def test_it_is_read_for_as_long_as_records_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "PATIENCE", 3.5 * reader_module._SHORT_ROUND)
    silence: list[Message] = []
    assert whole(silence, silence, records(A, 3), silence, silence, records(A, 4)) == [3, 4]
    with pytest.raises(NotAllReadError, match="does not answer") as caught:
        whole(silence, silence, silence, records(A, 3, 4))
    assert not caught.value.is_gone


def test_what_is_gone_is_told_apart_from_what_may_not_be_read_and_neither_is_waited_for() -> None:
    with pytest.raises(NotAllReadError, match="no longer there") as caught:
        whole([message(A, 3, KafkaError._AUTO_OFFSET_RESET)])
    assert caught.value.is_gone
    with pytest.raises(NotAllReadError, match=r"(?i)authorization") as caught:
        whole([message(A, 3, KafkaError.TOPIC_AUTHORIZATION_FAILED)], records(A, 3, 4))
    assert not caught.value.is_gone


def test_the_spans_since_a_time_begin_with_the_first_record_that_is_stamped_then() -> None:
    class Told(ReadingConsumer):
        def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
            assert {place.offset for place in places} == {0}, "no time before 1970 is asked for"
            return [TopicPartition("t", place.partition, [4, -1, 12][place.partition]) for place in places]

        def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
            return 6, 10

    consumer: Any = Told()
    assert spans(consumer, "t", (2, 0, 1), -5) == [
        Span("t", 0, 6, 10, 6, is_cut=True),
        Span("t", 1, 10, 10, 6, is_cut=False),
        Span("t", 2, 10, 10, 6, is_cut=False),
    ]


def test_the_real_client_reads_the_same_partitions_again() -> None:
    """To the client a pause outlives the assignment in which it was made."""
    with embedded_broker() as bootstrap:
        make_topics(bootstrap, ["t"])
        producer = ordered_producer(bootstrap)
        for n in range(200):
            producer.produce("t", b"%d" % n, b"k", n % 2)
        assert producer.flush(10) == 0
        consumer = confluent_kafka.Consumer(record_reader_config(KafkaSettings(bootstrap_servers=bootstrap)))
        reader = LogReader(consumer, lambda message: None)
        for ranges in ({A: (0, 5), B: (0, 50)}, {A: (90, 100), B: (60, 70)}, {A: (3, 4)}, {A: (3, 4)}):
            deadline = time.monotonic() + 10
            found = [
                (place_of(message), message.offset())
                for message in reader.read(ranges, lambda: time.monotonic() < deadline)  # noqa: B023 - read at once
            ]
            assert sorted(found) == [(place, n) for place, span in sorted(ranges.items()) for n in range(*span)]
            assert reader.unread == set()
        consumer.close()


# --- single records, by a thread of its own


def answers(make: Callable[[], Any], *offsets: int) -> list[tuple[int, bytes | None]]:
    found: RecordReader[int] = RecordReader(make)
    for offset in offsets:
        found.ask(RecordRef("t", 0, offset), offset)
    told = [found.results.get(timeout=10) for _ in offsets]
    found.check()
    found.stop()
    return [(token, record and record.value) for token, record in told]


def test_each_question_is_answered_in_order_and_what_is_gone_is_told() -> None:
    consumer = ReadingConsumer(
        records(A, 9),
        [message(A, 2, KafkaError._AUTO_OFFSET_RESET)],
        [message(A, 10, EOF)],
        records(A, 6),  # the first behind a gap
        records(A, 7),
    )
    assert answers(lambda: consumer, 9, 2, 10, 5, 7) == [(9, b"9"), (2, None), (10, None), (5, None), (7, b"7")]
    assert consumer.closed == 1


def test_a_broker_that_does_not_answer_is_waited_for_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "COMPLAIN", 3)
    consumer = ReadingConsumer([], [], [], [message(A, -1001, KafkaError._TRANSPORT)], records(A, 9))
    with capture_logs() as lines:
        assert answers(lambda: consumer, 9) == [(9, b"9")]
    assert [(line["event"], line["offset"]) for line in lines] == [
        ("the record of a rejected offer cannot be read: its broker does not answer", 9),
        ("kafka", 9),
    ]


def test_a_thread_that_failed_is_told() -> None:
    def broken() -> Any:
        raise KeyError("no such client")

    found: RecordReader[int] = RecordReader(broken)
    found.ask(RecordRef("t", 0, 0), 1)
    assert found._thread is not None
    found._thread.join(10)
    with pytest.raises(StopError, match="no such client"):
        found.check()
