"""Reads stretches of the log without joining a group and without committing anything.

`LogReader` reads ranges of offsets: the keys that are sampled at a start, or one record; `read_all` such as are to be
read whole. `RecordReader` stands on it:
it reads records again of which only the place in the log was kept, refused offers that are to be dead-lettered
unchanged. It has a thread of its own, since a read may wait for a broker and the poll thread must not.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ..errors import StopError
from ..events import RecordRef
from .end_offsets import TIMEOUT, bounds
from .record import Record

T = TypeVar("T")

log = structlog.get_logger(__name__)

LINGER = 60.0
"""Seconds without a question after which the consumer is closed."""

COMPLAIN = 60
"""Rounds, of a second each, without an answer after which that is said, again and again."""

_ROUND = 1.0

_SHORT_ROUND = 0.2
"""Seconds: a person waits for the end of it."""

PATIENCE = 60.0
"""Seconds without a record after which a range counts as unreadable."""

_BATCH = 1_000

_GONE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
_ENDS = _GONE | {KafkaError._PARTITION_EOF}
_REFUSED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
"""Errors after which waiting is in vain."""


class LogReader:
    """Reads ranges of offsets with a consumer that is told what to read.

    Args:
        consumer: `enable.partition.eof` is set, `auto.offset.reset` is `error`. Whoever made it closes it.
        on_error: is told of errors after which reading goes on.

    Attributes:
        unread: after `read`, the partitions whose range was not read to its end, as (topic, partition): there was no
            more time, or the broker no longer has the records.
    """

    def __init__(self, consumer: Consumer, on_error: Callable[[Message], None]) -> None:
        self.unread: set[tuple[str, int]] = set()
        self._consumer = consumer
        self._on_error = on_error

    def read(
        self,
        ranges: Mapping[tuple[str, int], tuple[int, int]],
        go_on: Callable[[], bool],
        *,
        round_s: float = _ROUND,
    ) -> Iterator[Message]:
        """The records of these ranges, in the order of each partition.

        Args:
            ranges: by topic and partition, the first offset and the one behind the last. Not empty.
            go_on: asked before each round whether to read on.
            round_s: seconds that a round waits for records.
        """
        paused: list[tuple[str, int]] = []
        gone: set[tuple[str, int]] = set()
        ends = {place: end for place, (_, end) in ranges.items()}
        most = min(_BATCH, sum(end - begin for begin, end in ranges.values()))
        self.unread = set(ends)
        self._consumer.assign([TopicPartition(*place, begin) for place, (begin, _) in ranges.items()])
        try:
            while ends and go_on():
                for message in self._consumer.consume(most, round_s):
                    error, place, offset = message.error(), place_of(message), message.offset() or 0
                    if error is not None and error.code() not in _ENDS:
                        self._on_error(message)
                        continue
                    if place not in ends:
                        continue
                    if error is not None and error.code() in _GONE:
                        gone.add(place)
                    # Offsets have gaps: behind one, a record may stand beyond the range.
                    if error is None and offset < ends[place]:
                        yield message
                    # What stands last may be a transaction's marker, told of as the partition's end.
                    if error is not None or offset >= ends[place] - 1:
                        del ends[place]
                        paused.append(place)
                        self._consumer.pause([TopicPartition(*place)])
                self.unread = ends.keys() | gone
        finally:
            # Or they would stay paused, also where nobody reads on: to the client a pause outlives the assignment.
            self._consumer.resume([TopicPartition(*place) for place in paused])
            self._consumer.unassign()


class NotAllReadError(Exception):
    """Not all records of a range were read; the text says why. Whoever reads turns it into an error of its own.

    `is_gone`: the broker answers, and no longer has them.
    """

    def __init__(self, why: str, *, is_gone: bool = False) -> None:
        super().__init__(why)
        self.is_gone = is_gone


def read_all(consumer: Consumer, ranges: Mapping[tuple[str, int], tuple[int, int]]) -> Iterator[Message]:
    """All records of these ranges, in the order of each partition: read for as long as some come.

    Args:
        consumer: as `LogReader` takes it.
        ranges: by topic and partition, the first offset and the one behind the last; such as are empty are left out.

    Raises:
        NotAllReadError: none came for PATIENCE seconds, the broker refuses, or some are no longer there.
    """
    wanted = {place: (begin, end) for place, (begin, end) in ranges.items() if begin < end}
    if not wanted:
        return
    problems: list[str] = []
    silent = 0.0

    def go_on() -> bool:
        nonlocal silent
        silent += _SHORT_ROUND
        return silent <= PATIENCE

    def on_error(message: Message) -> None:
        nonlocal silent
        problems.append(error_text(message))
        error = message.error()
        if error is not None and error.code() in _REFUSED:
            silent = PATIENCE

    reader = LogReader(consumer, on_error)
    for message in reader.read(wanted, go_on, round_s=_SHORT_ROUND):
        silent = 0.0
        yield message
    if reader.unread:
        if silent < PATIENCE:
            raise NotAllReadError("records are no longer there", is_gone=True)
        raise NotAllReadError(problems[-1] if problems else "the broker does not answer")


class Span(NamedTuple):
    """What is to be read of a partition: the first offset and the one behind the last.

    Attributes:
        low: the first offset that is still there.
        is_cut: retention has deleted records before it that may be of this time, too.
    """

    topic: str
    partition: int
    begin: int
    end: int
    low: int
    is_cut: bool


def spans(consumer: Consumer, topic: str, partitions: Iterable[int], since: int) -> list[Span]:
    """Where the records stand that are stamped at or after a time (ms): from the first of them to the present end.

    Raises:
        KafkaException: the broker does not tell.
    """
    asked = [TopicPartition(topic, partition, max(since, 0)) for partition in sorted(partitions)]
    found = []
    for place in consumer.offsets_for_times(asked, timeout=TIMEOUT):
        if place.error is not None:
            raise KafkaException(place.error)
        low, end = bounds(consumer, TopicPartition(topic, place.partition))
        begin = place.offset if 0 <= place.offset <= end else end
        found.append(Span(topic, place.partition, max(begin, low), end, low, is_cut=low > 0 and begin <= low))
    return found


class RecordReader(Generic[T]):
    """Answers each question in `results`, in order: what was asked with, and the record, or None if it is gone.

    A broker that does not answer is waited for. `ask`, `check` and `stop` are for one thread.
    """

    def __init__(self, consumer: Callable[[], Consumer]) -> None:
        """`consumer` makes one with `config.record_reader_config`, when it is needed."""
        self.results: queue.SimpleQueue[tuple[T, Record | None]] = queue.SimpleQueue()
        self._consumer = consumer
        self._asked: queue.SimpleQueue[tuple[RecordRef, T] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._error: BaseException | None = None

    def ask(self, source: RecordRef, token: T) -> None:
        """Read the record that stands at `source`; `token` comes back with it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="reread", daemon=True)
            self._thread.start()
        self._asked.put((source, token))

    def check(self) -> None:
        """Raises:
        StopError: the thread has failed.
        """
        if self._error is not None:
            raise StopError(
                f"reading records of refused offers again has failed: {self._error!r}. They are not settled; check the "
                "broker and kafka.properties, then start again."
            ) from self._error

    def stop(self) -> None:
        """Answer no more; the thread ends within a moment."""
        self._stopping = True
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join(2 * _ROUND)

    # --- inside

    def _run(self) -> None:
        try:
            while (question := self._asked.get()) is not None:
                consumer = self._consumer()
                try:
                    while question is not None:
                        self._answer(consumer, *question)
                        question = self._asked.get(timeout=LINGER)
                    return
                except queue.Empty:
                    pass
                finally:
                    consumer.close()
        except BaseException as error:  # surfaces in check()
            self._error = error

    def _answer(self, consumer: Consumer, source: RecordRef, token: T) -> None:
        topic, partition, offset = source
        rounds = 0

        def go_on() -> bool:
            nonlocal rounds
            if rounds and rounds % COMPLAIN == 0:
                log.warning(
                    "the record of a rejected offer cannot be read: its broker does not answer",
                    topic=topic,
                    partition=partition,
                    offset=offset,
                )
            rounds += 1
            return not self._stopping

        def on_error(message: Message) -> None:
            log.warning("kafka", error=error_text(message), topic=topic, partition=partition, offset=offset)

        record: Record | None = None
        for message in LogReader(consumer, on_error).read({(topic, partition): (offset, offset + 1)}, go_on):
            record = Record.of(message)
        if record is not None or not self._stopping:
            self.results.put((token, record))


def place_of(message: Message) -> tuple[str, int]:
    """The topic and the partition of a record or of a partition's end."""
    return message.topic() or "", message.partition() or 0


def error_text(message: Message) -> str:
    """What is wrong, in the client's words."""
    error = message.error()
    return "" if error is None else error.str()
