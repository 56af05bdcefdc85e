"""Calls are made only while they can be recorded, and one poison record does not stop the deployment.

Missing rights, which the brokers tell of, are in test_rights.py.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from brokers import ApacheBroker, SecondBroker
from brokers.producers import ordered_producer
from confluent_kafka import KafkaException
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from support.deployment import AGE, MEMBERSHIP, PARTITIONS, PROTOCOL, Deployment, deployed, headers, now, until

from consumer.events import Outcome, Reason

STARTS = 3
SESSIONS = 48


def configure(deployment: Deployment, topic: str, **settings: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for answer in deployment.admin.incremental_alter_configs([resource]).values():
        answer.result(20)


def present_many(deployment: Deployment) -> None:
    for n in range(SESSIONS):
        deployment.present(f"o-{n}", session=f"o-{n}", at=now() - AGE)
    deployment.flush()


@pytest.mark.cluster
def test_outcomes_that_no_broker_acknowledges_cost_one_call_a_start(own_broker, tmp_path: Path) -> None:
    if not isinstance(own_broker, ApacheBroker):
        pytest.skip(f"needs a second broker, which {own_broker.description} cannot have")
    second = SecondBroker(own_broker)
    second.start()
    try:
        with deployed(own_broker.bootstrap_servers, tmp_path, replicas=(1,)) as deployment:
            keep_outcomes_on(deployment, 2)
            present_many(deployment)
            second.stop()
            for start in range(1, STARTS + 1):
                process = deployment.start()
                said = until(
                    partial(process.lines, "no call leaves for now: the calls wait, and go on by themselves"),
                    within=60,
                    what="the calls to be stopped",
                )
                assert deployment.outcome_topic in said[0]["why"]
                assert len(deployment.called()) == start
                process.kill()
            process = deployment.start()
            until(lambda: len(deployment.called()) > STARTS, within=60, what="the call of the last start")
            second.start()
            until(lambda: deployment.committed_total() == SESSIONS, within=60, what="all to be settled by themselves")
            assert process.running
            assert len(set(deployment.called())) == SESSIONS
            assert len(deployment.called()) == SESSIONS + STARTS
    finally:
        second.close()


@pytest.mark.cluster
def test_a_broker_that_is_gone_while_the_service_runs_stops_the_calls_within_the_bound(
    own_broker, tmp_path: Path
) -> None:
    if not isinstance(own_broker, ApacheBroker):
        pytest.skip(f"needs a second broker, which {own_broker.description} cannot have")
    second = SecondBroker(own_broker)
    second.start()
    try:
        with deployed(
            own_broker.bootstrap_servers, tmp_path, replicas=(1,), settings={"DELIVERY__RATE_LIMIT": "1"}
        ) as deployment:
            keep_outcomes_on(deployment, 2)
            present_many(deployment)
            process = deployment.start()
            until(deployment.outcomes, within=60, what="the first outcome to be recorded")
            second.stop()
            stopped = "no call leaves for now: the calls wait, and go on by themselves"
            until(lambda: process.lines(stopped), within=60, what="the calls to be stopped")
            before = len(deployment.called())
            assert before < SESSIONS
            second.start()
            until(lambda: len(deployment.called()) == SESSIONS, within=90, what="the calls to go on by themselves")
            assert process.lines(stopped)[0]["why"].startswith(
                f"a record for {deployment.outcome_topic} has waited 30 s"
            )
    finally:
        second.close()


def keep_outcomes_on(deployment: Deployment, node: int) -> None:
    """Make the outcome topic anew, on this broker alone."""
    name = deployment.outcome_topic
    deployment.admin.delete_topics([name])[name].result(20)
    topic = NewTopic(name, PARTITIONS, replica_assignment=[[node]] * PARTITIONS)

    def made() -> bool:
        try:
            deployment.admin.create_topics([topic])[name].result(20)
        except KafkaException:
            return False  # the old one is still there
        return True

    until(made, within=30, what="the outcome topic to be made anew")


def test_outcomes_that_the_brokers_refuse_cost_one_call_a_start(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        configure(deployment, deployment.outcome_topic, max_message_bytes="50")
        present_many(deployment)
        for _ in range(STARTS):
            assert deployment.start().popen.wait(60) == 1
        assert len(deployment.called()) <= STARTS
        configure(deployment, deployment.outcome_topic, max_message_bytes="1000000")
        deployment.start()
        until(lambda: deployment.committed_total() == SESSIONS, within=60, what="all to be settled")
        assert len(deployment.called()) <= SESSIONS + STARTS


def test_dead_letters_that_the_brokers_refuse_cost_one_call_a_start(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        configure(deployment, deployment.dead_letter_topic, max_message_bytes="50")
        deployment.produce(deployment.offer_topic, "s1", b"\xff\xffnot avro", now())
        present_many(deployment)
        for _ in range(STARTS):
            process = deployment.start()
            assert process.popen.wait(60) == 1
            assert process.lines("dead letter too large: it is written with less")
        assert len(deployment.called()) <= STARTS


POISON: dict[str, dict[str, Any]] = {
    "garbage as large as its topic allows": {"value": b"\xff" * 1_048_400},
    "large headers of its own": {"value": b"\xff" * 500_000, "headers": [("big", b"h" * 548_000)]},
    "an id of 400 kB": {"offer_id": "x" * 400_000},
    "a session of 400 kB": {"session_id": "s" * 400_000},
    "a price of 400 kB": {"price": "1" * 400_000},
}


def write_poison(deployment: Deployment, poison: dict[str, Any], topic: str) -> None:
    # The limits of the broker count here, not those of the client.
    producer = ordered_producer(deployment.bootstrap, message_max_bytes=2_000_000)
    if "value" in poison:
        producer.produce(topic, key="poison", timestamp=now(), **poison)
    else:
        event = {"event_id": uuid.uuid4().hex, "session_id": "poison", "partner_code": "ACME", "offer_id": "o"} | poison
        event["presented_at"] = now() - AGE
        producer.produce(topic, key=event["session_id"], value=deployment.codec.encode_offer(event), timestamp=now())
    assert producer.flush(30) == 0


@pytest.mark.parametrize("poison", POISON.values(), ids=list(POISON))
def test_one_poison_record_does_not_stop_the_deployment_and_its_neighbours_are_called_once(
    real_kafka, tmp_path: Path, poison: dict[str, Any]
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        deployment.present("before", session="s1", at=now() - AGE)
        deployment.flush()
        write_poison(deployment, poison, deployment.offer_topic)
        deployment.present("after", session="s2", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 3, within=60, what="all three to be settled")
        assert process.running
        assert Counter(deployment.called()) == {"before": 1, "after": 1}
        (letter,) = deployment.dead_letters()
        assert process.lines("dead letter")[0]["reason"] == ("undecodable" if "value" in poison else "too_large")
        if "value" not in poison:
            assert headers(letter)["reason"] == "too_large"


def test_a_dead_letter_topic_that_takes_small_records_only_gets_stubs(real_kafka, tmp_path: Path) -> None:
    # So long that all of them would go in one batch.
    properties = json.loads(MEMBERSHIP[PROTOCOL].get("KAFKA__PROPERTIES", "{}")) | {"linger.ms": 1_000}
    settings = {"KAFKA__PROPERTIES": json.dumps(properties)}
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1), settings=settings) as deployment:
        configure(deployment, deployment.dead_letter_topic, max_message_bytes="70000")
        # Small ones beside it: a batch that is refused as a whole takes them with it.
        for n in range(30):
            deployment.produce(deployment.offer_topic, "s1", b"\xff%d" % n, now())
        deployment.flush()
        write_poison(deployment, {"value": b"\xff" * 900_000}, deployment.offer_topic)
        deployment.present("after", session="s2", at=now() - AGE)
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 32, within=60, what="all to be settled")
        letters = {headers(letter)["source.offset"]: letter.value() or b"" for letter in deployment.dead_letters()}
        assert len(letters) == 31
        stub = json.loads(letters.pop("30"))
        assert (stub["topic"], stub["offset"], stub["value_bytes"]) == (deployment.offer_topic, 30, 900_000)
        assert set(letters.values()) == {b"\xff%d" % n for n in range(30)}
        assert deployment.called() == ["after"]


def test_a_checkout_with_an_id_that_is_too_large_quarantines_its_session_alone(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, partitions=(1, 1)) as deployment:
        deployment.present("bought", session="s1", at=now() - AGE)
        deployment.present("clean", session="s2", at=now() - AGE)
        event = {
            "event_id": "e",
            "session_id": "s1",
            "checkout_id": "c" * 400_000,
            "completed_at": now() - AGE + 1_000,
            "purchased_offer_ids": ["bought"],
        }
        deployment.produce(
            deployment.checkout_topic, "s1", deployment.codec.encode_checkout(event), now() - AGE + 1_000
        )
        deployment.flush()
        deployment.start()
        until(lambda: deployment.committed_total() == 2, within=60, what="both to be settled")
        assert deployment.called() == ["clean"]
        outcomes = {o.offer_id: (o.outcome, o.reason) for o in deployment.outcomes()}
        assert outcomes["bought"] == (Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE)
