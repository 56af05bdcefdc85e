"""Drives the real consumer, as processes, against a broker and the API emulator, and looks at both from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from brokers.producers import ordered_producer
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from consumer.codecs.plain import PlainCodec
from consumer.emulator import emulator
from consumer.emulator.emulator import DEMO_KEY, DEMO_SECRET, Emulator
from consumer.events import OfferOutcome

from .preloaded import PreloadedProgram, run_preloaded

T = TypeVar("T")

PARTITIONS = 4
PROTOCOL = os.environ.get("TEST_GROUP_PROTOCOL", "classic")
"""The group protocol of the deployments of tests that do not name one."""
MEMBERSHIP = {
    "classic": {"KAFKA__PROPERTIES": json.dumps({"session.timeout.ms": 6000, "heartbeat.interval.ms": 500})},
    # The test broker's own settings are the same.
    "consumer": {},
}
WINDOW_MS, GRACE_MS, LOOKBACK_MS, LATENESS_MS = 4_000, 500, 8_000, 1_000
WRONG_CLOCK = Path(__file__).with_name("wrong_clock.py")
IMPATIENT = Path(__file__).with_name("impatient.py")
AGE = 20_000
"""Milliseconds: an offer presented so long ago is due as soon as the topics are found idle."""


def until(condition: Callable[[], T], *, within: float, what: str) -> T:
    """Wait until the condition is true; fails, naming `what`, after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.05)


class Process:
    """One consumer process and its log.

    `clock`: a file that says by how many seconds its wall clock is ahead; `patience`: the seconds after which it says
    what stands still.
    """

    def __init__(
        self, environ: dict[str, str], log: Path, clock: Path | None = None, patience: float | None = None
    ) -> None:
        self.log = log
        self.popen: PreloadedProgram | subprocess.Popen[bytes]
        if clock is None and patience is None:
            self.popen = PreloadedProgram(("run",), environ, log, log)
            return
        program = [str(WRONG_CLOCK), str(clock)] if patience is None else [str(IMPATIENT), str(patience)]
        with log.open("ab") as stream:
            self.popen = subprocess.Popen([sys.executable, *program, "run"], env=environ, stdout=stream, stderr=stream)

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log's lines, of one event if it is named."""
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and event in (None, entry.get("event")):
                found.append(entry)
        return found

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def terminate(self, within: float = 30) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(within)


