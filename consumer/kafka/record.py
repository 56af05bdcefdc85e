"""One Kafka record as it was read, detached from the client that read it."""

from __future__ import annotations

from typing import NamedTuple

from confluent_kafka import Message


class Record(NamedTuple):
    """What a dead letter must carry on unchanged, and where it came from.

    Attributes:
        timestamp: of the record, in milliseconds since the epoch; -1 if it has none.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    @classmethod
    def of(cls, message: Message) -> Record:
        """Detach a message. It must be a record, not an error."""
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is None or partition is None or offset is None:
            raise ValueError(f"not a record but an event: {message.error()}")
        try:
            headers = message.headers() or []
        except UnicodeDecodeError as error:
            # The client hands out none of them then. The record itself stays where the dead letter says.
            headers = [("headers.left_out", f"a name among the record's headers is not UTF-8: {error}")]
        return cls(
            topic,
            partition,
            offset,
            message.timestamp()[1],
            _bytes(message.key()),
            _bytes(message.value()),
            tuple((name, _bytes(value)) for name, value in (headers.items() if isinstance(headers, dict) else headers)),
        )


def _bytes(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data
