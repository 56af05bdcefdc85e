"""Fixtures of the tests that talk to a broker."""

from __future__ import annotations

from collections.abc import Iterator

import brokers
import pytest


@pytest.fixture
def real_kafka(broker: brokers.Broker) -> brokers.Broker:
    """The broker, for a test that needs more than the mock cluster has."""
    if not broker.is_real:
        pytest.skip(f"needs a real Kafka: {broker.description} does not do what this test asks of it")
    return broker


@pytest.fixture
def own_broker(broker: brokers.Broker) -> Iterator[brokers.Broker]:
    """A broker that the test may stop and start again, with nobody else on it."""
    if not broker.can_restart:
        pytest.skip(f"needs a broker that the test may stop: {broker.description} is not one")
    own = type(broker)()
    try:
        own.start()
        yield own
    finally:
        own.close()
