"""Topics with outcomes as a deployment leaves them, on a broker, and the commands that read them."""

from __future__ import annotations

import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from brokers.producers import ordered_producer
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from support.builders import CODEC
from support.preloaded import run_preloaded
from support.run_command import clean_environ

from consumer.codecs.framing import framed
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.row_file import as_time

DAY = 86_400_000

FATES: list[tuple[Outcome, Reason, int | None]] = [
    (Outcome.PURCHASED, Reason.PURCHASED, None),
    (Outcome.OPTED_OUT, Reason.DECLINED, 204),
    (Outcome.OPTED_OUT, Reason.ABANDONED, 204),
    (Outcome.NOT_FOUND, Reason.DECLINED, 404),
    (Outcome.NOT_FOUND, Reason.ABANDONED, 404),
    (Outcome.IGNORED, Reason.ABANDONED, None),
    (Outcome.DEAD_LETTERED, Reason.LATE, None),
    (Outcome.DEAD_LETTERED, Reason.IMPLAUSIBLE_TIME, None),
    (Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE, None),
    (Outcome.DEAD_LETTERED, Reason.DECLINED, 422),
    (Outcome.RELEASED, Reason.RELEASED, None),
]
"""Each outcome with each reason that it may have, and the API's answer."""


class EvidenceTopics:
    """Four topics of their own, of two partitions, and the commands over them.

    Attributes:
        day: a midnight in UTC (ms), two days ago, so that no retention reaches it.
    """

    def __init__(self, bootstrap: str, partitions: int = 2) -> None:
        stem = uuid.uuid4().hex[:8]
        self.topics = {name: f"{name.lower()}-{stem}" for name in ("OFFER", "CHECKOUT", "OUTCOME", "DEAD_LETTER")}
        self.group = f"group-{stem}"
        self.partitions = partitions
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)
        self.day = round(midnight.timestamp() * 1000)
        self.environ = {
            "OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "OPT_OUT_KAFKA__GROUP_ID": self.group,
            **{f"OPT_OUT_KAFKA__{name}_TOPIC": topic for name, topic in self.topics.items()},
        }
        self._bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        made = self.admin.create_topics([NewTopic(topic, partitions, 1) for topic in self.topics.values()])
        for answer in made.values():
            answer.result(30)
        self._producer = ordered_producer(bootstrap)
        self._made = 0

    # --- what stands in the topics

    def outcome(
        self,
        outcome: Outcome = Outcome.PURCHASED,
        reason: Reason = Reason.PURCHASED,
        status: int | None = None,
        *,
        at: int = 3_600_000,
        took: int = 400_000,
        schema_id: int | None = None,
        partition: int = 0,
        **fields: Any,
    ) -> OfferOutcome:
        """Write the outcome of a chain that was presented `at` so many ms into the day; by default another chain each
        time. Returns it, for `again`."""
        self._made += 1
        presented = self.day + at
        told = OfferOutcome(
            **{
                "offer_id": f"offer-{self._made}",
                "partner_code": "ACME",
                "session_id": f"session-{self._made}",
                "outcome": outcome,
                "reason": reason,
                "checkout_id": None,
                "presented_at": presented,
                "decided_at": presented + 60_000,
                "settled_at": presented + 60_000 + took,
                "status_code": status,
                "attempts": int(status is not None),
                "details": Details("travel", "DE", "EUR", "12.50"),
                "source": RecordRef(self.topics["OFFER"], partition, self._made),
                "mode": Mode.LIVE,
                "note": None,
            }
            | fields
        )
        self.again(told, schema_id=schema_id)
        return told

    def again(self, told: OfferOutcome, *, schema_id: int | None = None, **changes: Any) -> None:
        """Write an outcome once more, changed if told so."""
        changed = replace(told, **changes)
        value = CODEC.encode_outcome(changed)
        self.record(
            "OUTCOME",
            value if schema_id is None else framed(schema_id, value),
            partition=changed.source.partition,
            stamp=changed.settled_at,
        )

    def offer(self, session: str, offer_id: str, at: int, *, partition: int = 0, **fields: Any) -> None:
        """A presentation at so many ms into the day, stamped as it is dated."""
        event = {"event_id": "e", "session_id": session, "partner_code": "ACME", "offer_id": offer_id, **fields}
        value = CODEC.encode_offer({**event, "presented_at": self.day + at})
        self.record("OFFER", value, key=session, partition=partition, stamp=self.day + at)

    def checkout(self, session: str, at: int, *bought: str, partition: int = 0) -> None:
        """A checkout at so many ms into the day, stamped as it is dated."""
        event = {"event_id": "e", "session_id": session, "checkout_id": f"c-{session}"}
        value = CODEC.encode_checkout({**event, "completed_at": self.day + at, "purchased_offer_ids": list(bought)})
        self.record("CHECKOUT", value, key=session, partition=partition, stamp=self.day + at)

    def dead_letter(self, reason: str, offset: int, at: int, topic: str = "OFFER") -> None:
        """A record of an input that could not be used."""
        headers = {
            "reason": reason,
            "source.topic": self.topics[topic],
            "source.partition": "0",
            "source.offset": str(offset),
            "source.timestamp": str(self.day + at),
        }
        self.record("DEAD_LETTER", b"?", stamp=self.day + at, headers=list(headers.items()))

    def record(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: str | None = None,
        partition: int = 0,
        stamp: int = -1,
        headers: list[tuple[str, str | bytes | None]] | None = None,
    ) -> None:
        """A record of any bytes."""
        self._producer.produce(
            self.topics[topic],
            value,
            None if key is None else key.encode(),
            partition=partition,
            timestamp=stamp,
            headers=headers or [],
        )

    def record_at_once(self, topic: str, value: bytes, partition: int) -> None:
        """One of very many records, stamped now; waits while the client's queue is full."""
        while True:
            try:
                self._producer.produce(self.topics[topic], value, partition=partition)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def written(self) -> None:
        """Wait until all of it has arrived."""
        assert self._producer.flush(30) == 0

    def commit(self, topic: str, partition: int, offset: int, metadata: str = "") -> None:
        """What a deployment has committed of an input."""
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": self.group})
        place = TopicPartition(self.topics[topic], partition, offset, metadata)
        consumer.commit(offsets=[place], asynchronous=False)
        consumer.close()

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """What retention does."""
        place = TopicPartition(self.topics[topic], partition, offset)
        for answer in self.admin.delete_records([place]).values():
            answer.result(30)

    # --- the commands

    def __call__(
        self, command: str, *arguments: str, begin: int = 0, end: int = DAY, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over a range of ms into the day."""
        words = self._words(command, *arguments, begin=begin, end=end)
        return run_preloaded(*words, environ=self._environ(environ), timeout=120)

    def begin(self, command: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Begin a command over the day, in a group of processes of its own.

        It hears Ctrl-C though whoever runs the tests does not: what a shell begins in the background ignores it, and
        all that comes of that inherits it.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "consumer", *self._words(command, *arguments, begin=0, end=DAY)],
            env=self._environ(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - it takes no lock
        )

    def _words(self, command: str, *arguments: str, begin: int, end: int) -> list[str]:
        span = ("--from", as_time(self.day + begin), "--to", as_time(self.day + end))
        return [command, *span, *arguments]

    def _environ(self, environ: dict[str, str]) -> dict[str, str]:
        return clean_environ() | self.environ | environ | {"COLUMNS": "200", "NO_COLOR": "1"}
