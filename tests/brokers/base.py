"""What every way to a broker has in common."""

from __future__ import annotations

import random
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from xml.etree import ElementTree

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

POM = Path(__file__).with_name("pom.xml")

SETTINGS = {
    # One node is broker and controller.
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # One node cannot keep three copies.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    # A test that names a wrong topic must fail, not make it.
    "auto.create.topics.enable": "false",
    # A member killed by a test must be missed within seconds, not after 45.
    "group.min.session.timeout.ms": "1000",
    "group.initial.rebalance.delay.ms": "0",
    # The same for groups of the `consumer` protocol, whose members are told the times by the broker.
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "500",
    # Tests date records in the past: the broker must not clean them up as out of date.
    "log.retention.ms": "-1",
}
"""A broker's settings for tests, whichever way it is run. Listeners and the data's place are the way's own."""


class UnavailableError(Exception):
    """This way to a broker is not open on this machine; the message says why."""


class Broker(ABC):
    """A Kafka that tests may use.

    Attributes:
        kind: `given`, `docker`, `java` or `mock`.
        bootstrap_servers: where clients connect, once started.
    """

    kind: str
    bootstrap_servers: str

    @property
    def is_real(self) -> bool:
        """False for the mock cluster, which answers only a part of the protocol."""
        return True

    @property
    def can_restart(self) -> bool:
        """Whether `stop` and `start` are ours to call in a test."""
        return True

    @property
    @abstractmethod
    def description(self) -> str:
        """A few words for the person at the terminal."""

    @abstractmethod
    def start(self) -> None:
        """Start it, or start it again on the same address and data; returns when it answers.

        Raises:
            UnavailableError: what it needs could not be fetched.
            RuntimeError: it was there, and did not come up; the message holds the end of its log.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop it in an orderly way and keep its data."""

    def restart(self) -> None:
        """Stop it and start it on the same address and data."""
        self.stop()
        self.start()

    def frozen(self) -> AbstractContextManager[None]:
        """For the length of the context it keeps its connections and answers nothing.

        Raises:
            NotImplementedError: this kind cannot be.
        """
        raise NotImplementedError(f"{self.description} cannot be frozen")

    def close(self) -> None:
        """Stop it and throw its data away."""
        self.stop()

    def create_topics(self, partitions: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """Create topics: name -> number of partitions; `config` is what each is to have of its own settings."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        wanted = [NewTopic(name, count, 1, config=dict(config or {})) for name, count in partitions.items()]
        for future in admin.create_topics(wanted).values():
            future.result(20)


def kafka_version() -> str:
    """The version of Apache Kafka that the tests run on, as the pom names it."""
    version = ElementTree.parse(POM).findtext("{*}properties/{*}kafka.version")
    if version is None:
        raise RuntimeError(f"{POM} names no kafka.version: put it back")
    return version


def free_port() -> int:
    """A loopback port that nobody listens on.

    Below the range that the system hands to outgoing connections, so that no client can take it while a test has
    the broker stopped.
    """
    while True:
        port = random.randint(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until_it_answers(bootstrap_servers: str, within: float, alive: Callable[[], bool]) -> None:
    """Ask until the broker keeps groups, the last thing that it comes to do.

    Args:
        within: seconds until giving up.
        alive: asked between tries: there is no use in waiting for a broker that has ended.

    Raises:
        RuntimeError: it never answered.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "is-it-there",
            # By default it would wait longer between two tries than the broker takes to start.
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 200,
            # That it is not there yet is no news.
            "log_level": 0,
        }
    )
    deadline = time.monotonic() + within
    try:
        while time.monotonic() < deadline and alive():
            try:
                # Only the first such question makes the broker set up its store of offsets.
                consumer.committed([TopicPartition("any", 0)], timeout=0.5)
            except KafkaException:
                # Some errors come at once and not after the time-out.
                time.sleep(0.05)
            else:
                return
    finally:
        consumer.close()
    state = f"did not answer within {within:.0f} s" if alive() else "ended while starting"
    raise RuntimeError(f"the broker at {bootstrap_servers} {state}")
