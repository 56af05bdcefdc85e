"""Writes outcomes and dead letters, and knows which of them the broker has acknowledged.

Nothing is dropped: a full local queue makes the caller wait, and a write that has failed for good is remembered, so
that nothing relying on it is ever committed.

What proves that an outcome is acknowledged is its own delivery report, of which the client gives exactly one a record,
to one function for all outcomes of a turn. So many are counted back as were counted out (`Writes`), and a flush says
yes only when the client has no record without a report and none of the reports was a failure.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

import structlog
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Message, Producer

from ..codecs.codec import Codec
from ..errors import DeadLetterError
from ..events import OfferOutcome
from .dead_letter import Form, forms
from .record import Record
from .writes import Batch, Writes

log = structlog.get_logger(__name__)

QUEUE_FULL_TIMEOUT = 60.0
"""Seconds to wait for room in the producer's queue: far below the time after which the group gives up on a member
that does not poll, since it is the poll thread that waits."""

_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
"""How the client or the broker says that a record, or the batch that it is in, is too large."""

NO_STAMP = 1_234
"""The stamp (ms) that librdkafka's mock cluster gives to all that it appends: it has no clock."""

STAMP_EVERY = 1.0
"""Seconds between two writes whose stamp is looked at: to know what time the brokers have takes no more."""

OnStamp: TypeAlias = Callable[[float, float, float], None]
"""Is told of a write that a broker has stamped: the stamp in seconds since the epoch; when it was handed over and when
that was acknowledged, by the monotonic clock."""


OnDelivery: TypeAlias = Callable[..., None]
"""Takes a delivery report of the client: the problem or None, and the record."""

_UNRESERVED = re.compile(r"[A-Za-z0-9_.~-]*")
"""What percent-encoding leaves as it is."""


def outcome_key(partner_code: str, offer_id: str) -> bytes:
    """The key of an outcome: both ids percent-encoded, so that the slash between them is the only one."""
    if _UNRESERVED.fullmatch(partner_code) and _UNRESERVED.fullmatch(offer_id):  # as nearly all of them
        return f"{partner_code}/{offer_id}".encode()
    return f"{quote(partner_code, safe='')}/{quote(offer_id, safe='')}".encode()


