"""What a run at size needs: the join's spans, a deployment's settings for them, and customers who shop meanwhile."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import Message
from support.deployment import Deployment, now

from consumer.audit.calls import ReferenceRules
from consumer.demo.feed import feed
from consumer.demo.generator import Event, Plan, generate

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(frozen=True)
class Spans:
    """The join's spans, ms: short, so that thousands of offers are decided within minutes.

    `spare` is what of lateness the customers make no use of.
    """

    window: int
    grace: int
    lookback: int
    lateness: int
    spare: int = 0

    @property
    def rules(self) -> ReferenceRules:
        """As the judge wants them."""
        return ReferenceRules(self.window, self.grace, self.lookback)

    def plan(self, events: int, span_s: float, seed: int) -> Plan:
        """Customers who come over `span_s` seconds."""
        lateness = self.lateness - self.spare
        return Plan(events, int(span_s * 1000), self.window, self.grace, self.lookback, lateness, seed=seed)

    def settings(self) -> dict[str, str]:
        """For a `Deployment`: these spans, and what else a run at size has other than a test."""
        return {
            "KAFKA__COMMIT_INTERVAL": "1s",
            "KAFKA__REVOKE_TIMEOUT": "10s",
            "JOIN__WINDOW": f"{self.window}ms",
            "JOIN__CHECKOUT_GRACE": f"{self.grace}ms",
            "JOIN__LOOKBACK": f"{self.lookback}ms",
            "JOIN__LATENESS": f"{self.lateness}ms",
            "JOIN__IDLE_AFTER": "1s",
            "LOG__LEVEL": "info",
        }


class Shop:
    """Customers, in a thread: their events are written as they happen.

    Attributes:
        written: how many events were handed to the producer.
        closed: set when all are acknowledged, or it has failed.
        failure: why it failed, if it did.
        worst_delay: ms from an event to the broker's acknowledgement, the longest.
        overdue: records acknowledged longer after their event than lateness allows: they may count as late.
    """

    def __init__(self, deployment: Deployment, plan: Plan, lateness: int) -> None:
        self.written = 0
        self.closed = threading.Event()
        self.failure: Exception | None = None
        self.worst_delay = 0
        self.overdue: set[Place] = set()
        self._deployment = deployment
        self._plan = plan
        self._lateness = lateness
        self._events = deque(generate(plan))
        self._stop = threading.Event()

    @contextmanager
    def open(self) -> Iterator[Shop]:
        """Trade until all is written, or the context ends."""
        thread = threading.Thread(target=self._trade, name="shop", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(90)

    def wait(self, seconds: float) -> bool:
        """Wait until all is written; False if it is not yet.

        Raises:
            FeedError: it never will be.
        """
        closed = self.closed.wait(seconds)
        if self.failure is not None:
            raise self.failure
        return closed

    def _trade(self) -> None:
        try:
            feed(
                self._customers(),
                bootstrap=self._deployment.bootstrap,
                offer_topic=self._deployment.offer_topic,
                checkout_topic=self._deployment.checkout_topic,
                base_ms=now() - self._plan.lookback // 2,
                paced=True,
                on_written=self._count,
                on_acknowledged=self._acknowledged,
                stop=self._stop,
            )
        except Exception as error:  # raised again by `wait`, in the thread that can do something about it
            self.failure = error
        self.closed.set()

    def _customers(self) -> Iterator[Event]:
        while self._events:  # each is let go once it is written: half a million are half a gigabyte
            yield self._events.popleft()

    def _count(self, *_: object) -> None:
        self.written += 1

    def _acknowledged(self, message: Message) -> None:
        delay = now() - message.timestamp()[1]
        self.worst_delay = max(self.worst_delay, delay)
        if delay > self._lateness:
            self.overdue.add((message.topic() or "", message.partition() or 0, message.offset() or 0))


def end(deployment: Deployment, within: float) -> list[int]:
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
