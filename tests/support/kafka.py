"""What a Kafka client gives: records, and what it says in a record's place, such as the end of a partition."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError

Headers = Sequence[tuple[str, str | bytes | None]]


class Message:
    """A record, or an error in a record's place. `timestamp` is in ms."""

    def __init__(
        self,
        topic: str,
        partition: int,
        offset: int,
        key: bytes | None = None,
        value: bytes | None = None,
        *,
        timestamp: int = 0,
        headers: Headers | None = None,
        error: KafkaError | None = None,
    ) -> None:
        self._topic, self._partition, self._offset = topic, partition, offset
        self._key, self._value = key, value
        self._timestamp, self._headers, self._error = timestamp, headers, error

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        return None if self._headers is None else list(self._headers)

    def error(self) -> KafkaError | None:
        return self._error


def partition_end(topic: str, partition: int, offset: int) -> Message:
    """What the client says where a partition ends for now: `offset` is the next to be written."""
    return Message(topic, partition, offset, error=KafkaError(KafkaError._PARTITION_EOF))
