"""The mock cluster inside librdkafka: always there, and only a part of Kafka."""

from __future__ import annotations

from confluent_kafka import Producer

from .base import Broker


class MockBroker(Broker):
    """One mock broker in this process.

    It keeps groups, commits and their metadata. It does not create topics by request (any topic that is asked for
    exists with `PARTITIONS` partitions), does not describe groups, cannot be restarted, and keeps about 5 MB a partition.
    """

    kind = "mock"
    PARTITIONS = 4

    def __init__(self) -> None:
        self._handle: Producer | None = None

    @property
    def is_real(self) -> bool:
        """It is not."""
        return False

    @property
    def can_restart(self) -> bool:
        """Its data is in the memory of the handle."""
        return False

    @property
    def description(self) -> str:
        """See `Broker`."""
        return "librdkafka's mock cluster"

    def start(self) -> None:
        """See `Broker`."""
        # The address is not used: the handle that owns the mock cluster talks to that.
        self._handle = Producer({"bootstrap.servers": "localhost:1", "test.mock.num.brokers": 1})
        brokers = self._handle.list_topics(timeout=10).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def stop(self) -> None:
        """It lives as long as its handle."""
        self._handle = None
