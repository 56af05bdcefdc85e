"""What the service takes for librdkafka: a producer and an admin client on the simulated broker, and messages.

Each call first asks the process whether it still lives: that is where crashes happen.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, Protocol

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicCollection, TopicPartition
from simulation.world.broker import Broker, Record
from simulation.world.group import Place
from simulation.world.timeline import Clock
from support.kafka import Message

_Written = tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


class Process(Protocol):
    """What the clients need of the process that they live in."""

    name: str

    def touch(self, what: str) -> None:
        """A call goes out. Raises `Crash` if the process dies here, or is dead."""

    def wall(self) -> float:
        """The clock of its machine, which may be wrong (s)."""

    def wait(self, until: Callable[[], bool], timeout: float) -> bool:
        """Let time pass until something is so; False if it was not within `timeout` seconds."""

    def begins(self, partition: int) -> None:
        """It was given a task."""

    def tell(self, what: str) -> None:
        """A line for the trace."""

    def refused(self, why: str, partitions: list[int]) -> None:
        """A commit of these tasks was."""

    def wrote(self, topic: str, *, taken: bool) -> None:
        """It heard what became of a record."""


def message(place: Place, record: Record, error: KafkaError | None = None, epoch: int | None = None) -> Message:
    """A record or a partition's end, as the client gives it."""
    told = record.offset, record.key, record.value
    return Message(*place, *told, timestamp=record.timestamp, headers=record.headers, error=error, epoch=epoch)


class Producer:
    """The producer of one process: what is written is acknowledged a little later, in order, or refused."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process
        self._queue: list[tuple[float, str, int, _Written, Callable[[KafkaError | None], None]]] = []

    def produce(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int, delivered: Any, headers: Any
    ) -> None:
        self._process.touch("produce")
        written = tuple((name, v.encode() if isinstance(v, str) else v) for name, v in headers)
        due = self._broker.clock.now + self._broker.random.choice((0.0, 0.002, 0.3))
        told = message((topic, partition), Record(-1, -1, key, value))
        record = self._broker.clock.ms, key, value, written
        self._queue.append((due, topic, partition, record, lambda error: delivered(error, told)))

    def abandon(self) -> None:
        """The process is dead: some of what it had sent arrives, in order, and nobody hears of it."""
        for _ in range(self._broker.random.randint(0, len(self._queue))):
            _, topic, partition, record, _ = self._queue.pop(0)
            if not self._waits(topic) and topic not in self._broker.refused:
                self._broker.logs[topic, partition].append(*record)
        self._queue.clear()

    def poll(self, timeout: float) -> None:
        self._process.touch("produce: poll")
        waiting, self._queue = self._queue, []
        for number, (due, topic, partition, record, delivered) in enumerate(waiting):
            if due > self._broker.clock.now:
                self._queue += waiting[number:]
                break
            if self._waits(topic):
                self._queue.append(waiting[number])
            elif topic in self._broker.refused:
                self._process.wrote(topic, taken=False)
                delivered(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "refused"))
            else:
                self._broker.logs[topic, partition].append(*record)
                self._process.wrote(topic, taken=True)
                delivered(None)

    def _waits(self, topic: str) -> bool:
        return self._broker.down or topic in self._broker.stalled

    def flush(self, timeout: float) -> int:
        self._process.touch("flush")

        def empty() -> bool:
            self.poll(0)
            return not self._queue

        self._process.wait(empty, timeout)
        return len(self._queue)


class _Answer(Future[Any]):
    """An answer that was given at its time, and is on its way until a later one."""

    def __init__(self, clock: Clock, delay: float) -> None:
        super().__init__()
        self._clock, self._arrives = clock, clock.now + delay

    def done(self) -> bool:
        return self._clock.now >= self._arrives and super().done()


class Admin:
    """Answers where the partitions end, what the topics are, and what is known of the group.

    Where a partition ends is answered at once, or `Broker.answer_delay` later than that was so.
    """

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._process = process

    def list_offsets(self, question: dict[TopicPartition, Any], isolation_level: Any, request_timeout: float) -> Any:
        self._process.touch("list_offsets")
        answers: dict[TopicPartition, Future[Any]] = {}
        for place in question:
            answer = _Answer(self._broker.clock, self._broker.answer_delay)
            log = self._broker.logs[place.topic, place.partition]
            if self._broker.down or (place.topic, place.partition) in self._broker.moving:
                answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer")))
            else:
                answer.set_result(SimpleNamespace(offset=log.end, leader_epoch=log.epoch))
            answers[place] = answer
        return answers

    def describe_topics(self, topics: TopicCollection, request_timeout: float) -> Any:
        self._process.touch("describe_topics")
        ids = self._broker.topic_ids
        return {topic: self._answer(SimpleNamespace(topic_id=ids[topic])) for topic in topics.topic_names}

    def list_consumer_group_offsets(self, groups: list[Any], request_timeout: float) -> Any:
        self._process.touch("list_consumer_group_offsets")
        committed = self._broker.group.committed.items()
        places = [TopicPartition(topic, partition, offset) for (topic, partition), (offset, _) in committed]
        return {group.group_id: self._answer(SimpleNamespace(topic_partitions=places)) for group in groups}

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> Any:
        self._process.touch("describe_consumer_groups")
        members = list(self._broker.group.members)
        state = ConsumerGroupState.STABLE if members else ConsumerGroupState.EMPTY
        return {group: self._answer(SimpleNamespace(state=state, members=members)) for group in groups}

    def _answer(self, told: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        if self._broker.down:
            answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer")))
        else:
            answer.set_result(told)
        return answer
