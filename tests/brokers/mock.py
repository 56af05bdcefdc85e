"""The mock cluster inside librdkafka: always there, and only a part of Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

import pytest

from consumer.demo.broker import PARTITIONS, embedded_broker, make_topics

from .base import Broker


class MockBroker(Broker):
    """One mock broker in this process.

    It keeps groups, commits and their metadata. It does not create topics by request (any topic that is asked for
    exists with four partitions), does not describe groups, cannot be restarted, and keeps about 5 MB a partition.
    """

    kind = "mock"

    def __init__(self) -> None:
        self._running = ExitStack()

    @property
    def is_real(self) -> bool:
        """It is not."""
        return False

    @property
    def can_restart(self) -> bool:
        """It comes back with another address and without its data."""
        return False

    @property
    def description(self) -> str:
        """See `Broker`."""
        return "librdkafka's mock cluster"

    def start(self) -> None:
        """See `Broker`."""
        self.bootstrap_servers = self._running.enter_context(embedded_broker())

    def create_topics(self, partitions: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """It has a topic once it is asked for one; a test that wants it otherwise is skipped."""
        if config or any(count != PARTITIONS for count in partitions.values()):
            pytest.skip(
                f"needs a real Kafka: {self.description} gives each topic {PARTITIONS} partitions and no settings"
            )
        make_topics(self.bootstrap_servers, partitions)

    def stop(self) -> None:
        """See `Broker`; its data goes with it."""
        self._running.close()
