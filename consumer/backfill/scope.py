"""The range of a backfill: which chains are its own, and up to what time they are decided.

A chain is in the range by its last presentation. So each chain is in one range alone, however ranges are cut: shown
just before `to` and again just after it, it is the next range's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from ..core.rules import MIN_TIME, DecisionRules
from ..events import OfferPresented
from ..settings.kafka import read_moment

Offsets: TypeAlias = dict[int, int]
"""An offset of the offer topic for each partition."""

_OFFSETS = re.compile(r"\d{1,9}:\d{1,18}(,\d{1,9}:\d{1,18})*")


@dataclass(frozen=True, slots=True)
class EventTimeRange:
    """Chains presented last at or after `begin` and before `end` (event time, ms)."""

    begin: int
    end: int

    def contains(self, partition: int, shown: OfferPresented) -> bool:
        """Whether the chain is in the range whose last presentation this is."""
        return self.begin <= shown.presented_at < self.end

    def has_part(self, partition: int) -> bool:
        """Whether chains of a partition may be in it."""
        return True

    def is_of(self, partition: int, offset: int, timestamp: int) -> bool:
        """Whether a record that cannot be read is: by its stamp (ms)."""
        return self.begin <= timestamp < self.end

    def shown_between(self) -> tuple[int, int]:
        """Its chains were presented last at or after the first time, and before the second (ms)."""
        return self.begin, self.end

    def shown_before(self, partition: int) -> int:
        """A time (ms) before which its chains of a partition were presented last."""
        return self.end

    def is_read(self, partition: int, next_offset: int) -> bool:
        """Whether its offers are read, where all is decided that is due by `done_at`: those of its times are."""
        return True

    def text(self) -> str:
        """As it stands with the group."""
        return f"{self.begin}-{self.end}"


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Chains whose last presentation stands at or behind an offset of its partition, and before another one.

    Attributes:
        begins, ends: the offsets, for the same partitions; the others have no part in it.
        earliest: a time (ms) at or after which all of them were presented last.
        latest: by partition, one before which they were.
    """

    begins: Mapping[int, int]
    ends: Mapping[int, int]
    earliest: int
    latest: Mapping[int, int]

    def contains(self, partition: int, shown: OfferPresented) -> bool:
        """Whether the chain is in the range whose last presentation this is."""
        return self.is_of(partition, shown.record_offset, MIN_TIME)

    def has_part(self, partition: int) -> bool:
        """Whether chains of a partition may be in it."""
        return partition in self.begins

    def is_of(self, partition: int, offset: int, timestamp: int) -> bool:
        """Whether a record is."""
        return partition in self.begins and self.begins[partition] <= offset < self.ends[partition]

    def shown_between(self) -> tuple[int, int]:
        """Its chains were presented last at or after the first time, and before the second (ms)."""
        return self.earliest, max(self.latest.values(), default=self.earliest)

    def shown_before(self, partition: int) -> int:
        """A time (ms) before which its chains of a partition were presented last."""
        return self.latest.get(partition, MIN_TIME)

    def is_read(self, partition: int, next_offset: int) -> bool:
        """Whether its offers are read: those below `next_offset` are. The last of them may be dated before others."""
        return next_offset >= self.ends.get(partition, 0)

    def text(self) -> str:
        """As it stands with the group."""
        return "-".join(
            ",".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))
            for offsets in (self.begins, self.ends)
        )


Range: TypeAlias = EventTimeRange | OffsetRange


@dataclass(frozen=True, slots=True)
class BackfillScope:
    """A range, by the rules that its chains are decided by.

    `force`: chains that have an outcome already are settled once more, but for those that are told to be bought.
    """

    range: Range
    rules: DecisionRules
    force: bool = False

    @property
    def begin(self) -> int:
        """Chains of the range begin at or after this time (ms): they last for lookback at the most."""
        return self.range.shown_between()[0] - self.rules.lookback

    def done_at(self, partition: int) -> int:
        """Once what is due by this time (ms) is decided, all chains of the range are that stand in a partition."""
        before = self.range.shown_before(partition)
        return MIN_TIME if before == MIN_TIME else before + self.rules.window + self.rules.checkout_grace

    def text(self) -> str:
        """As it stands with the group: another range, other rules or `--force` are another backfill."""
        rules = self.rules
        spans = f"{rules.window}-{rules.checkout_grace}-{rules.lookback}-{'a' if rules.call_abandoned else 'i'}"
        return f"{self.range.text()}/{spans}{'/force' if self.force else ''}"


def in_words(text: str) -> str:
    """What `BackfillScope.text` says, for people. A text that was too long for the metadata stands there as a hash."""
    found = re.fullmatch(r"(-?\d+)-(-?\d+)/(\d+)-(\d+)-(\d+)-([ai])(/force)?", text)
    if found is None:
        return f"another one ({text})" if text else "none: it is a deployment's group"
    begin, end, window, grace, lookback = (int(number) for number in found.groups()[:5])
    abandoned = "opt-out" if found[6] == "a" else "ignore"
    return (
        f"{moment(begin)} to {moment(end)}, join.window {window / 1000:g} s, checkout_grace {grace / 1000:g} s, "
        f"lookback {lookback / 1000:g} s, abandoned {abandoned}{', with --force' if found[7] else ''}"
    )


def moment(time: int) -> str:
    """A time (ms) for people."""
    bounded = min(max(time, -62_135_596_800_000), 253_402_300_799_000)
    return datetime.fromtimestamp(bounded / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def read_bound(text: str) -> datetime | Offsets | None:
    """Read what `--from` or `--to` was given: a time with its zone, or `partition:offset,…`. None: it is neither."""
    if _OFFSETS.fullmatch(text):
        pairs = [pair.split(":") for pair in text.split(",")]
        offsets = {int(partition): int(offset) for partition, offset in pairs}
        return offsets if len(offsets) == len(pairs) else None
    found = read_moment(text)
    return found if isinstance(found, datetime) else None
