"""The first records that stand in a log."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, Message

from ..errors import StartError
from .end_offsets import TIMEOUT
from .reader import LogReader


def first_records(
    consumer_of: Callable[[], Consumer], topic: str, partition: int, low: int, high: int, count: int
) -> list[Message]:
    """As many of them, or as many as stand there, from offset `low` on and before `high`.

    Args:
        consumer_of: makes a consumer with `config.record_reader_config`.

    Raises:
        StartError: the broker does not give them.
    """
    if low >= high:
        return []
    found: list[Message] = []
    consumer = consumer_of()
    try:
        rounds = iter(range(int(TIMEOUT)))
        reader = LogReader(consumer, lambda _: None)
        for message in reader.read({(topic, partition): (low, high)}, lambda: next(rounds, None) is not None):
            found.append(message)
            if len(found) == count:
                return found
    finally:
        consumer.close()
    if reader.unread:
        # By the clock instead, all offers until now would go late, and for good.
        raise StartError(
            f"{topic}[{partition}]: the broker does not give the first records from offset {low} "
            "on, which tell of what time it is. Nothing was changed. Check the broker, then do this again."
        )
    return found
