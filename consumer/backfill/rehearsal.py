"""The edges of a dry run: the loop decides as it always does, and nothing is called, written or committed.

What it commits stays in memory, for the tasks that begin with it. No group is joined: all partitions are its own.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, Message, TopicPartition

from ..calls import CallOwner, CallResult, OptOutCall
from ..delivery.doing import NOTHING_YET, DeliverySnapshot
from ..events import OfferOutcome, Outcome
from ..kafka.record import Record

Callback = Callable[[Any, list[TopicPartition]], None]


class RehearsedCalls:
    """Makes no call: each is taken for recorded at once, if its owner would let it leave. `Deliveries`."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[CallResult] = queue.SimpleQueue()

    def start(self) -> None:
        """See `Deliveries`; so with all that do nothing here."""

    def submit(self, calls: Iterable[OptOutCall]) -> None:
        """Answer them."""
        for call in calls:
            withheld = call.owner.withholds(call)
            if withheld is None:
                self.results.put(CallResult(call, Outcome.OPTED_OUT, None, 0, None))
            else:
                outcome = None if withheld.released is None else Outcome.RELEASED
                self.results.put(CallResult(call, outcome, None, 0, withheld.released))

    def retry_refused(self, call: OptOutCall) -> None:
        """Nothing is refused."""

    def cancel(self, owners: Collection[CallOwner]) -> None:
        """Nothing waits."""

    def withdraw(self, owner: CallOwner, chain_starts: Collection[int]) -> None:
        """Nothing waits."""

    def release(self, offers: Mapping[tuple[str, str], str]) -> None:
        """Nothing waits."""

    def set_share(self, fraction: float) -> None:
        """There is no rate."""

    def snapshot(self) -> DeliverySnapshot:
        """Nothing is called."""
        return NOTHING_YET

    def check(self) -> None:
        """Nothing fails."""

    def stop(self, timeout: float) -> None:
        """There is no thread."""


class NothingWritten:
    """Writes nothing: all is acknowledged at the next look. `Outputs`."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def outcome(self, outcome: OfferOutcome, partition: int) -> None:
        """Nothing is written."""

    def dead_letter(self, record: Record, *, reason: str, error: str, on_ack: Callable[[], None]) -> None:
        """Nothing is written."""
        self._waiting.append(on_ack)

    def poll(self) -> None:
        """Acknowledge what was not written."""
        waiting, self._waiting = self._waiting, []
        for on_ack in waiting:
            on_ack()

    def flush(self, timeout_s: float) -> bool:
        """Acknowledge what was not written."""
        self.poll()
        return True

    def check(self) -> None:
        """Nothing fails."""


class NoGroup:
    """Makes consumers that have a group in memory alone: they are its one member, with all partitions.

    Args:
        consumer: makes a real one.
        partitions: how many each topic has.
    """

    def __init__(self, consumer: Callable[..., Consumer], partitions: int) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self.committed: dict[tuple[str, int], TopicPartition] = {}

    def member(self, on_error: Callable[[KafkaError], None], **more: Any) -> Consumer:
        """A consumer that never joins a group and never commits."""
        return cast("Consumer", _Member(self._consumer(on_error, **more), self, self._partitions))


class _Member:
    """A consumer, but for what it has to do with a group."""

    def __init__(self, consumer: Consumer, group: NoGroup, partitions: int) -> None:
        self._consumer = consumer
        self._group = group
        self._partitions = partitions
        self._places: list[TopicPartition] = []
        self._on_assign: Callback | None = None
        self._on_revoke: Callback | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def subscribe(self, topics: list[str], on_assign: Callback, on_revoke: Callback, on_lost: Callback) -> None:
        self._places = [TopicPartition(topic, p) for topic in topics for p in range(self._partitions)]
        self._on_assign, self._on_revoke = on_assign, on_revoke

    def consume(self, most: int, timeout: float) -> list[Message]:
        if self._on_assign is not None:
            on_assign, self._on_assign = self._on_assign, None
            on_assign(self, self._places)
        return self._consumer.consume(most, timeout)

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        committed = self._group.committed
        return [
            committed.get((place.topic, place.partition))
            or TopicPartition(place.topic, place.partition, OFFSET_INVALID)
            for place in places
        ]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        self._group.committed.update({(place.topic, place.partition): place for place in offsets})
        return offsets

    def memberid(self) -> str:
        return ""

    def close(self) -> None:
        if self._on_assign is None and self._on_revoke is not None:
            self._on_revoke(self, self._places)
        self._consumer.close()
