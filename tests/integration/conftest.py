"""Fixtures of the tests that talk to a broker."""

from __future__ import annotations

import os
from collections.abc import Iterator

import brokers
import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from registry import ApicurioRegistry


@pytest.fixture
def real_kafka(broker: brokers.Broker) -> brokers.Broker:
    """The broker, for a test that needs more than the mock cluster has."""
    if not broker.is_real:
        pytest.skip(f"needs a real Kafka: {broker.description} does not do what this test asks of it")
    return broker


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest, real_kafka: brokers.Broker) -> str:
    """Each group protocol in turn, for a test whose subject is membership: joining, leaving, crashing, committing."""
    if request.param == "consumer":
        needs_short_sessions(real_kafka)
    return str(request.param)


@pytest.fixture
def kip_848(real_kafka: brokers.Broker) -> brokers.Broker:
    """A broker that has the `consumer` group protocol."""
    needs_short_sessions(real_kafka)
    return real_kafka


def needs_short_sessions(broker: brokers.Broker) -> None:
    """Skip the test where the broker has no `consumer` group protocol, or misses a killed member too late."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    place = ConfigResource(ResourceType.BROKER, str(next(iter(admin.list_topics(timeout=20).brokers))))
    told = admin.describe_configs([place])[place].result(20).get("group.consumer.session.timeout.ms")
    wanted = brokers.base.SETTINGS["group.consumer.session.timeout.ms"]
    if told is None or int(told.value) > int(wanted):
        has = "has no such setting" if told is None else f"has {told.value}"
        pytest.skip(f"needs group.consumer.session.timeout.ms={wanted}: {broker.description} {has}")


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


@pytest.fixture(scope="session")
def apicurio() -> Iterator[ApicurioRegistry]:
    """A schema registry for the whole run. Tests name their subjects by themselves."""
    yield from _started()


@pytest.fixture
def own_registry() -> Iterator[ApicurioRegistry]:
    """A schema registry that the test may stop and start again, with nobody else on it."""
    yield from _started()


def _started() -> Iterator[ApicurioRegistry]:
    try:
        found = ApicurioRegistry()
        found.start()
    except brokers.UnavailableError as error:
        reason = f"no schema registry to test with: {error}"
        if os.environ.get("TEST_KAFKA_REQUIRE", "0") not in ("", "0"):
            pytest.fail(f"{reason}; TEST_KAFKA_REQUIRE asks for one", pytrace=False)
        pytest.skip(reason)
    yield found
    found.stop()
