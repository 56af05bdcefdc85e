"""What the service takes for librdkafka: a consumer, a producer and an admin client on the simulated broker.

Each call first asks the process whether it still lives: that is where crashes happen.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, Protocol

from broker import Broker, CommitFault, Partition, Place, Record
from confluent_kafka import KafkaError, KafkaException, TopicPartition

_Written = tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]
OUTAGE = KafkaError._ALL_BROKERS_DOWN


class Process(Protocol):
    """What the clients need of the process that they live in."""

    name: str

    def touch(self, what: str) -> None:
        """A call goes out. Raises `Crash` if the process dies here, or is dead."""

    def wait(self, until: Callable[[], bool], timeout: float) -> bool:
        """Let time pass until something is so; False if it was not within `timeout` seconds."""

    def begins(self, partition: int) -> None:
        """It was given a task."""

    def tell(self, what: str) -> None:
        """A line for the trace."""


class Message:
    """A record or a partition's end, as the client gives it."""

    __slots__ = ("_error", "_place", "_record")

    def __init__(self, place: Place, record: Record, error: KafkaError | None = None) -> None:
        self._place, self._record, self._error = place, record, error

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._record.offset

    def key(self) -> bytes | None:
        return self._record.key

    def value(self) -> bytes | None:
        return self._record.value

    def timestamp(self) -> tuple[int, int]:
        return 1, self._record.timestamp

    def headers(self) -> list[tuple[str, bytes | None]]:
        return list(self._record.headers)

    def error(self) -> KafkaError | None:
        return self._error


class Consumer:
    """The consumer of one process, with the classic protocol's eager rebalances."""

    def __init__(self, broker: Broker, process: Process, on_error: Callable[[KafkaError], None]) -> None:
        self._broker = broker
        self._process = process
        self._on_error = on_error
        self._generation = -1
        self._positions: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._ended: dict[Place, int] = {}
        self._owned: tuple[int, ...] | None = None
        self._subscribed = False
        self._told_down = False

    # --- the group

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self._process.touch("subscribe")
        self._on_assign, self._on_revoke, self._on_lost = on_assign, on_revoke, on_lost
        self._subscribed = True

    def consume(self, most: int, timeout: float) -> list[Message]:
        self._process.touch("consume")
        broker = self._broker
        if broker.down:
            if not self._told_down:
                self._told_down = True
                self._on_error(KafkaError(OUTAGE, "all brokers are down"))
            return []
        self._told_down = False
        if not self._subscribed:
            return self._fetch(most)
        # What is fetched before the rebalance is handed over with it, as the real client does.
        messages = self._fetch(most) if broker.random.random() < 0.5 else []
        self._rebalance()
        return messages or self._fetch(most)

    def _rebalance(self) -> None:
        broker, name = self._broker, self._process.name
        member = broker.group.members.get(name)
        if member is None and self._owned is not None and self._generation >= 0:
            self._process.tell("lost its partitions")
            self._let_go(self._on_lost)
            self._generation = -1
        if member is None or (broker.group.rebalancing and not member.joined):
            if self._owned is not None:
                self._process.tell("is to give its partitions back")
                self._let_go(self._on_revoke)
            broker.join(name)
            member = broker.group.members[name]
        if not broker.group.rebalancing and member.generation != self._generation:
            self._generation = member.generation
            self._owned = member.partitions
            self._process.tell(f"is assigned {list(self._owned)} in generation {self._generation}")
            for partition in self._owned:
                self._process.begins(partition)
            self._on_assign(self, [TopicPartition(t, p) for t in broker.topics for p in self._owned])

    def _let_go(self, callback: Any) -> None:
        places = [TopicPartition(t, p) for t in self._broker.topics for p in self._owned or ()]
        try:
            callback(self, places)
        finally:
            self._owned = None
            self.assign([])

    def close(self) -> None:
        self._process.touch("close")
        if not self._subscribed:
            return
        if self._owned is not None:
            self._let_go(self._on_revoke if self._process.name in self._broker.group.members else self._on_lost)
        self._broker.leave(self._process.name)

    # --- reading

    def assign(self, places: list[TopicPartition]) -> None:
        self._positions = {(place.topic, place.partition): place.offset for place in places}
        self._paused.clear()
        self._ended.clear()

    def unassign(self) -> None:
        self.assign([])

    def pause(self, places: list[TopicPartition]) -> None:
        self._paused.update((place.topic, place.partition) for place in places)

    def resume(self, places: list[TopicPartition]) -> None:
        self._paused.difference_update((place.topic, place.partition) for place in places)

    def _fetch(self, most: int) -> list[Message]:
        random = self._broker.random
        places = [place for place in self._positions if place not in self._paused]
        random.shuffle(places)
        messages: list[Message] = []
        for place in places:
            log, position = self._broker.logs[place], self._positions[place]
            if position < log.start or position > log.end:
                gone = KafkaError(KafkaError._AUTO_OFFSET_RESET, "no such offset")
                messages.append(Message(place, Record(position, -1, None, None), gone))
                continue
            records = log.read(position, min(most, random.choice((1, 3, 10, 1000))))
            messages += [Message(place, record) for record in records]
            if records:
                self._positions[place] = position = records[-1].offset + 1
            if not log.read(position, 1) and self._ended.get(place) != log.end:
                self._positions[place] = self._ended[place] = log.end
                end = KafkaError(KafkaError._PARTITION_EOF, "the end")
                messages.append(Message(place, Record(log.end, -1, None, None), end))
        return messages

    # --- questions

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._ask("committed")
        group = self._broker.group
        return [
            TopicPartition(p.topic, p.partition, offset, metadata=metadata)
            for p in places
            for offset, metadata in [group.committed.get((p.topic, p.partition), (-1001, ""))]
        ]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        self._ask("get_watermark_offsets")
        log = self._log(place)
        return log.start, log.end

    def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._ask("offsets_for_times")
        return [TopicPartition(p.topic, p.partition, self._offset_at(self._log(p), p.offset)) for p in places]

    def list_topics(self, topic: str, timeout: float) -> Any:
        self._ask("list_topics")
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=range(self._broker.count))})

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self._process.touch("commit, before")
        wanted = {(p.topic, p.partition): (p.offset, p.metadata or "") for p in offsets}
        if not self._subscribed:
            if not self._broker.commit_start(wanted):
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "the group has members"))
            return offsets
        what = self._broker.commit(self._process.name, self._generation, wanted)
        self._process.tell(f"commits {sorted((p.topic[:1], p.partition, p.offset) for p in offsets)}: {what}")
        self._process.touch("commit, after")
        if isinstance(what, str):
            raise KafkaException(KafkaError(getattr(KafkaError, what), what))
        if what in (CommitFault.REFUSED, CommitFault.ANSWER_LOST):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, what.value))
        if what is CommitFault.NONE:
            return offsets
        taken = self._broker.topics[what is CommitFault.CHECKOUTS_ONLY]
        return [p if p.topic == taken else _failed(p) for p in offsets]

    def _ask(self, what: str) -> None:
        self._process.touch(what)
        if self._broker.down:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))

    def _log(self, place: TopicPartition) -> Partition:
        return self._broker.logs[place.topic, place.partition]

    @staticmethod
    def _offset_at(log: Partition, moment: int) -> int:
        return next((r.offset for r in log.records if r.offset >= log.start and r.timestamp >= moment), -1)


