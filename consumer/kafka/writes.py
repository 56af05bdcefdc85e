"""Whether what the service writes is recorded: outcomes, dead letters and commits.

A call cannot be taken back, and one whose outcome is not recorded is made again by the next start. If no write
succeeds, each start makes all calls anew: in one night 6 starts made 288 calls for 48 offers. So no call is made while
a write of ours has failed or waits too long, and after a start they are made one at a time until a first one is known
to be recorded.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

BOUND = 30.0
"""Seconds that a write, or the loop that takes in acknowledgements, may wait while calls go on. A broker that restarts
or hands over its partitions is back within these; and at ten calls a second 300 are repeated if it never is."""

FIRST_BOUND = 2.0
"""The same until the first outcome is known to be recorded. It is less than the time between two calls that are made
one at a time (`delivery.gate.TRIAL_S`), so that one call at most waits for a broker that does not answer."""

COMMITS = 3
"""Intervals over which commits may fail while calls go on, and no less than `BOUND`: a rebalance fails one or two."""


class Batch:
    """The records of one topic that were begun between two looks and are not all answered.

    Attributes:
        topic: they are written to.
        since: when the first of them was begun, by the clock of `Writes` (s).
        waiting: how many of them are not answered.
    """

    __slots__ = ("since", "topic", "waiting")

    def __init__(self, topic: str, since: float) -> None:
        self.topic = topic
        self.since = since
        self.waiting = 0


class Writes:
    """Told by the poll thread what is written, acknowledged and committed. What it says may be asked by any thread.

    Args:
        outcome_topic: one record of it acknowledged is what says that calls are recorded.
        commit_interval: seconds between two commits.
        monotonic: a clock in seconds.
    """

    def __init__(
        self, outcome_topic: str, commit_interval: float = 5.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._commit_bound = max(BOUND, COMMITS * commit_interval)
        self._under_way: deque[Batch] = deque()
        """In the order in which they were begun; of that at its head one is not acknowledged."""
        self._open: dict[str, Batch] = {}
        """By topic, the one that the next record belongs to, while any of its records waits."""
        self._untried = {outcome_topic}
        """The topics of which nothing is acknowledged yet: the outcomes', and those that were written to."""
        self._answered: set[str] = set()
        self._refused_since: dict[int, float] = {}
        """When the first of its commits failed, for each partition whose last one did."""
        # What other threads read: each is replaced as a whole.
        self._oldest: Batch | None = None
        self._failure: str | None = None
        self._looked: float | None = None
        self._refused: tuple[float, tuple[int, ...]] | None = None
        self._proven = False

    # --- told

    def begin(self, topic: str) -> Batch:
        """A record is written. Returns what to name it by: it is counted with those written since the last look."""
        batch = self._open.get(topic)
        if batch is None or not batch.waiting:
            batch = self._open[topic] = Batch(topic, self._monotonic())
            self._under_way.append(batch)
            if self._oldest is None:
                self._oldest = batch
            if topic not in self._answered:
                self._untried.add(topic)
        batch.waiting += 1
        return batch

    def end(self, batch: Batch, *, recorded: bool) -> None:
        """One of these is acknowledged; or, not `recorded`, it was refused and is written again in another form."""
        batch.waiting -= 1
        if not batch.waiting:
            under_way = self._under_way
            while under_way and not under_way[0].waiting:
                under_way.popleft()
            self._oldest = under_way[0] if under_way else None
        if recorded and batch.topic not in self._answered:
            self._answered.add(batch.topic)
            self._untried.discard(batch.topic)
            self._judge()

    def fail(self, why: str) -> None:
        """A write has failed for good."""
        self._failure = self._failure or why

    def look(self) -> None:
        """What the brokers have acknowledged was taken in."""
        self._open.clear()
        self._looked = self._monotonic()

    def committed(self, asked: Iterable[int], acknowledged: set[int]) -> None:
        """A commit of these partitions was answered. To be told too of partitions that had nothing to commit."""
        now = self._monotonic()
        for partition in asked:
            if partition in acknowledged:
                self._refused_since.pop(partition, None)
            else:
                self._refused_since.setdefault(partition, now)
        self._publish_refused()

    def forget(self, partitions: Iterable[int]) -> None:
        """Nothing is to be committed for these partitions: they are settled, or they are gone."""
        for partition in partitions:
            self._refused_since.pop(partition, None)
        self._publish_refused()

    # --- asked, by any thread

    def trouble(self) -> str | None:
        """Why nothing may be called, in words; None: nothing speaks against it."""
        now = self._monotonic()
        if self._failure is not None:
            return f"what is called could not be recorded, and the service stops: {self._failure}"
        oldest, bound = self._oldest, BOUND if self._proven else FIRST_BOUND
        if oldest is not None and now - oldest.since > bound:
            return (
                f"a record for {oldest.topic} has waited {now - oldest.since:.0f} s for its acknowledgement: what is "
                "called could not be recorded. Check the brokers, and the topic's in-sync replicas"
            )
        looked = self._looked
        if looked is not None and now - looked > BOUND:
            return (
                f"the loop has waited {now - looked:.0f} s for the brokers, and takes in no acknowledgement: what is "
                "called could not be recorded. Check the brokers"
            )
        return self._commits_in_trouble(now)

    def unproven(self) -> str | None:
        """Why calls are to be made one at a time, in words; None: it is known that they are recorded."""
        if self._proven:
            return None
        return "no outcome of this run has been acknowledged yet: whether calls can be recorded is seen by the first"

    # --- inside

    def _commits_in_trouble(self, now: float) -> str | None:
        refused = self._refused
        if refused is None:
            return None
        since, partitions = refused
        if self._proven and now - since <= self._commit_bound:
            return None
        return (
            f"commits of the partitions {list(partitions)} have failed for {now - since:.0f} s: a restart would repeat "
            "every call made meanwhile. Check the brokers, and that this principal may Read the group and both inputs"
        )

    def _publish_refused(self) -> None:
        since = self._refused_since
        self._refused = (min(since.values()), tuple(sorted(since))) if since else None
        self._judge()

    def _judge(self) -> None:
        """Once it is known that writes succeed, single ones that do not are judged by how long they wait."""
        self._proven = self._proven or (not self._untried and self._refused is None)
