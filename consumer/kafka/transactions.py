"""Writes records to several topics all together or not at all, as the only one who does under its name.

Whoever begins last is the one: the brokers refuse what another still writes under the same transactional id. What that
other had not committed is given up, and what it had committed is there to be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ..errors import OptOutError
from .dead_letter import Headers

_TIMEOUT = 30.0
"""Seconds to wait for the brokers: as long as a record of such a producer may take."""

_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

_FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})

_GIVEN_UP = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._STATE})
"""What is said of records that were given up since the transaction has failed."""

_SEQUENCE = _GIVEN_UP | {KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER}
"""What is said where the client has lost count, of some records or of all."""


class Outgoing(NamedTuple):
    """A record to be written; `timestamp` in ms, negative: the present."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int = -1


class RecordTooLargeError(OptOutError):
    """One of the records, or what was sent together with it, is larger than its topic takes. Nothing was written.

    Of several it is not told which: each is to be written by itself then.
    """


class _SequenceError(OptOutError):
    """The client has lost count of what it has written in a partition. Nothing was written."""


class Transactions:
    """Writes under one transactional id. Used by one thread.

    Args:
        producer: made with `config.transactional_config`.
        name: the transactional id.
    """

    def __init__(self, producer: Producer, name: str) -> None:
        self._producer = producer
        self._name = name

    def begin_session(self) -> None:
        """Be the only one who writes under this name from now on. What another has left open is given up.

        Raises:
            OptOutError: the brokers refuse it, or do not answer.
        """
        self._until_done(self._producer.init_transactions)

    def write(self, records: Sequence[Outgoing], then: Callable[[Sequence[int]], Sequence[Outgoing]]) -> None:
        """Write these records, and those that are made of the offsets that they get. All are there, or none.

        Raises:
            RecordTooLargeError: one of them is too large; others may be written after that.
            OptOutError: nothing is written, or the message says that this is not known.
        """
        try:
            self._write(records, then)
        except _SequenceError:
            # After a transaction in which a record was too large, the client goes on to count from behind it, which the
            # brokers do not. It finds out by the next one, which fails, and counts anew from then on.
            self._write(records, then)

    # --- inside

    def _write(self, records: Sequence[Outgoing], then: Callable[[Sequence[int]], Sequence[Outgoing]]) -> None:
        self._until_done(lambda _: self._producer.begin_transaction())
        try:
            self._send(then(self._send(records)))
        except BaseException:  # Ctrl-C, too: an open transaction holds up whoever reads the topics
            with suppress(KafkaException):  # the brokers give it up by themselves, later
                self._producer.abort_transaction(_TIMEOUT)
            raise
        self._until_done(self._producer.commit_transaction)

    def _send(self, records: Sequence[Outgoing]) -> list[int]:
        """Hand over records, and wait for the offset of each."""
        offsets = [-1] * len(records)
        problems: dict[int, KafkaError] = {}

        def answered(number: int, problem: KafkaError | None, message: Message) -> None:
            if problem is not None:
                problems[number] = problem
            else:
                offsets[number] = message.offset() or 0

        for number, record in enumerate(records):
            try:
                self._produce(record, partial(answered, number))
            except KafkaException as error:
                problems[number] = error.args[0]
                break
        left = self._serve(lambda: self._producer.flush(_TIMEOUT))
        for number, problem in sorted(problems.items(), key=lambda item: item[1].code() in _GIVEN_UP):
            place = f"{records[number].topic}[{records[number].partition}]"
            cause = (self._cause() or problem) if problem.code() in _GIVEN_UP else problem
            words = self._words(cause, place)
            if cause.code() in _TOO_LARGE:
                raise RecordTooLargeError(words)
            raise (_SequenceError if cause.code() in _SEQUENCE else OptOutError)(words)
        if left:
            raise OptOutError(
                f"the brokers did not take what was to be written within {_TIMEOUT:g} s. Nothing of it is there. Look "
                "at the brokers, then do this again."
            )
        return offsets

    def _cause(self) -> KafkaError | None:
        """Why the transaction has failed: that is told to who would begin another one, and not with the records."""
        try:
            self._producer.begin_transaction()
        except KafkaException as error:
            found: KafkaError = error.args[0]
            return None if found.code() == KafkaError._STATE else found
        return None

    def _produce(self, record: Outgoing, answered: Callable[[KafkaError | None, Message], None]) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    answered,
                    # By the client's 0 it is the present.
                    timestamp=max(record.timestamp, 0),
                    headers=record.headers,
                )
                return
            except BufferError as error:
                if time.monotonic() > deadline:
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from error
                self._serve(lambda: self._producer.poll(0.1))

    def _serve(self, step: Callable[[], int]) -> int:
        """Let the client call back. An error for good, such as another one's start, it raises here."""
        try:
            return step()
        except KafkaException as error:
            raise OptOutError(self._words(error.args[0], None)) from error
        except SystemError as error:
            # It raises that, and then calls back: of this Python complains in its place.
            if not isinstance(error.__cause__, KafkaException):
                raise
            raise OptOutError(self._words(error.__cause__.args[0], None)) from error

    def _until_done(self, step: Callable[[float], None]) -> None:
        """Take a step of a transaction, again as long as the client says that this may help."""
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                step(_TIMEOUT)
                return
            except KafkaException as error:
                problem = error.args[0]
                if problem.retriable() and time.monotonic() < deadline:
                    continue
                if problem.txn_requires_abort():
                    with suppress(KafkaException):
                        self._producer.abort_transaction(_TIMEOUT)
                raise OptOutError(self._words(problem, None)) from error

    def _words(self, problem: KafkaError, place: str | None) -> str:
        where = "" if place is None else f"{place}: "
        if problem.code() in _FENCED:
            return (
                f"{where}somebody else has begun to write as {self._name}: two at once would do the same twice. What "
                "was not committed here is not written. See that the other one is done, then do this again: it leaves "
                "out what is there."
            )
        if problem.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return (
                f"{where}you may not write to it ({problem.str()}). Nothing of it is written. Allow Write and Describe "
                "on the topic to the principal that you log in as, which need not be that of the service; then do this "
                "again."
            )
        if problem.code() in (
            KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        ):
            return (
                f"you may not write in transactions ({problem.str()}). Nothing was written. Allow Write and Describe "
                f"on the transactional id {self._name} to the principal that you log in as, then do this again."
            )
        if problem.code() in _TOO_LARGE:
            return f"{where}the record is larger than the topic takes ({problem.str()})"
        if problem.retriable() or problem.code() == KafkaError._TIMED_OUT:
            return (
                f"{where}the brokers do not answer ({problem.str()}), so it is not known whether the last records are "
                "written. Look at the brokers, then do this again: it reads whether they are, and leaves them out."
            )
        return (
            f"{where}the brokers refuse to write ({problem.str()}). What was not committed is not written. Check the "
            "topic and its settings, then do this again."
        )