class Outputs(Protocol):
    """Where outcomes and dead letters go. Used by one thread."""

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        """Write an outcome to the partition number of its task."""

    def dead_letter(self, record: Record, *, reason: str, error: str, on_ack: Callable[[], None]) -> None:
        """Write a record that cannot be used; `on_ack` is called within `poll` or `flush` once that is acknowledged."""

    def poll(self) -> None:
        """Take in what is acknowledged, without waiting."""

    def flush(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` seconds. True: all that was ever written is acknowledged."""

    def check(self) -> None:
        """Raises:
        DeadLetterError: a write has failed for good.
        """


class OutputProducer:
    """Outcomes and dead letters on their way to the broker. Used by one thread.

    Args:
        producer: made with `config.producer_config`.
        writes: is told of each write.
        queue_timeout: seconds that a write waits for room in a full queue before it counts as failed.
        on_stamp: is told what time the brokers have, where they stamp what they append.
    """

    def __init__(
        self,
        producer: Producer,
        outcome_topic: str,
        dead_letter_topic: str,
        codec: Codec,
        writes: Writes | None = None,
        *,
        queue_timeout: float = QUEUE_FULL_TIMEOUT,
        on_stamp: OnStamp | None = None,
    ) -> None:
        self._producer = producer
        self._outcome_topic = outcome_topic
        self._dead_letter_topic = dead_letter_topic
        self._codec = codec
        self._writes = writes or Writes(outcome_topic)
        self._queue_timeout = queue_timeout
        self._smaller: deque[Callable[[], None]] = deque()
        """Writes the dead letters that were refused as too large, each in its next form."""
        self._batch: Batch | None = None
        self._answered: OnDelivery = self._outcome_answered
        """Takes the reports of the outcomes of this batch."""
        self._on_stamp = on_stamp
        self._next_stamp = float("-inf")
        self._failure: str | None = None

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        """Write an outcome to the partition number of its task."""
        if self._failure is not None:
            return  # the service is about to stop; each further write would wait as long as the one that failed
        key, value = outcome_key(outcome.partner_code, outcome.offer_id), self._codec.encode_outcome(outcome)
        batch = self._writes.begin(self._outcome_topic)
        if batch is not self._batch:
            # For all of it the time of its first one: it was handed over no earlier than that.
            self._batch, self._answered = batch, partial(self._outcome_answered, batch, time.monotonic())
        self._produce(self._outcome_topic, value, key, partition, self._answered, [])

    def dead_letter(self, record: Record, *, reason: str, error: str, on_ack: Callable[[], None]) -> None:
        """Write a record that cannot be used to the dead-letter topic, unchanged but for further headers.

        What the broker refuses as too large goes again in a smaller form; see `dead_letter.forms`.

        Args:
            record: what was read.
            reason: short name, such as `undecodable`.
            error: for people.
            on_ack: called within `poll` or `flush` once the broker has it; never if the write fails.
        """
        self._write_smaller(record, forms(record, reason, error), on_ack)

    def poll(self) -> None:
        """Take in what the broker has acknowledged, without waiting."""
        self._serve(0)
        self._write_what_was_too_large()
        self._writes.look()

    def flush(self, timeout_s: float) -> bool:
        """Wait up to `timeout_s` seconds. True: all that was ever written is acknowledged."""
        deadline = time.monotonic() + timeout_s
        left = self._flush(timeout_s)
        while self._smaller:
            self._write_what_was_too_large()
            left = self._flush(max(0.0, deadline - time.monotonic()))
        self._writes.look()
        return left == 0 and self._failure is None

    def check(self) -> None:
        """Raises:
        DeadLetterError: a write has failed for good.
        """
        if self._failure is not None:
            raise DeadLetterError(self._failure)

    # --- inside

    def _serve(self, wait_s: float) -> None:
        try:
            self._producer.poll(wait_s)
        except KafkaException as error:  # of an error for good the client tells no callback: it is raised here
            self._fail("whatever is written", error.args[0])

    def _flush(self, timeout_s: float) -> int:
        try:
            return self._producer.flush(timeout_s)
        except KafkaException as error:  # as above
            self._fail("whatever is written", error.args[0])
            return len(self._producer)

    def _write_smaller(self, record: Record, smaller: Iterator[Form], on_ack: Callable[[], None]) -> None:
        """Write a dead letter in its next form."""
        form = next(smaller)
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        if form.left_out:
            log.warning(
                "dead letter too large: it is written with less",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                bytes=len(record.key or b"") + len(record.value or b""),
                left_out=form.left_out,
            )

        def answered(problem: KafkaError | None) -> None:
            if problem is None:
                on_ack()
            elif problem.code() in _TOO_LARGE and not form.is_least:
                # Not at once: it is a callback of the producer's that says so.
                self._smaller.append(partial(self._write_smaller, record, smaller, on_ack))
            else:
                self._fail(f"the dead letter of {place}", problem)

        self._write(self._dead_letter_topic, record.partition, form, answered)

    def _write_what_was_too_large(self) -> None:
        while self._smaller:
            self._smaller.popleft()()

    def _outcome_answered(self, batch: Batch, sent: float, problem: KafkaError | None, message: Message | None) -> None:
        if problem is not None:
            place = "" if message is None else f"[{message.partition()}]"
            self._fail(f"an outcome for {self._outcome_topic}{place}", problem)
        elif message is not None:
            self._tell_stamp(message, sent)
        self._writes.end(batch, recorded=problem is None)

    def _write(self, topic: str, partition: int, form: Form, answered: Callable[[KafkaError | None], None]) -> None:
        if self._failure is not None:
            return  # see `outcome`
        write = self._writes.begin(topic)

        sent = time.monotonic()

        def delivered(problem: KafkaError | None, message: Message | None) -> None:
            if problem is None and message is not None:
                self._tell_stamp(message, sent)
            answered(problem)
            self._writes.end(write, recorded=problem is None)

        self._produce(topic, form.value, form.key, partition, delivered, form.headers)

    def _produce(self, topic: str, value: Any, key: Any, partition: int, delivered: OnDelivery, headers: Any) -> None:
        deadline: float | None = None
        while True:
            try:
                self._producer.produce(topic, value, key, partition, delivered, headers=headers)
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
                self._serve(0.1)
            except KafkaException as error:
                delivered(error.args[0], None)
                return

    def _tell_stamp(self, message: Message, sent: float) -> None:
        if self._on_stamp is None or (now := time.monotonic()) < self._next_stamp:
            return
        self._next_stamp = now + STAMP_EVERY
        kind, stamp = message.timestamp()
        if kind == TIMESTAMP_LOG_APPEND_TIME and stamp > NO_STAMP:
            self._on_stamp(stamp / 1000, sent, now)

    def _fail(self, what: str, problem: KafkaError | str) -> None:
        text = problem if isinstance(problem, str) else problem.str()
        log.error("write failed", what=what, error=text)
        if self._failure is None:
            self._writes.fail(f"{what}: {text}")
            self._failure = (
                f"{what} could not be written: {text}. Nothing that relies on it was committed. Check that the topic "
                "exists with enough partitions, that it may be written, and its max.message.bytes; then start again."
            )
