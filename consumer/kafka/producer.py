"""Writes outcomes and dead letters, and knows which of them the broker has acknowledged.

Nothing is dropped: a full local queue makes the caller wait, and a write that has failed for good is remembered, so
that nothing relying on it is ever committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ..codecs.codec import Codec
from ..errors import DeadLetterError
from ..events import OfferOutcome
from .record import Record

log = structlog.get_logger(__name__)

QUEUE_FULL_TIMEOUT = 60.0
"""Seconds to wait for room in the producer's queue: far below the time after which the group gives up on a member
that does not poll, since it is the poll thread that waits."""

_ERROR_LENGTH = 1_000
"""Characters of an error kept in a header, so that the headers never make a record too large to be written."""


def outcome_key(partner_code: str, offer_id: str) -> bytes:
    """The key of an outcome: both ids percent-encoded, so that the slash between them is the only one."""
    return f"{quote(partner_code, safe='')}/{quote(offer_id, safe='')}".encode()


class OutputProducer:
    """Outcomes and dead letters on their way to the broker. Used by one thread.

    Args:
        producer: made with `config.producer_config`.
        queue_timeout: seconds that a write waits for room in a full queue before it counts as failed.
    """

    def __init__(
        self,
        producer: Producer,
        outcome_topic: str,
        dead_letter_topic: str,
        codec: Codec,
        *,
        queue_timeout: float = QUEUE_FULL_TIMEOUT,
    ) -> None:
        self._producer = producer
        self._outcome_topic = outcome_topic
        self._dead_letter_topic = dead_letter_topic
        self._codec = codec
        self._queue_timeout = queue_timeout
        self._failure: str | None = None

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        """Write an outcome to the partition number of its task."""
        self._write(
            self._outcome_topic,
            partition,
            outcome_key(outcome.partner_code, outcome.offer_id),
            self._codec.encode_outcome(outcome),
            None,
            self._on_outcome,
        )

    def dead_letter(self, record: Record, *, reason: str, error: str, on_ack: Callable[[], None]) -> None:
        """Write a record that cannot be used to the dead-letter topic, unchanged but for further headers.

        Args:
            record: what was read.
            reason: short name, such as `undecodable`.
            error: for people.
            on_ack: called within `poll` or `flush` once the broker has it; never if the write fails.
        """

        def delivered(problem: KafkaError | None, message: Message) -> None:
            if problem is None:
                on_ack()
            else:
                self._fail(f"the dead letter of {record.topic}[{record.partition}]@{record.offset}", problem)

        headers: list[tuple[str, str | bytes | None]] = [
            *record.headers,
            ("error", error[:_ERROR_LENGTH]),
            ("reason", reason),
            ("source.topic", record.topic),
            ("source.partition", str(record.partition)),
            ("source.offset", str(record.offset)),
            ("source.timestamp", str(record.timestamp)),
        ]
        self._write(self._dead_letter_topic, record.partition, record.key, record.value, headers, delivered)

    def poll(self) -> None:
        """Take in what the broker has acknowledged, without waiting."""
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` seconds. True: all that was ever written is acknowledged."""
        return self._producer.flush(timeout_s) == 0 and self._failure is None

    def check(self) -> None:
        """Raises:
        DeadLetterError: a write has failed for good.
        """
        if self._failure is not None:
            raise DeadLetterError(self._failure)

    # --- inside

    def _write(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, str | bytes | None]] | None,
        delivered: Callable[[KafkaError | None, Message], None],
    ) -> None:
        if self._failure is not None:
            return  # the service is about to stop; each further write would wait as long as the one that failed
        deadline: float | None = None
        while True:
            try:
                # The headers' own absence is kept: an empty list would be written as no headers as well.
                self._producer.produce(topic, value, key, partition, delivered, headers=headers or [])
                return
            except BufferError:
                if deadline is None:
                    deadline = time.monotonic() + self._queue_timeout
                if time.monotonic() >= deadline:
                    self._fail(
                        f"a record for {topic}[{partition}]",
                        f"the producer's queue stayed full for {self._queue_timeout:g} s",
                    )
                    return
                self._producer.poll(0.1)
            except KafkaException as error:
                self._fail(f"a record for {topic}[{partition}]", error.args[0])
                return

    def _on_outcome(self, problem: KafkaError | None, message: Message) -> None:
        if problem is not None:
            self._fail(f"an outcome for {message.topic()}[{message.partition()}]", problem)

    def _fail(self, what: str, problem: KafkaError | str) -> None:
        text = problem if isinstance(problem, str) else problem.str()
        log.error("write failed", what=what, error=text)
        if self._failure is None:
            self._failure = (
                f"{what} could not be written: {text}. Nothing that relies on it was committed. Check that the topic "
                "exists with enough partitions, that it may be written, and its max.message.bytes; then start again."
            )
