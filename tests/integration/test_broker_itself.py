"""The broker that the tests use is found in the order that is promised, and behaves as the other tests take it to."""

from __future__ import annotations

import os
import signal
import sys
import uuid

import brokers
import pytest
from brokers import Broker, MockBroker, Search, UnavailableError, search
from brokers.apache import ApacheBroker
from brokers.producers import ordered_producer
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from support.deployment import committed_offsets, read_topic, until

from consumer.core.checkpoint import METADATA_LIMIT


class Unfetched(MockBroker):
    """A way that looks open until it is gone."""

    kind = "java"

    @property
    def is_real(self) -> bool:
        return True

    def start(self) -> None:
        raise UnavailableError("the repository does not answer")


def closed() -> Broker:
    raise UnavailableError("not here")


@pytest.fixture
def topic(broker: Broker) -> str:
    """A topic of four partitions that no other test uses."""
    name = f"itself-{uuid.uuid4().hex[:8]}"
    broker.create_topics({name: 4})
    return name


def write(bootstrap: str, topic: str, *values: bytes, timestamp: int = 0) -> None:
    producer = ordered_producer(bootstrap)
    for value in values:
        producer.produce(topic, value, key=b"k", timestamp=timestamp)
    assert producer.flush(20) == 0


def group_of(bootstrap: str, **settings: object) -> Consumer:
    group = f"itself-{uuid.uuid4().hex[:8]}"
    return Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 0} | settings
    )


# --- how it is found


def test_a_named_broker_comes_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KAFKA", "kafka.example:9092")
    assert [broker.kind for broker in search().open] == ["given"]


def test_docker_comes_before_java_and_the_mock_is_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KAFKA", raising=False)
    monkeypatch.delenv("TEST_KAFKA_WAY", raising=False)
    assert list(brokers.WAYS) == ["docker", "java", "mock"]
    monkeypatch.setattr(brokers, "WAYS", {"docker": closed, "java": Unfetched, "mock": MockBroker})
    found = search()
    assert [broker.kind for broker in found.open] == ["java", "mock"]
    assert "docker: not here" in str(found)


def test_a_way_that_cannot_be_fetched_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KAFKA_REQUIRE", raising=False)
    found = Search([Unfetched(), MockBroker()])
    broker = found.start()
    broker.close()
    assert broker.kind == "mock"
    assert found.closed == ["java: the repository does not answer"]


def test_the_mock_is_refused_where_a_real_kafka_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KAFKA_REQUIRE", "1")
    with pytest.raises(UnavailableError, match="TEST_KAFKA_REQUIRE"):
        Search([MockBroker()]).start()


# --- how it behaves


def test_a_record_comes_back_as_it_was_written(broker: Broker, topic: str) -> None:
    write(broker.bootstrap_servers, topic, b"value", timestamp=1_600_000_000_000)
    (message,) = read_topic(broker.bootstrap_servers, topic)
    assert (message.key(), message.value(), message.timestamp()[1]) == (b"k", b"value", 1_600_000_000_000)


def test_what_a_group_commits_is_seen_from_outside(broker: Broker, topic: str) -> None:
    member = group_of(broker.bootstrap_servers, **{"group.id": f"group-{topic}"})
    member.commit(offsets=[TopicPartition(topic, 1, 5, "what it means")], asynchronous=False)
    member.close()
    assert committed_offsets(broker.bootstrap_servers, f"group-{topic}", topic)[1] == (5, "what it means")


def test_the_longest_metadata_we_write_is_taken_and_one_character_more_refused(real_kafka: Broker, topic: str) -> None:
    # The client sends a closing NUL along, so that one character less fits than the broker's limit says.
    member = group_of(real_kafka.bootstrap_servers)
    try:
        member.commit(offsets=[TopicPartition(topic, 0, 1, "m" * METADATA_LIMIT)], asynchronous=False)
        with pytest.raises(KafkaException) as refused:
            member.commit(offsets=[TopicPartition(topic, 0, 2, "m" * (METADATA_LIMIT + 1))], asynchronous=False)
    finally:
        member.close()
    assert refused.value.args[0].code() == KafkaError.OFFSET_METADATA_TOO_LARGE


def test_a_topic_that_nobody_created_does_not_appear_by_writing_to_it(real_kafka: Broker) -> None:
    name = f"nobody-{uuid.uuid4().hex[:8]}"
    failed: list[KafkaError | None] = []
    producer = ordered_producer(
        real_kafka.bootstrap_servers, topic_metadata_propagation_max_ms=500, message_timeout_ms=5000
    )
    producer.produce(name, b"value", on_delivery=lambda error, _: failed.append(error))
    producer.flush(20)
    (error,) = failed
    assert error is not None
    assert error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_topic_has_the_partitions_that_were_asked_for(real_kafka: Broker) -> None:
    name = f"seven-{uuid.uuid4().hex[:8]}"
    real_kafka.create_topics({name: 7})
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers})
    until(lambda: len(admin.list_topics(name, timeout=20).topics[name].partitions) == 7, within=20, what="7 partitions")


def test_a_member_that_dies_is_missed_within_seconds(real_kafka: Broker, topic: str) -> None:
    settings = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300, "group.id": f"group-{topic}"}
    script = (
        "import sys; from confluent_kafka import Consumer; "
        f"c = Consumer({settings | {'bootstrap.servers': real_kafka.bootstrap_servers}!r}); "
        f"c.subscribe([{topic!r}])\nwhile True: c.poll(0.2)"
    )
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", script], os.environ)
    heir = group_of(real_kafka.bootstrap_servers, **settings)
    try:
        admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap_servers})
        until(
            lambda: admin.describe_consumer_groups([f"group-{topic}"])[f"group-{topic}"].result(20).members,
            within=30,
            what="the first member",
        )
        heir.subscribe([topic])
        until(lambda: (heir.poll(0.1), len(heir.assignment()) == 2)[1], within=30, what="each to have half")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    until(lambda: (heir.poll(0.1), len(heir.assignment()) == 4)[1], within=10, what="the heir to have it all")
    heir.close()


def test_a_broker_started_again_has_its_address_and_its_data(own_broker: Broker) -> None:
    address = own_broker.bootstrap_servers
    own_broker.create_topics({"kept": 1})
    write(address, "kept", b"before")
    own_broker.restart()
    write(address, "kept", b"after")
    assert own_broker.bootstrap_servers == address
    assert [message.value() for message in read_topic(address, "kept")] == [b"before", b"after"]


def test_a_broker_that_does_not_come_up_shows_its_log(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    if broker.kind != "java":
        pytest.skip(f"is about the broker that Java runs, and {broker.description} is used")
    monkeypatch.setattr("brokers.apache.HEAP", "1k")
    own = ApacheBroker()
    with pytest.raises(RuntimeError, match=r"(?s)ended while starting.*Too small"):
        own.start()
