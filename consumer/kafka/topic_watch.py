"""Sees, while running, that an input topic was deleted, or deleted and made anew.

The client does not: it goes on at the old offset in the new log, silently, once that has grown past it. What stands
below is skipped, and the offers that it bought are called. The topics' ids tell, so the broker is asked for them again
and again, without waiting; at once when something is odd, or when it has not answered for long, and then no record is
handed on, and no call leaves, until it has answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription

from ..errors import TopicMadeAnewError

log = structlog.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two questions."""

_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""What a broker older than Kafka 2.8 tells: all bits are zero."""

_TIMEOUT = 5.0
"""Seconds that a question may take; then it is asked again."""

PATIENCE = 2 * _TIMEOUT
"""Seconds since the last question that was answered, after which there is a doubt. What was read meanwhile may be of
another log; that costs nothing while it is far less than lateness, since nothing younger than that is decided."""


IN_DOUBT = (
    "after trouble it is not known yet whether the topics are the same, and records wait until it is: see that the "
    "brokers answer, and that Describe on the topics is allowed"
)
"""Why no call leaves, and records wait."""


class TopicWatch:
    """One question at a time. Not thread-safe.

    Args:
        admin: asks.
        ids: by topic, the id that it had when this run began. A topic whose id is not known is not watched.
        monotonic: a clock in seconds.

    Attributes:
        certain: False from the moment that something was odd, or that the broker has not told for `PATIENCE`, until it
            has told that the topics are the same.
    """

    def __init__(
        self, admin: AdminClient, ids: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.certain = True
        self._admin = admin
        self._ids = {topic: known for topic, known in ids.items() if known}
        self._monotonic = monotonic
        self._next_question = 0.0
        self._answers: dict[str, Future[Any]] = {}
        self._asked_in_doubt = False
        self._asked_at = self._told_at = -1.0
        self._missing: set[str] = set()
        self._said = False
        self._epochs: dict[tuple[str, int], int] = {}

    def doubt(self) -> None:
        """Something was odd: ask at once. An answer to a question of before does not count."""
        if self._ids:
            self.certain = False
            self._asked_in_doubt = False
            self._next_question = 0.0

    def saw_epoch(self, topic: str, partition: int, epoch: int | None) -> None:
        """The leader's epoch that came with a record: it never falls, but in a topic that was made anew."""
        if epoch is None or epoch < 0:
            return
        if epoch < self._epochs.get((topic, partition), epoch):
            self.doubt()
        self._epochs[topic, partition] = epoch

    def look(self) -> None:
        """Take in an answer, and ask again when it is time. To be called again and again.

        Raises:
            TopicMadeAnewError: a topic is not the one that it was.
        """
        if not self._ids:
            return
        if self._answers and all(answer.done() for answer in self._answers.values()):
            answers, self._answers = self._answers, {}
            self._take_in(answers)
        now = self._monotonic()
        if self._told_at < 0:
            self._told_at = now
        if self.certain and now > self._told_at + PATIENCE:
            self.doubt()
        if not self._answers and now >= self._next_question:
            self._next_question = now + INTERVAL
            self._asked_in_doubt, self._asked_at = not self.certain, now
            self._answers = self._admin.describe_topics(TopicCollection(list(self._ids)), request_timeout=_TIMEOUT)

    def _take_in(self, answers: Mapping[str, Future[Any]]) -> None:
        told, missing = 0, set()
        for topic, answer in answers.items():
            try:
                found = id_of(answer.result())
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    missing.add(topic)
                else:
                    self._report(topic, error.args[0])
                continue
            told += 1
            if found and found != self._ids[topic]:
                raise _made_anew(topic, "deleted and made anew")
        # A broker that has just come up may not know of a topic yet: it is asked again, an interval later.
        if again := missing & self._missing:
            raise _made_anew(min(again), "deleted")
        self._missing = missing
        if missing:
            self.certain = False
        elif told == len(self._ids):
            self._told_at = self._asked_at
            if self._asked_in_doubt:
                self.certain = True
                self._said = False

    def _report(self, topic: str, error: KafkaError) -> None:
        if not self._said:
            self._said = True
            log.warning(
                "the broker does not tell the topics' ids: whether they were made anew is not known. After trouble no "
                "record is read on until it tells; see that it answers, and that Describe on the topics is allowed",
                topic=topic,
                error=error.str(),
            )


def id_of(description: TopicDescription) -> str:
    """The topic's id; empty where the broker has none."""
    told = str(description.topic_id)
    return "" if told == _NO_ID else told


def _made_anew(topic: str, what: str) -> TopicMadeAnewError:
    return TopicMadeAnewError(
        f"{topic} was {what} while this service ran. Its offsets mean nothing in the new log, and checkouts may be "
        "gone for good that bought offers which are still open. Nothing more is called or committed. Find out who did "
        "it, look with `opt-out positions`, and go on with `opt-out positions --accept`, which says what that costs."
    )
