"""The simulated Kafka: logs with gaps, groups with generations, commits that fail in every way a commit can.

It is as strict as a real one where the service relies on it: a commit of a member that is not of the present
generation is refused, a partition has one owner a generation, records come in the order of their offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import NamedTuple

from timeline import Clock

Place = tuple[str, int]


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

    def append(
        self,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        gap: int = 0,
    ) -> int:
        """Write a record, after `gap` offsets that hold none (transaction markers, aborted records)."""
        offset = self.end + gap
        self.records.append(Record(offset, timestamp, key, value, headers))
        self.end = offset + 1
        return offset

    def mark(self, count: int) -> None:
        """End the log with offsets that hold no record."""
        self.end += count

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


@dataclass
class Member:
    """One member of the group, as the coordinator knows it."""

    name: str
    seen: float
    generation: int = -1
    joined: bool = False
    partitions: tuple[int, ...] = ()


class CommitFault(Enum):
    """What may become of a commit."""

    NONE = "works"
    REFUSED = "is refused"
    ANSWER_LOST = "works, the answer is lost"
    OFFERS_ONLY = "works for the offer partitions only"
    CHECKOUTS_ONLY = "works for the checkout partitions only"


@dataclass
class Group:
    """The coordinator's view: members, generation, what is committed."""

    members: dict[str, Member] = field(default_factory=dict)
    generation: int = 0
    rebalancing: bool = False
    committed: dict[Place, tuple[int, str]] = field(default_factory=dict)


class Broker:
    """The cluster. Faults are set from outside: `down`, `commit_fault`, `refuses_writes`."""

    def __init__(
        self, clock: Clock, random: Random, topics: tuple[str, str], outputs: tuple[str, str], partitions: int
    ) -> None:
        self.clock = clock
        self.random = random
        self.topics = topics
        self.outcome_topic, self.dead_letter_topic = outputs
        self.count = partitions
        self.logs: dict[Place, Partition] = {
            (topic, number): Partition() for topic in (*topics, *outputs) for number in range(partitions)
        }
        self.group = Group()
        self.session_timeout = 6.0
        self.down = False
        self.commit_fault = CommitFault.NONE
        self.refuses_writes = False
        self.on_commit: Callable[[dict[Place, tuple[int, str]]], None] = lambda _: None

    # --- the group

    def tick(self) -> None:
        """Give up members that were not heard of for the session time-out."""
        gone = [m.name for m in self.group.members.values() if self.clock.now - m.seen > self.session_timeout]
        for name in gone:
            del self.group.members[name]
        if gone:
            self._rebalance()

    def heartbeat(self, name: str) -> None:
        """A member lives."""
        if not self.down and name in self.group.members:
            self.group.members[name].seen = self.clock.now

    def join(self, name: str) -> None:
        """A member wants partitions; it has let go of those it had."""
        group = self.group
        member = group.members.get(name)
        if member is None:
            member = group.members[name] = Member(name, self.clock.now)
            self._rebalance()
        member.joined = True
        member.partitions = ()
        if all(m.joined for m in group.members.values()):
            self._assign()

    def leave(self, name: str) -> None:
        """A member says goodbye."""
        if self.group.members.pop(name, None) is not None:
            self._rebalance()

    def _rebalance(self) -> None:
        self.group.rebalancing = True
        for member in self.group.members.values():
            member.joined = False

    def _assign(self) -> None:
        group = self.group
        group.generation += 1
        group.rebalancing = False
        names = sorted(group.members)
        share, more = divmod(self.count, len(names))
        begin = 0
        for number, name in enumerate(names):
            member = group.members[name]
            end = begin + share + (number < more)
            member.partitions = tuple(range(begin, end))
            member.generation = group.generation
            begin = end

    def commit(self, name: str, generation: int, offsets: dict[Place, tuple[int, str]]) -> CommitFault | str:
        """Take a commit. Returns the fault that struck, or the reason of a refusal."""
        member = self.group.members.get(name)
        if self.down:
            return CommitFault.REFUSED
        if member is None:
            return "UNKNOWN_MEMBER_ID"
        if generation != self.group.generation:
            return "ILLEGAL_GENERATION"
        fault = self.commit_fault
        if fault is CommitFault.REFUSED:
            return fault
        kept = {
            place: value
            for place, value in offsets.items()
            if fault in (CommitFault.NONE, CommitFault.ANSWER_LOST)
            or place[0] == self.topics[fault is CommitFault.CHECKOUTS_ONLY]
        }
        self.on_commit(kept)
        self.group.committed.update(kept)
        return fault

    def commit_start(self, offsets: dict[Place, tuple[int, str]]) -> bool:
        """A commit from outside the group's generations: taken only while it has no members."""
        if self.down or self.group.members:
            return False
        self.on_commit(offsets)
        self.group.committed.update(offsets)
        return True
