"""`opt-out topics` against a broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import brokers
from confluent_kafka.admin import AdminClient, NewTopic

NAMES = ("OFFER", "CHECKOUT", "OUTCOME", "DEAD_LETTER")


class Command:
    """`opt-out topics` with four topic names of its own."""

    def __init__(self, broker: brokers.Broker) -> None:
        stem = uuid.uuid4().hex[:8]
        self.topics = {name: f"{name.lower()}-{stem}" for name in NAMES}
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
        self._environ = {f"OPT_OUT_KAFKA__{name}_TOPIC": topic for name, topic in self.topics.items()}
        self._environ["OPT_OUT_KAFKA__BOOTSTRAP_SERVERS"] = broker.bootstrap_servers

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "consumer", "topics", *arguments],
            env=os.environ | self._environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def create(self, name: str, partitions: int, **config: str) -> None:
        topic = NewTopic(
            self.topics[name], partitions, 1, config={key.replace("_", "."): value for key, value in config.items()}
        )
        for answer in self.admin.create_topics([topic]).values():
            answer.result(30)


def test_missing_inputs_are_named_then_created_on_demand_then_found_fit(real_kafka: brokers.Broker) -> None:
    topics = Command(real_kafka)
    first = topics()
    assert first.returncode == 1
    assert f"the input {topics.topics['OFFER']} does not exist" in first.stderr
    assert "Traceback" not in first.stderr

    created = topics("--create-inputs", "--partitions", "3")
    assert created.returncode == 0, created.stderr
    assert created.stdout.count("created") == 4

    again = topics("--check")
    assert again.returncode == 0, again.stderr
    assert "created" not in again.stdout
    assert "365d" in again.stdout
    document = json.loads(topics("--check", "--output", "json").stdout)
    assert [topic["topic"] for topic in document["topics"]] == list(topics.topics.values())
    outcomes = document["topics"][2]
    assert (outcomes["partitions"], outcomes["state"], outcomes["cleanup_policy"]) == (3, "ok", "delete")
    assert (outcomes["kept_for"], outcomes["retention_ms"]) == ("365d", 365 * 86_400_000)
    found = topics.admin.list_topics(timeout=30).topics
    assert {len(found[topic].partitions) for topic in topics.topics.values()} == {3}


def test_unequal_and_compacted_inputs_are_refused_with_the_counts(real_kafka: brokers.Broker) -> None:
    topics = Command(real_kafka)
    topics.create("OFFER", 3)
    topics.create("CHECKOUT", 2, cleanup_policy="compact")
    done = topics()
    assert done.returncode == 1
    assert f"{topics.topics['OFFER']} has 3 partitions but {topics.topics['CHECKOUT']} has 2" in done.stderr
    assert f"{topics.topics['CHECKOUT']} is compacted" in done.stderr
