"""Reads records again of which only the place in the log was kept: refused offers, to be dead-lettered unchanged.

It has a thread of its own, since a read may wait for a broker and the poll thread must not, and a consumer of its own,
which is told what to read: it joins no group and commits nothing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, TopicPartition

from ..errors import StopError
from ..events import RecordRef
from .record import Record

T = TypeVar("T")

log = structlog.get_logger(__name__)

LINGER = 60.0
"""Seconds without a question after which the consumer is closed."""

COMPLAIN = 60
"""Polls, of a second each, without an answer after which that is said, again and again."""

_POLL = 1.0

_GONE = frozenset({KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})


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
            self._thread.join(2 * _POLL)

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
        place = source._asdict()
        consumer.assign([TopicPartition(source.topic, source.partition, source.offset)])
        waited = 0
        while not self._stopping:
            message = consumer.poll(_POLL)
            if message is None:
                waited += 1
                if waited % COMPLAIN == 0:
                    log.warning("the record of a rejected offer cannot be read: its broker does not answer", **place)
                continue
            error = message.error()
            if error is None or error.code() in _GONE:
                if (message.topic(), message.partition()) != (source.topic, source.partition):
                    continue
                found = error is None and message.offset() == source.offset
                self.results.put((token, Record.of(message) if found else None))
                break
            log.warning("kafka", error=error.str(), **place)
        consumer.unassign()
