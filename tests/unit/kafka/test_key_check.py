"""Which records' keys are looked at, and what becomes of a disagreement."""

from __future__ import annotations

from typing import Any

import pytest
from brokers.producers import ordered_producer
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from structlog.testing import capture_logs
from support.builders import offer
from support.kafka import Message, partition_end
from support.loop_world import LoopWorld

from consumer.demo.broker import embedded_broker, make_topics
from consumer.errors import StartError, StopError
from consumer.kafka.config import consumer_config
from consumer.kafka.key_check import EACH_SECOND, REMINDER, KeyCheck
from consumer.kafka.partitioners import by_crc32, by_murmur2
from consumer.settings import KafkaSettings

PARTITIONS = 4
SETTINGS = KafkaSettings(group_id="g", offer_topic="offers", checkout_topic="checkouts")
Log = list[tuple[int, bytes | None]]


class Reader:
    """A broker's logs, and a consumer of them that may only look."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, int], Log] = {
            (topic, p): [] for topic in ("offers", "checkouts") for p in range(PARTITIONS)
        }
        self.committed_at: dict[tuple[str, int], int] = {}
        self.low: dict[tuple[str, int], int] = {}
        self.marker_at_the_end = False
        self.stuck: set[tuple[str, int]] = set()
        self.given: list[tuple[str, int, int]] = []
        self.closed = False
        self.made_with: dict[str, Any] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._paused: set[tuple[str, int]] = set()

    def write(self, put: Any, topic: str, count: int, name: str) -> None:
        for n in range(count):
            key = f"{name}-{n}".encode()
            log = self.logs[topic, put(key, PARTITIONS)]
            log.append((len(log), key))

    def make(self, on_error: Any, **settings: Any) -> Any:
        self.made_with = settings
        return self

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [
            TopicPartition(p.topic, p.partition, self.committed_at.get((p.topic, p.partition), -1001)) for p in places
        ]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        where = place.topic, place.partition
        return self.low.get(where, 0), len(self.logs[where]) + self.marker_at_the_end

    def assign(self, places: list[TopicPartition]) -> None:
        self._next = {(place.topic, place.partition): place.offset for place in places}

    def unassign(self) -> None:
        self._next = {}

    def pause(self, places: list[TopicPartition]) -> None:
        self._paused |= {(place.topic, place.partition) for place in places}

    def resume(self, places: list[TopicPartition]) -> None:
        # Nothing else ends a pause, as with the real client: not even a new assignment.
        self._paused -= {(place.topic, place.partition) for place in places}

    def consume(self, most: int, timeout: float) -> list[Message]:
        messages = []
        for (topic, partition), begin in list(self._next.items()):
            if (topic, partition) in self.stuck | self._paused:
                continue
            log = self.logs[topic, partition]
            # As a fetch does, a little more than was wanted.
            for offset, key in log[begin : begin + 300]:
                messages.append(Message(topic, partition, offset, key))
                self.given.append((topic, partition, offset))
            self._next[topic, partition] = begin + 300
            if begin + 300 >= len(log):
                messages.append(partition_end(topic, partition, len(log)))
        return messages

    def close(self) -> None:
        self.closed = True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def reader() -> Reader:
    return Reader()


def check(clock: Clock | None = None) -> KeyCheck:
    return KeyCheck(SETTINGS, PARTITIONS, clock or Clock())


def keys_of(found: KeyCheck, topic: int) -> set[bytes]:
    return set(found._keys._topics[topic].seen)


def message(topic: str, key: bytes | None, put: Any = by_murmur2, *, offset: int = 0) -> Any:
    return Message(topic, put(key or b"", PARTITIONS), offset, key)


# --- at the start


def test_a_disagreement_at_the_start_is_a_start_error_and_says_what_to_do(reader: Reader) -> None:
    reader.write(by_murmur2, "offers", 100, "o")
    reader.write(by_crc32, "checkouts", 100, "c")
    with pytest.raises(StartError) as caught:
        check().at_start(reader.make)
    told = str(caught.value)
    assert "offers is partitioned by murmur2" in told
    assert "checkouts is partitioned by crc32" in told
    for to_do in ("partitioner = murmur2_random", "kafka.start_from", "kafka.group_id"):
        assert to_do in told
    assert reader.closed


def test_agreement_at_the_start_is_told(reader: Reader) -> None:
    reader.write(by_crc32, "offers", 100, "o")
    reader.write(by_crc32, "checkouts", 100, "c")
    with capture_logs() as lines:
        check().at_start(reader.make)
    assert lines[0] == {
        "event": "keys were sampled",
        "part": "first",
        "keys": 200,
        "partitions": 8,
        "log_level": "info",
    }
    assert [line.get("partitioner") for line in lines[1:]] == ["crc32"]
    assert lines[1]["event"] == "the producers' partitioners agree"
    assert reader.closed


def test_the_first_and_the_last_records_to_be_read_are_looked_at(reader: Reader) -> None:
    log = [(n, b"%d" % n) for n in range(5_000)]
    reader.logs["offers", 2] = log
    reader.committed_at["offers", 2] = 1_000
    found = check()
    found.at_start(reader.make)
    each = 1_000 // (2 * PARTITIONS)
    wanted = [*range(1_000, 1_000 + each), *range(5_000 - each, 5_000)]
    assert keys_of(found, 0) == {b"%d" % n for n in wanted}


def test_what_the_group_has_put_behind_it_does_not_matter(reader: Reader) -> None:
    reader.write(by_crc32, "checkouts", 200, "old")
    for place, log in reader.logs.items():
        reader.committed_at[place] = len(log)
    reader.write(by_murmur2, "offers", 100, "o")
    reader.write(by_murmur2, "checkouts", 100, "c")
    check().at_start(reader.make)
    assert min(offset for topic, partition, offset in reader.given if (topic, partition) == ("checkouts", 0)) > 0


def test_what_retention_has_deleted_is_not_asked_for(reader: Reader) -> None:
    reader.write(by_murmur2, "offers", 400, "o")
    reader.low["offers", 1] = 50
    reader.committed_at["offers", 1] = 10
    check().at_start(reader.make)
    assert min(offset for topic, partition, offset in reader.given if (topic, partition) == ("offers", 1)) == 50


def test_both_ends_of_a_partition_are_read_at_once_where_an_answer_carries_one_record() -> None:
    with embedded_broker() as bootstrap:
        make_topics(bootstrap, ("offers", "checkouts"))
        producer = ordered_producer(bootstrap, linger_ms=0, batch_num_messages=1)
        for n in range(200):
            for partition in range(PARTITIONS):
                producer.produce("offers", b"", key=f"{partition}-{n}", partition=partition)
        assert producer.flush(20) == 0
        settings = SETTINGS.model_copy(update={"bootstrap_servers": bootstrap})
        found = KeyCheck(settings, PARTITIONS)
        with capture_logs() as lines:
            found.at_start(lambda on_error, **more: Consumer({**consumer_config(settings, on_error=on_error), **more}))
    assert "not all keys were sampled in time" not in str(lines)
    assert {f"{p}-{n}".encode() for p in range(PARTITIONS) for n in (0, 124, 125, 199)} <= keys_of(found, 0)


def test_a_transaction_marker_at_the_end_is_not_waited_for(reader: Reader) -> None:
    reader.write(by_murmur2, "offers", 40, "o")
    reader.marker_at_the_end = True
    with capture_logs() as lines:
        check().at_start(reader.make)
    assert "not all keys were sampled in time" not in str(lines)
    assert lines[-1]["event"] == "too few keys yet to tell the producers' partitioners"


@pytest.mark.parametrize(("begin", "part"), [(0, "first"), (1_000, "last")])
def test_a_part_in_which_there_is_nothing_to_look_at_is_told(reader: Reader, begin: int, part: str) -> None:
    """What was found elsewhere is no word on the producers of that time."""
    for topic in ("offers", "checkouts"):
        for partition in range(PARTITIONS):
            keys = [f"{topic}-{n}".encode() for n in range(9_000)]
            ours = [key for key in keys if by_murmur2(key, PARTITIONS) == partition]
            # The keyless ones stand for markers of transactions, compacted and aborted records.
            reader.logs[topic, partition] = [(n, None if begin <= n < begin + 500 else ours[n]) for n in range(1_500)]
    with capture_logs() as lines:
        check().at_start(reader.make)
    told = [line for line in lines if line["event"].startswith("no keys were sampled")]
    assert [(line["part"], line["log_level"]) for line in told] == [(part, "warning")]
    assert told[0]["topics"] == ["checkouts", "offers"]
    assert lines[-1]["event"] == "the producers' partitioners agree"


def test_one_topic_in_which_there_is_nothing_to_look_at_is_told(reader: Reader) -> None:
    """The newest checkouts were aborted; the offers say nothing of those who write checkouts."""
    for topic in ("offers", "checkouts"):
        for partition in range(PARTITIONS):
            keys = [f"{topic}-{n}".encode() for n in range(9_000)]
            ours = [key for key in keys if by_murmur2(key, PARTITIONS) == partition]
            aborted = 1_000 if topic == "checkouts" else 1_500
            reader.logs[topic, partition] = [(n, ours[n] if n < aborted else None) for n in range(1_500)]
    with capture_logs() as lines:
        check().at_start(reader.make)
    told = [line for line in lines if line["event"].startswith("no keys were sampled")]
    assert [(line["part"], line["topics"]) for line in told] == [("last", ["checkouts"])]


def test_a_partition_that_gives_nothing_is_named_and_does_not_hold_the_start(reader: Reader) -> None:
    reader.write(by_murmur2, "offers", 100, "o")
    reader.write(by_murmur2, "checkouts", 100, "c")
    reader.stuck = {("checkouts", 3)}
    with capture_logs() as lines:
        check().at_start(reader.make)
    assert lines[1]["event"] == "not all keys were sampled in time: the rest is seen while running"
    assert lines[1]["partitions"] == ["checkouts[3]"]
    assert lines[-1]["event"] == "the producers' partitioners agree"


def test_a_broker_that_does_not_answer_stops_the_start(reader: Reader) -> None:
    def silent(*_: Any, **__: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    reader.get_watermark_offsets = silent  # type: ignore[assignment]
    with pytest.raises(StartError, match="does not give the keys to be sampled"):
        check().at_start(reader.make)
    assert reader.closed


def test_with_one_partition_nothing_is_read() -> None:
    KeyCheck(SETTINGS, 1).at_start(pytest.fail)


# --- while running


def test_a_disagreement_while_running_stops_the_service() -> None:
    found = check()
    found.look([message("offers", b"o-%d" % n) for n in range(100)])
    found.look([message("checkouts", b"c-%d" % n, by_crc32) for n in range(3)])
    with pytest.raises(StopError, match="do not put a session in the same partition"):
        found.look([message("checkouts", b"d-%d" % n, by_crc32) for n in range(10)])


def test_records_without_a_key_and_partition_ends_are_no_evidence() -> None:
    found = check()
    found.look(
        [
            message("offers", None),
            message("offers", b""),
            Message("offers", 0, 7, b"x", error=partition_end("offers", 0, 7).error()),
        ]
    )  # type: ignore[list-item]
    assert keys_of(found, 0) == set()


def test_all_records_are_looked_at_while_there_are_few() -> None:
    clock = Clock()
    found = check(clock)
    for second in range(20):
        clock.now = float(second)
        found.look([message("offers", b"%d-%d" % (second, n)) for n in range(40)])
    assert len(keys_of(found, 0)) == 800


def test_of_a_flood_no_more_is_looked_at_than_a_hundredth_of_the_time_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    found = check(clock)
    counted = [0]

    def count(_: Any) -> bool:
        counted[0] += 1
        return False

    monkeypatch.setattr(found, "_add", count)
    batch = [message("offers", b"k")] * 5_000
    for turn in range(20 * 60):
        clock.now = turn / 20
        found.look(batch)
    assert EACH_SECOND * 55 <= counted[0] <= EACH_SECOND * 65


def test_a_batch_after_a_start_is_looked_at_in_large_part() -> None:
    found = check()
    found.look([message("checkouts", b"%d" % n) for n in range(3_000)])
    assert len(keys_of(found, 1)) > 500


def test_strays_are_told_once_a_minute() -> None:
    clock = Clock()
    found = check(clock)
    for topic in ("offers", "checkouts"):
        found.look([message(topic, b"%d" % n) for n in range(400)])
    with capture_logs() as lines:
        for n in range(3):
            key = b"by hand %d" % n
            found.look([Message("offers", (by_murmur2(key, PARTITIONS) + 1) % PARTITIONS, 900 + n, key)])  # type: ignore[list-item]
            clock.now += REMINDER / 2
    assert [(line["event"], line["keys"]) for line in lines] == [
        ("some keys are in a wrong partition", 1),
        ("some keys are in a wrong partition", 3),
    ]
    assert "offset 902" in lines[-1]["such_as"]


# --- in the service


def test_records_are_looked_at_before_they_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoopWorld()
    world.begin()

    def refuse(messages: Any) -> None:
        if messages:
            raise StopError("they disagree")

    monkeypatch.setattr(world.loop._keys, "look", refuse)
    with pytest.raises(StopError):
        world.turn([offer(0, 10_000)])
    assert world.loop.sessions == 0


def test_a_refused_start_joins_no_group_and_calls_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = LoopWorld()
    world.consumer.polls = []

    def refuse(_: Any) -> None:
        raise StartError("they disagree")

    monkeypatch.setattr(world.loop._keys, "at_start", refuse)
    monkeypatch.setattr(world.consumer, "subscribe", pytest.fail)
    with pytest.raises(StartError, match="they disagree"):
        world.loop.run()
