"""A right to write that is missing, or withdrawn while the service runs: what is called all the same, and how often."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import AuthorizingBroker, UnavailableError
from confluent_kafka.admin import AclOperation, ResourceType
from support.deployment import AGE, Deployment, deployed, now, until
from support.rights import allow_by_the_manual

STARTS = 4
SESSIONS = 48

TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE


@pytest.fixture(scope="module")
def guarded() -> Iterator[AuthorizingBroker]:
    """A broker with an authorizer."""
    try:
        broker = AuthorizingBroker()
        broker.start()
    except UnavailableError as reason:
        pytest.skip(f"needs a broker of our own, with an authorizer: {reason}")
    try:
        yield broker
    finally:
        broker.close()


def at(broker: AuthorizingBroker) -> dict[str, str]:
    """The settings by which a deployment logs in."""
    session = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    return {
        "KAFKA__BOOTSTRAP_SERVERS": broker.guarded_servers,
        "KAFKA__GROUP_PROTOCOL": "classic",
        "KAFKA__PROPERTIES": json.dumps({**broker.login, **session}),
    }


def present_many(deployment: Deployment, age: int) -> None:
    """Offers to be called, and a record that is to be dead-lettered."""
    for n in range(SESSIONS):
        deployment.present(f"o-{n}", session=f"o-{n}", at=now() - age)
    deployment.produce(deployment.offer_topic, "s1", b"\xff\xffnot avro", now())
    deployment.flush()


@pytest.mark.parametrize("topic", ["outcome_topic", "dead_letter_topic"])
def test_without_the_right_to_write_no_start_makes_a_call_and_each_says_what_to_allow(
    guarded: AuthorizingBroker, tmp_path: Path, topic: str
) -> None:
    with deployed(guarded.bootstrap_servers, tmp_path, settings=at(guarded)) as deployment:
        allow_by_the_manual(guarded, deployment)
        name = getattr(deployment, topic)
        guarded.withdraw(TOPIC, name, WRITE)
        present_many(deployment, AGE)
        for _ in range(STARTS):
            process = deployment.start()
            assert process.popen.wait(60) == 1
            assert f"{name} may not be written to" in process.text()
            assert "allow Write" in process.text()
            assert "Traceback" not in process.text()
        assert deployment.called() == []
        guarded.allow(TOPIC, name, WRITE)
        deployment.start()
        until(lambda: deployment.committed_total() == SESSIONS + 1, within=60, what="all to be settled")
        assert max(Counter(deployment.called()).values()) == 1


def test_without_the_right_to_read_the_group_no_start_makes_a_call(guarded: AuthorizingBroker, tmp_path: Path) -> None:
    with deployed(guarded.bootstrap_servers, tmp_path, settings=at(guarded)) as deployment:
        allow_by_the_manual(guarded, deployment)
        guarded.withdraw(GROUP, deployment.group, READ)
        guarded.allow(GROUP, deployment.group, DESCRIBE)
        process = deployment.start()
        assert process.popen.wait(60) == 1
        assert f"the group {deployment.group} may not be read" in process.text()
        assert "allow Read" in process.text()


@pytest.mark.parametrize("topic", ["outcome_topic", "dead_letter_topic"])
def test_a_right_withdrawn_while_the_service_runs_repeats_what_was_in_flight_once_and_no_more(
    guarded: AuthorizingBroker, tmp_path: Path, topic: str
) -> None:
    slow = {**at(guarded), "DELIVERY__CONCURRENCY": "4", "DELIVERY__RATE_LIMIT": "20"}
    with deployed(guarded.bootstrap_servers, tmp_path, settings=slow) as deployment:
        allow_by_the_manual(guarded, deployment)
        deployment.present("first", session="first", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 1, within=60, what="the first to be settled")
        name = getattr(deployment, topic)
        guarded.withdraw(TOPIC, name, WRITE)
        present_many(deployment, 0)
        assert process.popen.wait(60) == 1
        before = len(deployment.called())
        for _ in range(STARTS):
            assert deployment.start().popen.wait(60) == 1
        assert len(deployment.called()) == before, "a start without the right made calls"
        guarded.allow(TOPIC, name, WRITE)
        deployment.start()
        until(lambda: deployment.committed_total() == SESSIONS + 2, within=60, what="all to be settled")
        counts = Counter(deployment.called())
        assert max(counts.values()) <= 2
        assert len(counts) == SESSIONS + 1
