"""Records stand in a partition once and in the order of the calls, whatever the broker refuses at first."""

from __future__ import annotations

import ast
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers.producers import ordered_producer
from brokers.scripted import ScriptedCluster, scripted_cluster
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from consumer.kafka.config import in_order, producer_config
from consumer.settings import KafkaSettings

WRITTEN = [str(n).encode() for n in range(5)]
REFUSALS = {
    "no leader yet": KafkaError.NOT_LEADER_FOR_PARTITION,
    "too few replicas": KafkaError.NOT_ENOUGH_REPLICAS,
    "took too long": KafkaError.REQUEST_TIMED_OUT,
}
ONE_A_REQUEST = {"linger.ms": 0, "batch.num.messages": 1}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ScriptedCluster]:
    with scripted_cluster() as running:
        yield running


def stand_after_refusal(cluster: ScriptedCluster, producer: Producer, refusal: int) -> list[bytes]:
    """What stands in a new topic when the first of five writes is refused at first, while the others are sent."""
    topic = f"order-{uuid.uuid4().hex[:8]}"
    cluster.create_topic(topic)
    producer.list_topics(topic, timeout=20)
    cluster.answer_after(200)
    cluster.refuse_next_write(refusal)
    failed: list[KafkaError] = []

    def told(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    for value in WRITTEN:
        producer.produce(
            topic, value, partition=0, on_delivery=lambda error, _: failed.append(error) if error else None
        )
    assert producer.flush(30) == 0
    cluster.answer_after(0)
    assert failed == [], "the producer knows that it is not written"
    return read(cluster.bootstrap_servers, topic)


def read(bootstrap: str, topic: str) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []
    try:
        while True:
            message = consumer.poll(20)
            assert message is not None, "no answer from the mock cluster"
            if message.error() is not None:
                assert message.error().code() == KafkaError._PARTITION_EOF
                return found
            found.append(message.value())
    finally:
        consumer.close()


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_write_of_ours_is_neither_overtaken_nor_lost(cluster: ScriptedCluster, refusal: int) -> None:
    for_tests = ordered_producer(cluster.bootstrap_servers, linger_ms=0, batch_num_messages=1)
    assert stand_after_refusal(cluster, for_tests, refusal) == WRITTEN
    # The settings refuse this property; should it get through, it must not take the order away.
    properties = {**ONE_A_REQUEST, "max.in.flight": 5}
    settings = KafkaSettings(bootstrap_servers=cluster.bootstrap_servers).model_copy(update={"properties": properties})
    assert stand_after_refusal(cluster, Producer(producer_config(settings)), refusal) == WRITTEN


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize(
    ("properties", "stands"),
    [
        ({}, [*WRITTEN[1:], WRITTEN[0]]),
        ({"enable.idempotence": True}, WRITTEN[1:]),
    ],
    ids=["plain", "idempotence alone"],
)
def test_the_refusal_is_one_that_other_producers_fail_at(
    cluster: ScriptedCluster, properties: dict[str, Any], stands: list[bytes], refusal: int
) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, **ONE_A_REQUEST, **properties})
    assert stand_after_refusal(cluster, producer, refusal) == stands


# --- every producer of this tree is such a one

ROOT = Path(__file__).parents[2]
MAKERS = {"Producer", "SerializingProducer", "AIOProducer"}
ORDERED_BY = {"in_order", "producer_config"}
NOT_FOR_WRITING = {
    # Its process holds the mock cluster; nothing is written with it.
    ("consumer/demo/broker.py", "embedded_broker"),
    # These are what the test above shows to fail.
    ("tests/unit/test_order_of_writes.py", "test_the_refusal_is_one_that_other_producers_fail_at"),
}


def unordered(source: str, path: str) -> list[str]:
    """The places where a client's producer is made of a configuration that is not one of `ORDERED_BY`."""
    tree = ast.parse(source)
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "confluent_kafka"
        for alias in node.names
        if alias.name in MAKERS
    }
    found = []
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    excused = [
        node for function in functions if (path, function.name) in NOT_FOR_WRITING for node in ast.walk(function)
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node in excused:
            continue
        made_by = ast.unparse(node.func)
        if made_by not in names and made_by not in {f"confluent_kafka.{maker}" for maker in MAKERS}:
            continue
        config = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if not (isinstance(config, ast.Call) and ast.unparse(config.func) in ORDERED_BY):
            found.append(f"{path}:{node.lineno}: {ast.unparse(node)[:80]}")
    return found


def test_every_producer_is_made_in_order() -> None:
    paths = [path for folder in ("consumer", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    # What users would write instead of the service is written as they would, with nothing of ours.
    paths = [path for path in paths if path.parent.name != "peers"]
    found = [
        place for path in paths for place in unordered(path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
    ]
    assert found == [], "make it with brokers.producers.ordered_producer, in consumer/ with in_order"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from confluent_kafka import Producer\nProducer({'a': 1})", 1),
        ("from confluent_kafka import Producer as P\nP({'a': 1})", 1),
        ("import confluent_kafka\nconfluent_kafka.Producer(config)", 1),
        ("from confluent_kafka import Producer\ndef f():\n    return Producer(in_order({}), logger=None)", 1),
        ("from confluent_kafka import Producer\nProducer(in_order({'a': 1}))", 0),
        ("from simulated import Producer\nProducer()", 0),
    ],
)
def test_a_producer_made_otherwise_is_seen(source: str, count: int) -> None:
    assert len(unordered(source, "tests/any.py")) == count


@pytest.mark.parametrize("alias", ["max.in.flight", "request.required.acks"])
def test_no_property_undoes_it_whatever_name_it_goes_by(alias: str) -> None:
    # Of two names of one setting librdkafka takes the one that is given last.
    config = in_order({"max.in.flight.requests.per.connection": 5, "acks": 1, alias: 2})
    assert list(config.items()) == [
        ("acks", "all"),
        ("enable.idempotence", True),
        ("max.in.flight.requests.per.connection", 1),
    ]
