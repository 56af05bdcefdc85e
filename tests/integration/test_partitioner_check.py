"""Producers that put a session in different partitions of the two topics, and topics that grow."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from brokers.producers import ordered_producer
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import NewPartitions, OffsetSpec
from support.deployment import AGE, MEMBERSHIP, PROTOCOL, Deployment, Process, deployed, moment, now, until

from consumer.events import Outcome
from consumer.kafka.partitioners import PARTITIONERS

JAVA = "murmur2_random"
LIBRDKAFKA = "consistent_random"

LONG_WINDOW = {"JOIN__WINDOW": "60s", "JOIN__LOOKBACK": "120s"}
"""No offer presented during the test is due before it ends, however slow the machine is."""

SOON = {
    # What the group protocol of the run allows: on `consumer` the brokers set the membership's times.
    **json.loads(MEMBERSHIP[PROTOCOL].get("KAFKA__PROPERTIES", "{}")),
    # How soon a topic that grew is noticed; a minute, if not set.
    "topic.metadata.refresh.interval.ms": 1000,
}


@contextmanager
def written_with(deployment: Deployment, partitioner: str) -> Iterator[None]:
    """What is produced in here is, and is acknowledged at the end."""
    deployment.flush()
    usual = deployment._producer
    deployment._producer = ordered_producer(deployment.bootstrap, partitioner=partitioner)
    try:
        yield
        deployment.flush()
    finally:
        deployment._producer = usual


def present_and_buy(deployment: Deployment, count: int, *, offers: str, checkouts: str, at: int) -> None:
    """So many sessions, in each of which the one offer is bought."""
    with written_with(deployment, offers):
        for n in range(count):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=at)
    with written_with(deployment, checkouts):
        for n in range(count):
            deployment.check_out(f"offer-{n}", session=f"session-{n}", at=at + 1_000)


def assert_refused(deployment: Deployment, process: Process, *words: str) -> None:
    assert process.popen.wait(60) == 1
    for said in (*words, "do not put a session in the same partition"):
        assert said in process.text()
    assert "Traceback" not in process.text()
    assert "session-1" not in process.text(), "a customer's session is told"
    assert deployment.called() == []


@pytest.mark.parametrize(
    ("setting", "ours"),
    [("murmur2", "murmur2"), (JAVA, "murmur2"), ("consistent", "crc32"), (LIBRDKAFKA, "crc32")],
)
def test_the_client_puts_keys_where_we_expect_them(real_kafka, setting: str, ours: str) -> None:
    topic, partitions = f"keys-{uuid.uuid4().hex[:8]}", 7
    real_kafka.create_topics({topic: partitions})
    keys = [text.encode() for n in range(200) for text in (str(uuid.UUID(int=n * 2**101 // 7)), f"größe-{n}-日本")]
    keys += [bytes((n * 37 + i) % 256 for i in range(length)) for length in range(1, 21) for n in range(10)]
    found: dict[bytes, int] = {}

    def delivered(error: object, message: Message) -> None:
        assert error is None
        found[message.key()] = message.partition()

    producer = ordered_producer(real_kafka.bootstrap_servers, partitioner=setting)
    for key in keys:
        producer.produce(topic, key=key, value=b"", on_delivery=delivered)
    assert producer.flush(30) == 0
    assert len(found) == len(set(keys)) >= 590
    assert found == {key: PARTITIONERS[ours](key, partitions) for key in keys}


@pytest.mark.parametrize(("offers", "checkouts"), [(JAVA, LIBRDKAFKA), (LIBRDKAFKA, JAVA)])
def test_topics_by_different_partitioners_are_refused_before_anything_is_called(
    real_kafka, tmp_path: Path, offers: str, checkouts: str
) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        present_and_buy(deployment, 100, offers=offers, checkouts=checkouts, at=now() - AGE)
        process = deployment.start()
        first, second = ("murmur2", "crc32") if offers == JAVA else ("crc32", "murmur2")
        assert_refused(
            deployment,
            process,
            "sampled sessions are in two partitions each",
            f"{deployment.offer_topic} is partitioned by {first} (100 of 100 sampled keys)",
            f"{deployment.checkout_topic} is partitioned by {second} (100 of 100 sampled keys)",
        )
        assert process.lines("task begins") == [], "it joined the group"
        for topic in (deployment.offer_topic, deployment.checkout_topic):
            assert {offset for offset, _ in deployment.committed(topic).values()} == {0}


def test_a_producer_that_began_lately_is_found_behind_thousands_of_unread_records(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        present_and_buy(deployment, 10_000, offers=JAVA, checkouts=JAVA, at=now() - AGE)
        with written_with(deployment, LIBRDKAFKA):
            for n in range(400):
                deployment.check_out("other", session=f"late-{n}", at=now() - AGE)
        latest = OffsetSpec.latest()
        places = [TopicPartition(t, p) for t in (deployment.offer_topic, deployment.checkout_topic) for p in range(4)]
        ends = deployment.admin.list_offsets(dict.fromkeys(places, latest)).values()
        assert min(end.result(20).offset for end in ends) > 2_000
        process = deployment.start()
        assert_refused(deployment, process, f"{deployment.checkout_topic}")
        assert [line["part"] for line in process.lines("keys were sampled")] == ["first", "last"]
        assert [line["keys"] for line in process.lines("keys were sampled")] == [1_000, 1_000]
        assert process.lines("not all keys were sampled in time: the rest is seen while running") == []


@pytest.mark.parametrize(("partitioner", "name"), [(JAVA, "murmur2"), (LIBRDKAFKA, "crc32")])
def test_topics_by_one_partitioner_are_joined(real_kafka, tmp_path: Path, partitioner: str, name: str) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        present_and_buy(deployment, 60, offers=partitioner, checkouts=partitioner, at=now() - AGE)
        with written_with(deployment, partitioner):
            deployment.present("not bought", session="s", at=now() - AGE)
        process = deployment.start()
        until(lambda: len(deployment.outcomes()) == 61, within=30, what="all to be settled")
        assert deployment.called() == ["not bought"]
        assert [line["partitioner"] for line in process.lines("the producers' partitioners agree")] == [name]


def test_a_partitioner_of_ones_own_in_both_topics_is_joined_and_said(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        present_and_buy(deployment, 60, offers="fnv1a", checkouts="fnv1a", at=now() - AGE)
        process = deployment.start()
        until(lambda: len(deployment.outcomes()) == 60, within=30, what="all to be settled")
        assert deployment.called() == []
        assert process.lines("the producers' partitioner is neither murmur2 nor crc32: it cannot be checked")


def test_a_few_records_written_by_hand_are_borne_and_said(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        present_and_buy(deployment, 60, offers=JAVA, checkouts=JAVA, at=now() - AGE)
        for n in range(3):
            partition = (PARTITIONERS["murmur2"](f"hand-{n}".encode(), 4) + 1) % 4
            event = {"event_id": "e", "session_id": f"hand-{n}", "partner_code": "A", "offer_id": f"hand-{n}"}
            value = deployment.codec.encode_offer({**event, "presented_at": now() - AGE})
            deployment.produce(deployment.offer_topic, f"hand-{n}", value, now() - AGE, partition=partition)
        deployment.flush()
        process = deployment.start()
        until(lambda: len(deployment.outcomes()) == 63, within=30, what="all to be settled")
        assert [line["keys"] for line in process.lines("some keys are in a wrong partition")] == [3]


def test_a_checkout_topic_that_begins_with_another_partitioner_stops_the_service(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=LONG_WINDOW) as deployment:
        with written_with(deployment, JAVA):
            for n in range(100):
                deployment.present(f"offer-{n}", session=f"session-{n}")
        process = deployment.start(KAFKA__COMMIT_INTERVAL="1h")
        until(lambda: len(process.lines("task begins")) == 4, within=30, what="the tasks to begin")
        assert process.lines("too few keys yet to tell the producers' partitioners")
        assert process.running
        with written_with(deployment, LIBRDKAFKA):
            for n in range(20):
                deployment.check_out(f"offer-{n}", session=f"session-{n}")
        assert_refused(deployment, process)
        assert deployment.committed_total() == 0
        again = deployment.start()
        assert_refused(deployment, again)


def test_a_new_group_behind_the_old_records_goes_on(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        present_and_buy(deployment, 60, offers=JAVA, checkouts=LIBRDKAFKA, at=now() - 3 * AGE)
        assert_refused(deployment, deployment.start())
        since = now() - AGE
        present_and_buy(deployment, 60, offers=JAVA, checkouts=JAVA, at=since)
        deployment.start(
            KAFKA__GROUP_ID=f"second-{deployment.suffix}", KAFKA__START_FROM=moment(since), JOIN__MAX_SKEW="1s"
        )
        until(lambda: len(deployment.outcomes()) == 60, within=30, what="all to be settled")
        assert deployment.called() == []
        assert {outcome.outcome for outcome in deployment.outcomes()} == {Outcome.PURCHASED}


# --- partitions that are added


def grow(deployment: Deployment, partitions: int, *topics: str) -> None:
    for future in deployment.admin.create_partitions([NewPartitions(topic, partitions) for topic in topics]).values():
        future.result(20)


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("both", [False, True], ids=["checkouts", "both"])
def test_every_instance_stops_when_topics_grow(real_kafka, tmp_path: Path, both: bool, static: bool) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=LONG_WINDOW) as deployment:
        for n in range(60):
            deployment.present(f"offer-{n}", session=f"session-{n}")
        deployment.flush()
        names = [{"KAFKA__GROUP_INSTANCE_ID": f"instance-{n}"} if static else {} for n in range(2)]
        processes = [deployment.start(KAFKA__PROPERTIES=json.dumps(SOON), **name) for name in names]
        until(lambda: len(deployment.assigned()) == 2, within=40, what="both to be members")
        until(lambda: all(process.lines("task begins") for process in processes), within=40, what="both to have tasks")
        grow(deployment, 6, *([deployment.offer_topic] if both else []), deployment.checkout_topic)
        for process in processes:
            assert process.popen.wait(40) == 1
            assert "had 4 partitions when this service started and has 6 now" in process.text()
            assert "Traceback" not in process.text()
        assert deployment.called() == []


def test_no_offer_is_called_whose_checkout_moved_because_topics_grew(real_kafka, tmp_path: Path) -> None:
    settings = {"JOIN__WINDOW": "15s", "JOIN__LOOKBACK": "30s", "KAFKA__PROPERTIES": json.dumps(SOON)}
    with deployed(real_kafka.bootstrap_servers, tmp_path, settings=settings) as deployment:
        processes = [deployment.start(), deployment.start()]
        until(lambda: len(deployment.assigned()) == 2, within=40, what="both to be members")
        until(lambda: all(process.lines("task begins") for process in processes), within=40, what="both to have tasks")
        present_and_buy(deployment, 60, offers=JAVA, checkouts=JAVA, at=now())
        with written_with(deployment, JAVA):
            for n in range(60):
                deployment.present(f"later-{n}", session=f"s{n}")
        grow(deployment, 6, deployment.offer_topic, deployment.checkout_topic)
        with written_with(deployment, JAVA):  # by a producer that knows of the new partitions
            for n in range(60):
                deployment.check_out(f"later-{n}", session=f"s{n}")
        for process in processes:
            assert process.popen.wait(60) == 1
            # Whichever is noticed first: the new partitions, or keys that are not where they should be.
            assert any(
                said in process.text() for said in ("and has 6 now", "do not put a session in the same partition")
            )
        assert deployment.called() == []


def test_a_count_that_differs_from_the_committed_one_stops_the_start(real_kafka, tmp_path: Path) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        for n in range(20):
            deployment.present(f"offer-{n}", session=f"session-{n}", at=now() - AGE)
        deployment.flush()
        process = deployment.start()
        until(lambda: deployment.committed_total() == 20, within=30, what="all to be settled")
        assert process.terminate() == 0
        calls, commits = deployment.called(), deployment.committed(deployment.offer_topic)
        topics = deployment.offer_topic, deployment.checkout_topic, deployment.outcome_topic
        grow(deployment, 6, *topics, deployment.dead_letter_topic)
        again = deployment.start()
        assert again.popen.wait(40) == 1
        assert "committed with 4 partitions, the topics now have 6" in again.text()
        assert "Traceback" not in again.text()
        assert deployment.called() == calls
        after = deployment.committed(deployment.offer_topic)
        assert {partition: after[partition] for partition in commits} == commits


@pytest.mark.parametrize("which", ["offers", "checkouts"])
def test_a_topic_that_disappears_stops_the_service(real_kafka, tmp_path: Path, which: str) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        process = deployment.start(KAFKA__PROPERTIES=json.dumps(SOON))
        until(lambda: len(process.lines("task begins")) == 4, within=30, what="the tasks to begin")
        topic = deployment.offer_topic if which == "offers" else deployment.checkout_topic
        for future in deployment.admin.delete_topics([topic]).values():
            future.result(20)
        assert process.popen.wait(40) == 1
        error, runbook = process.text().splitlines()[-2:]
        assert topic in error
        assert "opt-out manual runbook" in runbook
        assert "Traceback" not in process.text()


def test_what_the_client_logs_during_a_rebalance_does_not_end_the_process(real_kafka, tmp_path: Path) -> None:
    """Each line is a callback of the client, like the one that asks for the partitions."""
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.present("offer", at=now() - AGE)
        deployment.flush()
        process = deployment.start(KAFKA__PROPERTIES=json.dumps({**SOON, "debug": "cgrp,topic"}))
        until(lambda: deployment.settled() == ["offer"] or not process.running, within=30, what="the call")
        assert process.terminate() == 0
