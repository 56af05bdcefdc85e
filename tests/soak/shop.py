"""Customers who shop while a run at size goes on: their events are written as they happen."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Message
from support.deployment import Deployment, now

from consumer.demo.feed import feed
from consumer.demo.generator import Event, Plan, generate

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


class Shop:
    """Customers, in a thread: their events are written as they happen.

    Attributes:
        written: how many events were handed to the producer.
        closed: set when all are acknowledged, or it has failed.
        failure: why it failed, if it did.
        worst_delay: ms from an event to the broker's acknowledgement, the longest.
        checkout_at: when each checkout was acknowledged (ms), by partition and offset: from then on it can be read.
        overdue: records acknowledged longer after their event than lateness allows: they may count as late.
    """

    def __init__(self, deployment: Deployment, plan: Plan, lateness: int) -> None:
        self.written = 0
        self.closed = threading.Event()
        self.failure: Exception | None = None
        self.worst_delay = 0
        self.overdue: set[Place] = set()
        self.checkout_at: dict[tuple[int, int], int] = {}
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
        at = now()
        if message.topic() == self._deployment.checkout_topic:
            self.checkout_at[message.partition() or 0, message.offset() or 0] = at
        delay = at - message.timestamp()[1]
        self.worst_delay = max(self.worst_delay, delay)
        if delay > self._lateness:
            self.overdue.add((message.topic() or "", message.partition() or 0, message.offset() or 0))
