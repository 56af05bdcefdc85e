"""Fixtures of the tests that talk to a broker."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Protocol

import brokers
import pytest
from kit import ConsumerProcess, create_topic


class Topics(Protocol):
    """Makes topics that no other test uses."""

    def __call__(self, stem: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        """Create a topic and return its name, which contains `stem`; `config` are the topic's own settings."""


class Consumers(Protocol):
    """Starts `opt-out run` as a process of its own."""

    def __call__(self, env: Mapping[str, str]) -> ConsumerProcess:
        """Start one with these variables; it's killed at the test's end, and its log shown if the test failed."""


@pytest.fixture
def real_kafka(broker: brokers.Broker) -> brokers.Broker:
    """The broker, for a test that needs more than the mock cluster has."""
    if not broker.is_real:
        pytest.skip(f"needs a real Kafka: {broker.description} does not do what this test asks of it")
    return broker


@pytest.fixture
def own_broker(broker: brokers.Broker) -> Iterator[brokers.Broker]:
    """A second broker for a test that would disturb others: of the same kind, with no topics."""
    if not broker.can_restart:
        pytest.skip(f"needs a broker that the test may stop: {broker.description} is not one")
    own = type(broker)()
    own.start()
    yield own
    own.close()


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """What begins the names of this test's topics and groups: no other test uses it, and a second run does not either."""
    return kit_name(request.node.name)


@pytest.fixture
def topics(broker: brokers.Broker, prefix: str) -> Topics:
    """See `Topics`."""

    def create(stem: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        name = f"{prefix}.{stem}"
        create_topic(broker, name, partitions, config or {})
        return name

    return create


@pytest.fixture
def consumers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consumers]:
    """See `Consumers`."""
    with ExitStack() as running:

        def start(env: Mapping[str, str]) -> ConsumerProcess:
            return running.enter_context(ConsumerProcess(env, cwd=tmp_path_factory.mktemp("consumer")))

        yield start