@dataclass
class Deployment:
    """Topics of its own, a group of its own, an emulator of its own.

    `compacted` may name an input that is, by the beginning of its name; `replicas` are the brokers that hold each
    partition, the preferred leader first.
    """

    bootstrap: str
    api: Emulator
    folder: Path
    settings: dict[str, str]
    partitions: tuple[int, int] = (PARTITIONS, PARTITIONS)
    protocol: str = PROTOCOL
    compacted: str = ""
    replicas: tuple[int, ...] = ()
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    processes: list[Process] = field(default_factory=list)
    codec: PlainCodec = field(default_factory=PlainCodec)

    def __post_init__(self) -> None:
        self.offer_topic, self.checkout_topic = f"offers-{self.suffix}", f"checkouts-{self.suffix}"
        self.outcome_topic, self.dead_letter_topic = f"outcomes-{self.suffix}", f"dead-{self.suffix}"
        self.group = f"group-{self.suffix}"
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        self._producer = ordered_producer(self.bootstrap)
        counts = {
            self.offer_topic: self.partitions[0],
            self.checkout_topic: self.partitions[1],
            self.outcome_topic: max(self.partitions),
            self.dead_letter_topic: max(self.partitions),
        }
        for future in self.admin.create_topics([self._topic(name, count) for name, count in counts.items()]).values():
            future.result(20)

    def _topic(self, name: str, count: int) -> NewTopic:
        config = {"cleanup.policy": "compact"} if self.compacted and name.startswith(self.compacted) else {}
        if self.replicas:
            return NewTopic(name, count, replica_assignment=[list(self.replicas)] * count, config=config)
        return NewTopic(name, count, 1, config=config)

    # --- the consumers

    def environ(self, **settings: str) -> dict[str, str]:
        ours = {
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap,
            "KAFKA__GROUP_ID": self.group,
            "KAFKA__OFFER_TOPIC": self.offer_topic,
            "KAFKA__CHECKOUT_TOPIC": self.checkout_topic,
            "KAFKA__OUTCOME_TOPIC": self.outcome_topic,
            "KAFKA__DEAD_LETTER_TOPIC": self.dead_letter_topic,
            "KAFKA__COMMIT_INTERVAL": "300ms",
            "KAFKA__REVOKE_TIMEOUT": "3s",
            "KAFKA__GROUP_PROTOCOL": self.protocol,
            **MEMBERSHIP[self.protocol],
            "JOIN__WINDOW": f"{WINDOW_MS}ms",
            "JOIN__CHECKOUT_GRACE": f"{GRACE_MS}ms",
            "JOIN__LOOKBACK": f"{LOOKBACK_MS}ms",
            "JOIN__LATENESS": f"{LATENESS_MS}ms",
            "JOIN__IDLE_AFTER": "500ms",
            "API__BASE_URL": self.api.base_url,
            "API__KEY": DEMO_KEY,
            "API__SECRET": DEMO_SECRET,
            "API__TIMEOUT": "2s",
            "DELIVERY__RATE_LIMIT": "0",
            "DELIVERY__NOT_FOUND_LIMIT": "0",
            # Several consumers run on one machine.
            "SERVER__PORT": "0",
            "LOG__LEVEL": "debug",
            **self.settings,
            **settings,
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OPT_OUT_")}
        return {**kept, **{f"OPT_OUT_{name}": value for name, value in ours.items()}}

    def start(self, *, clock: Path | None = None, patience: float | None = None, **settings: str) -> Process:
        log = self.folder / f"consumer-{len(self.processes)}.log"
        process = Process(self.environ(**settings), log, clock, patience)
        self.processes.append(process)
        return process

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """`opt-out` with another command, run to its end."""
        return run_preloaded(*arguments, environ=self.environ(**settings), timeout=120)

    def positions(self, *arguments: str, **settings: str) -> tuple[int, str]:
        """`opt-out positions`: its exit code, and all that it says, in one line."""
        ran = self.command("positions", *arguments, **settings)
        return ran.returncode, " ".join((ran.stdout + ran.stderr).split())

    def assigned(self) -> dict[str, dict[str, set[int]]]:
        """Member -> topic -> partitions, as the broker tells."""
        group = self.admin.describe_consumer_groups([self.group])[self.group].result(20)
        members: dict[str, dict[str, set[int]]] = {}
        for member in group.members:
            topics = members.setdefault(member.member_id, {})
            for place in member.assignment.topic_partitions:
                topics.setdefault(place.topic, set()).add(place.partition)
        return members

    # --- events

    def present(
        self,
        offer_id: str,
        *,
        session: str = "s1",
        at: int | None = None,
        partner: str = "ACME",
        stamp: int | None = None,
    ) -> None:
        """An offer is shown; its record is stamped as it is dated, if not told otherwise (ms)."""
        at = now() if at is None else at
        self.send_offer(
            {
                "event_id": uuid.uuid4().hex,
                "session_id": session,
                "partner_code": partner,
                "offer_id": offer_id,
                "presented_at": at,
                "price": "9.90",
                "metadata": {"secret-note": "do not show"},
            },
            at if stamp is None else stamp,
        )

    def check_out(
        self,
        *bought: str,
        session: str = "s1",
        at: int | None = None,
        key: str | None = None,
        stamp: int | None = None,
    ) -> None:
        """A session checks out; its record is stamped as an offer's is."""
        at = now() if at is None else at
        event = {
            "event_id": uuid.uuid4().hex,
            "session_id": session,
            "checkout_id": f"checkout-{uuid.uuid4().hex[:6]}",
            "completed_at": at,
            "purchased_offer_ids": list(bought),
        }
        self.produce(
            self.checkout_topic, key or session, self.codec.encode_checkout(event), at if stamp is None else stamp
        )

    def send_offer(self, event: dict[str, Any], timestamp: int) -> None:
        self.produce(self.offer_topic, event["session_id"], self.codec.encode_offer(event), timestamp)

    def produce(self, topic: str, key: str | None, value: bytes | None, timestamp: int, **more: Any) -> None:
        while True:
            try:
                self._producer.produce(topic, key=key, value=value, timestamp=timestamp, **more)
                break
            except BufferError:
                self._producer.poll(0.1)

    def write_anew(self) -> None:
        """Write with another producer: a broker that has lost what one wrote takes no more of it."""
        self._producer = ordered_producer(self.bootstrap)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def delete_records(self, topic: str, before: int) -> None:
        """Delete what stands before an offset in each partition, as retention would."""
        places = [TopicPartition(topic, p, before) for p in range(self.partitions[topic == self.checkout_topic])]
        for future in self.admin.delete_records(places).values():
            future.result(20)

    def make_anew(self, topic: str) -> None:
        """Somebody deletes an input topic and makes it anew under its name, with as many partitions."""
        count = self.partitions[topic == self.checkout_topic]
        self.admin.delete_topics([topic])[topic].result(20)
        until(lambda: topic not in self.admin.list_topics(timeout=20).topics, within=20, what="the topic to be gone")

        def made() -> bool:
            try:
                self.admin.create_topics([NewTopic(topic, count, 1)])[topic].result(20)
            except KafkaException:
                return False  # the old one is still there
            return True

        def is_whole() -> bool:
            return len(self.admin.list_topics(topic, timeout=20).topics[topic].partitions) == count

        until(made, within=20, what="the topic to be made anew")
        until(is_whole, within=20, what="the topic to be there")

    # --- what is seen from outside

    def committed(self, topic: str) -> dict[int, tuple[int, str]]:
        """Partition -> (offset, metadata) that the group has committed; offset -1001 where nothing is."""
        return committed_offsets(self.bootstrap, self.group, topic)

    def committed_total(self) -> int:
        """How many records of the offer topic the group has put behind it."""
        return sum(max(offset, 0) for offset, _ in self.committed(self.offer_topic).values())

    def outcomes(self) -> list[OfferOutcome]:
        return [self.codec.decode_outcome(m.value() or b"") for m in read_topic(self.bootstrap, self.outcome_topic)]

    def dead_letters(self) -> list[Message]:
        return read_topic(self.bootstrap, self.dead_letter_topic)

    def called(self) -> list[str]:
        """The offer ids of all calls that reached the API, in order."""
        return [call.offer_id for call in self.api.calls()]

    def settled(self) -> list[str]:
        """The offer ids of all calls that were answered for good."""
        return [call.offer_id for call in self.api.calls() if call.terminal]


@contextmanager
def deployed(bootstrap: str, folder: Path, *, scenario: str = "204", **more: Any) -> Iterator[Deployment]:
    """A deployment for one test; what it started is ended."""
    with ExitStack() as stack:
        api = stack.enter_context(emulator.running(folder / "calls.jsonl", scenario=scenario))
        deployment = Deployment(bootstrap, api, folder, more.pop("settings", {}), **more)
        try:
            yield deployment
        except BaseException:
            for process in deployment.processes:
                print(f"--- {process.log.name}\n{process.text()[-4000:]}")
            raise
        finally:
            for process in deployment.processes:
                if process.running:
                    process.kill()


def now() -> int:
    """The wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


def committed_offsets(bootstrap: str, group: str, topic: str) -> dict[int, tuple[int, str]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    try:
        count = len(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
        places = consumer.committed([TopicPartition(topic, p) for p in range(count)], timeout=20)
        return {place.partition: (place.offset, place.metadata or "") for place in places}
    finally:
        consumer.close()


def read_topic(bootstrap: str, topic: str) -> list[Message]:
    """Every record of a topic, from its first to its present end."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"look-{uuid.uuid4().hex}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    try:
        count = len(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(count)])
        messages: list[Message] = []
        ended: set[int] = set()
        deadline = time.monotonic() + 60
        while len(ended) < count:
            assert time.monotonic() < deadline, f"{topic} was not read within a minute"
            for message in consumer.consume(1_000, 0.2):
                error = message.error()
                if error is None:
                    messages.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
        return messages
    finally:
        consumer.close()


def end_all(deployment: Deployment, within: float) -> list[int]:
    """Ask every process that still runs to stop, together; a code of -9 is one that would not within `within` s."""
    running = [process for process in deployment.processes if process.running]
    for process in running:
        process.popen.terminate()
    deadline = time.monotonic() + within
    while any(process.running for process in running) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in running:
        if process.running:
            process.kill()
    return [process.popen.returncode for process in running]


def headers(message: Message) -> dict[str, str]:
    """The headers of a dead letter, as text."""
    return {name: value.decode() for name, value in message.headers() or ()}


def moment(at: int) -> str:
    """A time in ms as a setting takes it."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()