def _failed(place: TopicPartition) -> Any:
    error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "not here")
    return SimpleNamespace(topic=place.topic, partition=place.partition, offset=place.offset, error=error)


class Producer:
    """The producer of one process: what is written is acknowledged a little later, in order, or refused."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process
        self._queue: list[tuple[float, Callable[[KafkaError | None], None], tuple[str, int, _Written]]] = []

    def produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, delivered: Any, headers: Any
    ) -> None:
        self._process.touch("produce")
        written = tuple((name, v.encode() if isinstance(v, str) else v) for name, v in headers)

        record = self._broker.clock.ms, key, value, written

        def arrive(error: KafkaError | None) -> None:
            if error is None:
                self._broker.logs[topic, partition].append(*record)
            delivered(error, Message((topic, partition), Record(-1, -1, key, value)))

        due = self._broker.clock.now + self._broker.random.choice((0.0, 0.002, 0.3))
        self._queue.append((due, arrive, (topic, partition, record)))

    def abandon(self) -> None:
        """The process is dead: some of what it had sent arrives, in order, and nobody hears of it."""
        for _ in range(self._broker.random.randint(0, len(self._queue))):
            topic, partition, record = self._queue.pop(0)[2]
            if not self._broker.down and not self._broker.refuses_writes:
                self._broker.logs[topic, partition].append(*record)
        self._queue.clear()

    def poll(self, timeout: float) -> None:
        self._process.touch("produce: poll")
        broker = self._broker
        while self._queue and not broker.down and self._queue[0][0] <= broker.clock.now:
            _, arrive, _ = self._queue.pop(0)
            arrive(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "refused") if broker.refuses_writes else None)

    def flush(self, timeout: float) -> int:
        self._process.touch("flush")

        def empty() -> bool:
            self.poll(0)
            return not self._queue

        self._process.wait(empty, timeout)
        return len(self._queue)


class Admin:
    """Answers where the partitions end: at once, or a little later."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process

    def list_offsets(self, question: dict[TopicPartition, Any], isolation_level: Any, request_timeout: float) -> Any:
        self._process.touch("list_offsets")
        answers: dict[TopicPartition, Future[Any]] = {}
        for place in question:
            answer: Future[Any] = Future()
            log = self._broker.logs[place.topic, place.partition]
            if self._broker.down:
                answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer")))
            else:
                answer.set_result(SimpleNamespace(offset=log.end, leader_epoch=log.epoch))
            answers[place] = answer
        return answers
