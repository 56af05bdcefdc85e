"""Warns while there is time: a commit that is held, and records that retention will delete.

A start is refused once retention has deleted what a commit points to, since opt-outs would be lost in silence. One
offer that cannot be settled, or a suspension that nobody mends, holds a commit for as long as it lasts. So it is said
when half of the retention is used up: by time where the topic has `retention.ms`, and by records where it has
`retention.bytes`, since nobody tells how many bytes lie behind an offset.

Retention goes by the stamps of records, and so does this: by that of the oldest one that a restart would have to read.
The watermark would not do. It may be far ahead of an offer that is held by itself, and of those that are kept back
since they came late; and while decisions are suspended from the start there is no time of a decision at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import structlog
from confluent_kafka import Message

from ..core.chain import Chain
from ..core.commits import CommitPlan
from ..core.offsets import EarliestFrom
from ..core.rules import MIN_TIME
from ..core.watermark import Side
from ..kafka.retention import Kept, Retention
from ..kafka.start_offsets import readable
from .runner import TaskRunner

log = structlog.get_logger(__name__)

PART = 0.5
"""The part of the retention after which it is said: as much time again is left to mend it."""

WARNING = (
    "a held commit nears the topic's retention: once retention has deleted what it points to, the next start is "
    "refused and opt-outs are lost. Mend what holds it, or let the oldest offer go by delivery.release_file"
)


class Held(NamedTuple):
    """What one input's commit holds: the lowest offset, and the stamp (ms) of the oldest record from there on."""

    topic: str
    partition: int
    offset: int
    since: int


class Stamps:
    """The timestamps of one input's records, one for each batch that was read.

    Attributes:
        first: the offset of the first record.
    """

    def __init__(self, first: int) -> None:
        self.first = first
        self._before = EarliestFrom()
        self._newest = -1

    def read(self, message: Message) -> None:
        """The first record of a batch was read: its stamp stands for all up to the next batch."""
        if self._newest >= 0:
            self._before.add((message.offset() or 0) - 1, self._newest)
        self._newest = message.timestamp()[1]

    def earliest_from(self, offset: int) -> int:
        """The earliest stamp (ms) of what was read at or after `offset`, which may not fall."""
        before = self._before.at(offset)
        return self._newest if before is None else min(before, self._newest)


class RetentionWatch:
    """Looks at what is committed, and warns.

    Args:
        retention: what the brokers tell; None where they are not asked.
        topics: of the offers and of the checkouts.
        wall: the wall clock in seconds.

    Attributes:
        left: seconds until retention may delete what a restart would have to read, by topic and partition; not of those
            that are kept for ever, or of which that is not known.
        whole: seconds that the same topics keep a record, by topic.
    """

    def __init__(self, retention: Retention | None, topics: tuple[str, str], wall: Callable[[], float]) -> None:
        self._retention = retention
        self._topics = topics
        self._wall = wall
        self._stamps: dict[tuple[TaskRunner, Side], Stamps] = {}
        self.left: dict[tuple[str, int], float] = {}
        self.whole: dict[str, float] = {}

    def read(self, runner: TaskRunner, side: Side, message: Message) -> None:
        """This is the first record of an input's in a batch that was read."""
        stamps = self._stamps.get((runner, side))
        if stamps is None:
            stamps = self._stamps[runner, side] = Stamps(message.offset() or 0)
        stamps.read(message)

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        """Where the brokers said last that the partitions end, by topic and number."""
        return {} if self._retention is None else {place: end for place, (_, end) in self._retention.bounds().items()}

    def measure(self, runners: Mapping[int, TaskRunner], committed: Mapping[int, CommitPlan]) -> None:
        """Ask the brokers, without waiting, and say what is left by what they have told. The arguments are `look`'s."""
        if self._retention is None:
            return
        self._retention.ask_bounds([(topic, partition) for partition in runners for topic in self._topics])
        now, kept = self._wall() * 1000, {topic: self._retention.kept(topic) for topic in self._topics}
        self.whole = {topic: one.ms / 1000 for topic, one in kept.items() if one is not None and one.ms is not None}
        self.left = {
            (held.topic, held.partition): (how_long.ms - (now - held.since)) / 1000
            for held in self._held(runners, committed)
            if (how_long := kept[held.topic]) is not None and how_long.ms is not None
        }

    def look(self, runners: Mapping[int, TaskRunner], committed: Mapping[int, CommitPlan]) -> None:
        """Look once. To be called at the interval of the warnings.

        Args:
            runners: by partition, whose tasks are here.
            committed: by partition, what the broker has acknowledged of them.
        """
        here = set(runners.values())
        self._stamps = {place: stamps for place, stamps in self._stamps.items() if place[0] in here}
        if self._retention is None:
            return
        # Asked for now, and told by the next look at the latest.
        settings = {topic: self._retention.kept(topic) for topic in self._topics}
        bounds = self._retention.bounds()
        for held in self._held(runners, committed):
            kept = settings[held.topic]
            if kept is None:
                continue
            used = self._used(held, kept, bounds.get((held.topic, held.partition)))
            if used is not None:
                self._warn(held, used, runners[held.partition].task.oldest_unsettled())

    def _held(self, runners: Mapping[int, TaskRunner], committed: Mapping[int, CommitPlan]) -> Iterable[Held]:
        for partition, runner in sorted(runners.items()):
            plan = committed.get(partition)
            for side, topic in zip(Side, self._topics, strict=True):
                stamps = self._stamps.get((runner, side))
                if stamps is None:
                    continue
                offset = stamps.first
                if plan is not None:
                    offset = (plan.offers if side is Side.OFFERS else plan.checkouts).offset
                since = self._since(runner, side, stamps, offset)
                if since is not None:
                    yield Held(topic, partition, offset, since)

    @staticmethod
    def _since(runner: TaskRunner, side: Side, stamps: Stamps, offset: int) -> int | None:
        """The stamp (ms) of the oldest record at or after `offset`; None if there is none."""
        task = runner.task
        kept_back = [message.timestamp()[1] for message in runner.late_run.kept if message.error() is None]
        found = kept_back if side is Side.OFFERS else []
        if kept_back or offset < task.next_offset(side):
            found.append(stamps.earliest_from(offset))
        # What is not read yet, since the input is paused or waits, is not older than its watermark. Where all is read,
        # that is near the clock.
        if (watermark := task.watermarks.of(side).value) != MIN_TIME:
            found.append(watermark)
        return min(found, default=None)

    def _used(self, held: Held, kept: Kept, bounds: tuple[int, int] | None) -> dict[str, object] | None:
        """What is used up of the retention, for the log, if it is more than the part."""
        age = self._wall() * 1000 - held.since
        if kept.ms is not None and age > PART * kept.ms:
            return {"age_h": round(age / 3_600_000, 1), "retention_h": round(kept.ms / 3_600_000, 1)}
        if kept.bytes is None or bounds is None:
            return None
        first, end = bounds
        # Before retention has ever deleted anything there is room for more than there is.
        if first > 0 and end - held.offset > PART * (end - first):
            return {"held_records": end - held.offset, "kept_records": end - first, "retention_bytes": kept.bytes}
        return None

    def _warn(self, held: Held, used: dict[str, object], oldest: Chain | None) -> None:
        log.warning(
            WARNING,
            topic=held.topic,
            partition=held.partition,
            offset=held.offset,
            held_since=readable(held.since),
            oldest_unsettled=None if oldest is None else f"{oldest.partner_code}/{oldest.offer_id}",
            **used,
        )
