"""The embedded broker: librdkafka's mock cluster, which lives in this process and speaks Kafka to any other.

It is for the demo and for trying things out. It keeps everything in memory, about 5 MB a partition, and drops what
is older without a word; every topic has four partitions; and it makes a topic when one asks for its metadata.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

PARTITIONS = 4
"""Partitions that the embedded broker gives to every topic."""

MIN_SESSION_TIMEOUT_MS = 3200
"""Its groups wait 3 s for their first members: a member with a shorter session time-out never gets a partition."""


@contextmanager
def embedded_broker() -> Iterator[str]:
    """Run a broker on a free loopback port for as long as the context lasts; gives its bootstrap servers.

    Raises:
        RuntimeError: librdkafka did not start it.
    """
    handle = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1, "log_level": 0})
    try:
        brokers = handle.list_topics(timeout=10).brokers.values()
    except KafkaException as error:
        raise RuntimeError(f"the embedded broker did not start: {error}") from error
    # The generator's frame holds the handle; when it goes, so does the cluster.
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    del handle


def make_topics(bootstrap: str, names: Iterable[str], timeout_s: float = 10) -> None:
    """Make topics on the embedded broker, which knows no other way than being asked for them.

    Raises:
        RuntimeError: a topic was not there in time.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    for name in names:
        until = time.monotonic() + timeout_s
        while len(admin.list_topics(name, timeout=timeout_s).topics[name].partitions) != PARTITIONS:
            if time.monotonic() > until:
                raise RuntimeError(f"the embedded broker did not make the topic {name} in {timeout_s:g} s")
