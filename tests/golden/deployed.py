"""A deployment seen from outside only: the commands as processes, topics, and the schemas as files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import fastavro
from brokers.producers import ordered_producer
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from golden.nets import ROOT

T = TypeVar("T")

TOPICS = ("offers", "checkouts", "outcomes", "dead-letters")
SETTINGS = {
    "KAFKA__COMMIT_INTERVAL": "200ms",
    "JOIN__WINDOW": "4s",
    "JOIN__CHECKOUT_GRACE": "500ms",
    "JOIN__LOOKBACK": "8s",
    "JOIN__LATENESS": "1s",
    "JOIN__IDLE_AFTER": "500ms",
    "DELIVERY__RATE_LIMIT": "0",
    "DELIVERY__NOT_FOUND_LIMIT": "0",
    "DELIVERY__REJECTED": "dead-letter",
    "SERVER__PORT": "0",
}


def schema(name: str) -> Any:
    """A schema of schemas/, in which times are plain numbers."""
    text = (ROOT / "schemas" / f"{name}.avsc").read_text(encoding="utf-8")
    drop = "logicalType"
    return fastavro.parse_schema(json.loads(text, object_hook=lambda o: {k: v for k, v in o.items() if k != drop}))


def encode(name: str, event: dict[str, Any]) -> bytes:
    """An event as plain Avro."""
    stream = BytesIO()
    fastavro.schemaless_writer(stream, schema(name), event)
    return stream.getvalue()


def decode(name: str, value: bytes) -> Any:
    """A record of plain Avro, which it has to be to its last byte."""
    stream = BytesIO(value)
    found = fastavro.schemaless_reader(stream, schema(name), None)
    assert stream.tell() == len(value)
    return found


def until(condition: Callable[[], T], *, within: float, what: str) -> T:
    """Wait until the condition holds; fails, naming `what`, after `within` seconds."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.05)
    return found


class Cluster:
    """Topics of one partition each, on a broker of the tests; their names have a part that is new each time."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        part = uuid.uuid4().hex[:8]
        self.topics = {name: f"golden-{name}-{part}" for name in TOPICS}
        self.group = f"golden-{part}"
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for future in admin.create_topics([NewTopic(name, 1, 1) for name in self.topics.values()]).values():
            future.result(20)
        # Idempotent, so that no batch that is sent again comes to stand behind a later one.
        self._producer = ordered_producer(bootstrap)
        self._written = 0

    def write(self, topic: str, key: str | None, value: bytes | None, at: int, headers: Any = ()) -> None:
        """Write a record; `at` is its timestamp in ms. Returns once the broker has it."""
        self._producer.produce(self.topics[topic], value, key, 0, timestamp=at, headers=[*headers])
        assert self._producer.flush(30) == 0
        self._written += topic == "offers"

    def is_settled(self) -> bool:
        """Whether the group has put all offers behind it."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group})
        try:
            (place,) = consumer.committed([TopicPartition(self.topics["offers"], 0)], timeout=20)
            return bool(place.offset == self._written)
        finally:
            consumer.close()

    def read(self, topic: str) -> list[Message]:
        """All records of a topic."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"look-{uuid.uuid4().hex}"})
        try:
            place = TopicPartition(self.topics[topic], 0, 0)
            end = consumer.get_watermark_offsets(place, timeout=20)[1]
            consumer.assign([place])
            found: list[Message] = []
            until(
                lambda: found.extend(consumer.consume(1_000, 0.2)) or len(found) >= end, within=30, what="all records"
            )
            return found
        finally:
            consumer.close()

    def settings(self, **more: str) -> dict[str, str]:
        names = zip(("OFFER", "CHECKOUT", "OUTCOME", "DEAD_LETTER"), self.topics.values(), strict=True)
        return {
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA__GROUP_ID": self.group,
            **{f"KAFKA__{name}_TOPIC": topic for name, topic in names},
            **SETTINGS,
            **more,
        }


@contextmanager
def emulator(log: Path, scenario: str) -> Iterator[str]:
    """The emulated API, on a free port; its base URL."""
    command = ["emulate-api", "--port", "0", "--scenario", scenario, "--key", "k", "--secret", "s", "--log", str(log)]
    with _process(command, {}, subprocess.PIPE) as process:
        assert process.stderr is not None
        words = process.stderr.readline()
        found = re.search(r"http://\S+", words)
        assert found is not None, words + process.stderr.read()
        yield found[0]


@contextmanager
def service(log: Path, settings: dict[str, str]) -> Iterator[None]:
    """`opt-out run` for as long as the context lasts; then it is told to stop, and has to exit 0."""
    environ = {f"OPT_OUT_{name}": value for name, value in settings.items()}
    with log.open("a") as stream, _process(["run"], environ, stream) as process:
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        except BaseException:
            print(log.read_text()[-4_000:])
            raise


@contextmanager
def _process(command: list[str], environ: dict[str, str], stderr: Any) -> Iterator[subprocess.Popen[str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPT_OUT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "consumer", *command], env=kept | environ, stderr=stderr, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
