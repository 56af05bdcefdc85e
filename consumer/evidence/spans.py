"""Which offsets hold the records since a time, and reading them: no group is joined, and nothing is committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ..errors import StartError
from ..kafka.end_offsets import TIMEOUT, bounds
from ..kafka.reader import LogReader, error_text

SLACK_MS = 86_400_000
"""How much earlier than an event's date its record may be stamped: a clock, or a date without its time zone. A day more
is read for it."""

_ROUND = 0.2

SILENCE = 300
"""Rounds, of a fifth of a second each, without a record, after which a partition counts as unreadable."""


_REFUSED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
"""Errors after which waiting is in vain."""


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


def spans_since(consumer: Consumer, topic: str, since_ms: int) -> list[Span]:
    """The records of a topic whose timestamps are from then or later, up to its present end; one span a partition.

    Raises:
        StartError: the brokers do not tell, or there is no such topic.
    """
    since_ms = max(0, since_ms)
    try:
        told = consumer.list_topics(topic, timeout=TIMEOUT).topics.get(topic)
        if told is None or told.error is not None or not told.partitions:
            why = "nothing of it" if told is None or told.error is None else told.error.str()
            raise StartError(
                f"{topic}: the brokers tell no partition of it: {why}. See that a topic of this name exists, and that "
                "we have the right to describe it, then do this again. Nothing was written."
            )
        found = []
        asked = [TopicPartition(topic, partition, since_ms) for partition in sorted(told.partitions)]
        for place in consumer.offsets_for_times(asked, timeout=TIMEOUT):
            if place.error is not None:
                raise KafkaException(place.error)
            low, end = bounds(consumer, TopicPartition(topic, place.partition))
            begin = place.offset if 0 <= place.offset <= end else end
            found.append(Span(topic, place.partition, max(begin, low), end, low, is_cut=low > 0 and begin <= low))
    except KafkaException as error:
        raise StartError(_unread(topic, error.args[0].str())) from error
    return found


def records_of(consumer: Consumer, span: Span) -> Iterator[Message]:
    """The records of a span.

    Raises:
        StartError: they cannot all be read.
    """
    if span.begin >= span.end:
        return
    problems: list[str] = []
    silent = 0

    def go_on() -> bool:
        nonlocal silent
        silent += 1
        return silent <= SILENCE

    def on_error(message: Message) -> None:
        nonlocal silent
        problems.append(error_text(message))
        error = message.error()
        if error is not None and error.code() in _REFUSED:
            silent = SILENCE

    reader = LogReader(consumer, on_error)
    for message in reader.read({(span.topic, span.partition): (span.begin, span.end)}, go_on, round_s=_ROUND):
        silent = 0
        yield message
    if reader.unread:
        raise StartError(
            _unread(f"{span.topic}[{span.partition}]", problems[-1] if problems else "the brokers do not answer")
        )


def _unread(what: str, why: str) -> str:
    return (
        f"{what} could not be read: {why}. Check the brokers and the right to read the topic, then do this again. "
        "Nothing was written."
    )
