"""Which offsets hold the records since a time, and reading them: no group is joined, and nothing is committed."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Message

from ..errors import StartError
from ..kafka.end_offsets import TIMEOUT
from ..kafka.reader import NotAllReadError, Span, read_all, spans

SLACK_MS = 86_400_000
"""How much earlier than an event's date its record may be stamped: a clock, or a date without its time zone. A day more
is read for it."""


def spans_since(consumer: Consumer, topic: str, since_ms: int) -> list[Span]:
    """The records of a topic whose timestamps are from then or later, up to its present end; one span a partition.

    Raises:
        StartError: the brokers do not tell, or there is no such topic.
    """
    try:
        told = consumer.list_topics(topic, timeout=TIMEOUT).topics.get(topic)
        if told is None or told.error is not None or not told.partitions:
            why = "nothing of it" if told is None or told.error is None else told.error.str()
            raise StartError(
                f"{topic}: the brokers tell no partition of it: {why}. See that a topic of this name exists, and that "
                "we have the right to describe it, then do this again. Nothing was written."
            )
        return spans(consumer, topic, told.partitions, since_ms)
    except KafkaException as error:
        raise StartError(_unread(topic, error.args[0].str())) from error


def records_of(consumer: Consumer, span: Span) -> Iterator[Message]:
    """The records of a span.

    Raises:
        StartError: they cannot all be read.
    """
    try:
        yield from read_all(consumer, {(span.topic, span.partition): (span.begin, span.end)})
    except NotAllReadError as error:
        raise StartError(_unread(f"{span.topic}[{span.partition}]", str(error))) from error


def _unread(what: str, why: str) -> str:
    return (
        f"{what} could not be read: {why}. Check the brokers and the right to read the topic, then do this again. "
        "Nothing was written."
    )
