"""The simulated Kafka: logs with gaps, and commits that fail in every way a commit can. `group.py` has its coordinator.

It is as strict as a real one where the service relies on it: a commit of a member that is not of the present
generation is refused, a partition has one owner a generation, records come in the order of their offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from random import Random
from typing import NamedTuple

from simulation.checkers.violation import Violation
from simulation.world.group import ClassicGroup, ConsumerGroup, Place
from simulation.world.timeline import Clock

from consumer.core.checkpoint import are_new_checkouts
from consumer.core.provenance import Provenance


class Record(NamedTuple):
    """A record as it stands in a partition. `timestamp` is in ms."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Partition:
    """One partition's log. `start` is its first offset; `end` the next to be written, gaps included."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.start = 0
        self.end = 0
        self.epoch = 0
        self._epochs: list[tuple[int, int]] = []

    def append(
        self,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        gap: int = 0,
    ) -> int:
        """Write a record, after `gap` offsets that hold none (transaction markers, aborted records)."""
        self._written()
        offset = self.end + gap
        self.records.append(Record(offset, timestamp, key, value, headers))
        self.end = offset + 1
        return offset

    def mark(self, count: int) -> None:
        """End the log with offsets that hold no record."""
        self._written()
        self.end += count

    def _written(self) -> None:
        """Something is written at the end, by the leader of now."""
        if not self._epochs or self._epochs[-1][1] != self.epoch:
            self._epochs.append((self.end, self.epoch))

    def epoch_of(self, offset: int) -> int:
        """Of the leader that wrote what stands there."""
        return next((epoch for first, epoch in reversed(self._epochs) if first <= offset), -1)

    def end_of(self, epoch: int) -> int:
        """Behind what was written by the leaders up to this epoch."""
        return next((first for first, later in self._epochs if later > epoch), self.end)

    def cut(self, offset: int) -> list[int]:
        """An unclean election: all from this offset on is gone, and the new leader has written as much of its own:
        tombstones, which say nothing to anybody, and offsets without a record.

        Returns:
            The offsets of the records that are gone.
        """
        gone = [record.offset for record in self.records if record.offset >= offset]
        end, key = self.end, b"written since"
        stamp = max((record.timestamp for record in self.records), default=0)
        self.records = [record for record in self.records if record.offset < offset]
        self._epochs = [one for one in self._epochs if one[0] < offset]
        self.end, self.epoch = offset, self.epoch + 1
        for at in sorted({offset, *gone}):
            self.append(stamp, key, None, gap=at - self.end)
        self.mark(end - self.end)
        return gone

    def forget_epochs(self) -> None:
        """It is another log."""
        self._epochs.clear()

    def delete_below(self, offset: int) -> None:
        """Retention."""
        self.start = max(self.start, min(offset, self.end))

    def read(self, position: int, most: int) -> list[Record]:
        """Records at or above a position."""
        found = []
        for record in reversed(self.records):
            if record.offset < position:
                break
            found.append(record)
        found.reverse()
        return found[:most]

    def between(self, first: int, end: int) -> list[Record]:
        """Records from an offset up to another."""
        return [record for record in self.records if first <= record.offset < end]


class CommitFault(Enum):
    """What may become of a commit."""

    NONE = "works"
    REFUSED = "is refused"
    ANSWER_LOST = "works, the answer is lost"
    OFFERS_ONLY = "works for the offer partitions only"
    CHECKOUTS_ONLY = "works for the checkout partitions only"


class Broker:
    """The cluster. Faults are set from outside.

    Attributes:
        down: nobody is answered. refused: output topics that may not be written. last_down, last_refused: when it was
            so last.
        stalled: topics, or partitions of inputs, that answer nothing for now: writes wait, and reads bring nothing.
        moving: partitions whose leader moves, which is said to those who ask.
        coordinator_moves: the group's coordinator does.
        metadata_limit: characters of metadata that are taken with a commit.
        mapping: of the inputs, as `Provenance` has it.
        topic_ids: of the inputs; a topic that is made anew has another one.
        lost_at: when positions were lost last (s); below 0: never.
        known_at: by partition, when a member committed first after that, or after the operator's answer, below what
            time checkouts may be gone (s).
        cut: records that a log lost, which has grown since: topic, partition and offset.
        answer_delay: seconds that the answer where a partition ends takes.
        on_read: is told of each record of an input that a member is given: its topic, partition and offset, and the
            member's clock (ms).
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        topics: tuple[str, str],
        outputs: tuple[str, str],
        partitions: int,
        group_protocol: str,
    ) -> None:
        self.clock = clock
        self.random = random
        self.on_read: Callable[[str, int, int, int], None] = lambda *_: None
        self.topics = topics
        self.outcome_topic, self.dead_letter_topic = outputs
        self.count = partitions
        self.logs: dict[Place, Partition] = {
            (topic, number): Partition() for topic in (*topics, *outputs) for number in range(partitions)
        }
        self.group = (ConsumerGroup if group_protocol == "consumer" else ClassicGroup)(
            clock, random, topics, partitions
        )
        self.down = False
        self.last_down = self.last_refused = -1.0
        self.commit_fault = CommitFault.NONE
        self.refused: set[str] = set()
        self.stalled: set[str | Place] = set()
        self.moving: set[Place] = set()
        self.coordinator_moves = False
        self.metadata_limit = 4_096
        self.mapping = ""
        self.topic_ids = {topic: f"{topic}-1" for topic in topics}
        self.lost_at = -1.0
        self.known_at: dict[int, float] = {}
        self.cut: set[tuple[str, int, int]] = set()
        self.answer_delay = 0.0
        self.on_commit: Callable[[dict[Place, tuple[int, str]]], None] = lambda _: None

    @property
    def provenance(self) -> Provenance:
        """Whose a commit is that is made now."""
        offers, checkouts = self.topics
        ids = self.topic_ids
        return Provenance(
            "simulated", ids[offers], ids[checkouts], offers, checkouts, "http://simulated", mapping=self.mapping
        )

    def make_anew(self, topic: str) -> None:
        """An input is deleted with all that it holds, and made anew. It has grown to where it was at once, which is the
        worst that it can do: an offset of before points into the new log."""
        self.topic_ids[topic] += "'"
        for (name, _), log in self.logs.items():
            if name == topic:
                log.delete_below(log.end)
                log.epoch = 0
                log.forget_epochs()

    def tick(self) -> None:
        """Time has passed."""
        self.group.tick()

    def heartbeat(self, name: str) -> None:
        """A member lives."""
        if not self.down:
            self.group.heartbeat(name)

    def fetches(self, place: Place) -> bool:
        """Whether a partition can be read."""
        return not (self.down or place in self.stalled or place in self.moving)

    def commit(
        self, name: str, generation: int, offsets: dict[Place, tuple[int, str]]
    ) -> tuple[CommitFault | str, set[Place]]:
        """Take a commit. Returns the fault that struck, or the reason of a refusal; and what was taken of it."""
        if self.down:
            return CommitFault.REFUSED, set()
        if self.coordinator_moves:
            return "NOT_COORDINATOR", set()
        reason = self.group.refuses(name, generation)
        if reason is not None:
            return reason, set()
        fault = self.commit_fault
        if fault is CommitFault.REFUSED:
            return fault, set()
        kept = {
            place: value
            for place, value in offsets.items()
            if len(value[1]) < self.metadata_limit
            and (
                fault in (CommitFault.NONE, CommitFault.ANSWER_LOST)
                or place[0] == self.topics[fault is CommitFault.CHECKOUTS_ONLY]
            )
        }
        self.on_commit(kept)
        if not self.group.members[name].owned.issuperset(offsets):
            raise Violation(f"{name} commits {sorted(offsets)}, and has {sorted(self.group.members[name].owned)}")
        self.group.committed.update(kept)
        for (topic, partition), (offset, text) in kept.items():
            if topic == self.topics[1] and not are_new_checkouts(text, offset):
                self.known_at.setdefault(partition, self.clock.now)
        return fault, set(kept)

    def commit_start(self, offsets: dict[Place, tuple[int, str]]) -> bool:
        """A commit from outside the group's generations: taken only while it has no members."""
        if self.down or self.coordinator_moves or self.group.members:
            return False
        self.on_commit(offsets)
        self.group.committed.update(offsets)
        return True
