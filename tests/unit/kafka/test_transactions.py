"""Transactions, by a client that a test plays; what brokers do is in integration/test_dead_letters.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from support.kafka import Message

from consumer.errors import OptOutError
from consumer.kafka.transactions import Outgoing, RecordTooLargeError, Transactions

RECORDS = [Outgoing("offers", 1, b"k", b"first", [("a", b"1")], 5), Outgoing("offers", 1, None, b"second", [])]


class ScriptedProducer:
    """Answers each record with an offset, or with the next of these codes; each step of a transaction as well."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.produced: list[tuple[Any, ...]] = []
        self.refused: dict[bytes | None, list[int]] = {}
        self.errors: dict[str, list[KafkaError]] = {}
        self.full = 0
        self.left = 0
        self._answers: list[Callable[[], None]] = []

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if self.errors.get(name):
            raise KafkaException(self.errors[name].pop(0))

    def init_transactions(self, timeout: float) -> None:
        self._step("init")

    def begin_transaction(self) -> None:
        self._step("begin")

    def commit_transaction(self, timeout: float) -> None:
        self._step("commit")

    def abort_transaction(self, timeout: float) -> None:
        self._step("abort")

    def poll(self, timeout: float) -> None:
        self.full -= 1

    def flush(self, timeout: float) -> int:
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()
        return self.left

    def produce(
        self, topic: str, value: Any, key: Any, partition: int, answered: Any, timestamp: int, headers: Any
    ) -> None:
        if self.full > 0:
            raise BufferError
        offset = len(self.produced)
        self.produced.append((topic, partition, key, value, headers, timestamp))
        codes = self.refused.get(value) or []
        problem = KafkaError(codes.pop(0)) if codes else None
        self._answers.append(lambda: answered(problem, Message(topic, partition, offset)))


def write(producer: ScriptedProducer) -> None:
    transactions = Transactions(producer, "group.dead-letters")  # type: ignore[arg-type]
    transactions.write(RECORDS, lambda offsets: [Outgoing("dead", 0, None, None, [("to", str(o))]) for o in offsets])


def test_what_is_made_of_the_offsets_is_written_in_the_same_transaction() -> None:
    producer = ScriptedProducer()
    write(producer)
    assert producer.steps == ["begin", "commit"]
    assert producer.produced == [
        ("offers", 1, b"k", b"first", [("a", b"1")], 5),
        ("offers", 1, None, b"second", [], 0),
        ("dead", 0, None, None, [("to", "0")], 0),
        ("dead", 0, None, None, [("to", "1")], 0),
    ]


def test_a_queue_that_is_full_is_waited_for() -> None:
    producer = ScriptedProducer()
    producer.full = 3
    write(producer)
    assert len(producer.produced) == 4


def test_what_is_refused_ends_the_transaction_and_names_the_place() -> None:
    producer = ScriptedProducer()
    producer.refused = {b"second": [KafkaError.TOPIC_AUTHORIZATION_FAILED], b"first": [KafkaError._PURGE_QUEUE]}
    with pytest.raises(OptOutError, match=r"offers\[1\]: you may not write to it .* Allow Write"):
        write(producer)
    assert producer.steps == ["begin", "abort"]


def test_a_record_that_is_too_large_is_another_error() -> None:
    producer = ScriptedProducer()
    producer.refused = {b"second": [KafkaError.MSG_SIZE_TOO_LARGE]}
    with pytest.raises(RecordTooLargeError):
        write(producer)
    assert producer.steps == ["begin", "abort"]


class FailedTransaction(ScriptedProducer):
    """Tells why its transaction has failed to who would begin another one within it."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def begin_transaction(self) -> None:
        if self.steps[-1:] == ["begin"]:
            raise KafkaException(KafkaError(self.code, txn_requires_abort=True))
        super().begin_transaction()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "you may not write to it"),
        (KafkaError.MSG_SIZE_TOO_LARGE, "larger than the topic takes"),
    ],
)
def test_where_the_records_do_not_tell_the_transaction_does_and_nothing_is_committed(code: int, words: str) -> None:
    producer = FailedTransaction(code)
    producer.refused = {b"first": [KafkaError._PURGE_QUEUE]}
    with pytest.raises(OptOutError, match=words):
        write(producer)
    assert producer.steps == ["begin", "abort"]


@pytest.mark.parametrize("code", [KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError._PURGE_QUEUE])
def test_a_client_that_has_lost_count_counts_anew_once(code: int) -> None:
    producer = FailedTransaction(KafkaError._STATE)
    producer.refused = {b"first": [code]}
    write(producer)
    assert producer.steps == ["begin", "abort", "begin", "commit"]
    producer.refused = {b"first": [code] * 2}
    with pytest.raises(OptOutError, match="the brokers refuse to write"):
        write(producer)


def test_an_interruption_leaves_no_transaction_open() -> None:
    producer = ScriptedProducer()

    def interrupted(offsets: object) -> list[Outgoing]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Transactions(producer, "x").write(RECORDS, interrupted)  # type: ignore[arg-type]
    assert producer.steps == ["begin", "abort"]


def test_what_is_not_taken_in_time_is_given_up() -> None:
    producer = ScriptedProducer()
    producer.left = 1
    with pytest.raises(OptOutError, match="did not take what was to be written"):
        write(producer)
    assert producer.steps == ["begin", "abort"]


@pytest.mark.parametrize(
    ("step", "error", "words", "steps"),
    [
        ("commit", KafkaError(KafkaError._FENCED, fatal=True), "somebody else has begun", ["begin", "commit"]),
        ("commit", KafkaError(KafkaError._TIMED_OUT), "not known whether", ["begin", "commit"]),
        (
            "commit",
            KafkaError(KafkaError.UNKNOWN, txn_requires_abort=True),
            "refuse to write",
            ["begin", "commit", "abort"],
        ),
    ],
)
def test_a_commit_that_fails(step: str, error: KafkaError, words: str, steps: list[str]) -> None:
    producer = ScriptedProducer()
    producer.errors = {step: [error]}
    with pytest.raises(OptOutError, match=words):
        write(producer)
    assert producer.steps == steps


def test_what_may_help_is_done_again() -> None:
    producer = ScriptedProducer()
    producer.errors = {"init": [KafkaError(KafkaError._TIMED_OUT, retriable=True)] * 2}
    Transactions(producer, "group.dead-letters").begin_session()  # type: ignore[arg-type]
    assert producer.steps == ["init"] * 3


def test_without_the_right_to_the_id_it_says_which() -> None:
    producer = ScriptedProducer()
    producer.errors = {"init": [KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)]}
    with pytest.raises(OptOutError, match=r"the transactional id group\.dead-letters"):
        Transactions(producer, "group.dead-letters").begin_session()  # type: ignore[arg-type]
