"""Warns while there is time: a commit that is held, and records that retention will delete.

A start is refused once retention has deleted what a commit points to, since opt-outs would be lost in silence. One
offer that cannot be settled, or a suspension that nobody mends, holds a commit for as long as it lasts. So it is said
when half of the retention is used up: by time where the topic has `retention.ms`, and by records where it has
`retention.bytes`, since nobody tells how many bytes lie behind an offset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import structlog

from ..core.chain import Chain
from ..core.commits import CommitPlan
from ..core.rules import MIN_TIME
from ..kafka.retention import Kept, Retention
from ..kafka.start_offsets import readable

log = structlog.get_logger(__name__)

PART = 0.5
"""The part of the retention after which it is said: as much time again is left to mend it."""

WARNING = (
    "a held commit nears the topic's retention: once retention has deleted what it points to, the next start is "
    "refused and opt-outs are lost. Mend what holds it, or let the oldest offer go by delivery.release_file"
)


class Held(NamedTuple):
    """What one input's commit holds: the lowest offset, and the time (ms) at or after which that lies."""

    topic: str
    partition: int
    offset: int
    since: int


class RetentionWatch:
    """Looks at what is committed, and warns.

    Args:
        retention: what the brokers tell; None where they are not asked.
        topics: of the offers and of the checkouts.
        lookback: ms, as in the rules: checkouts are held for so much longer than offers.
        wall: the wall clock in seconds.
    """

    def __init__(
        self, retention: Retention | None, topics: tuple[str, str], lookback: int, wall: Callable[[], float]
    ) -> None:
        self._retention = retention
        self._topics = topics
        self._lookback = lookback
        self._wall = wall

    def look(self, committed: Mapping[int, CommitPlan], oldest: Mapping[int, Chain | None]) -> None:
        """Look once. To be called at the interval of the warnings.

        Args:
            committed: by partition, what the broker has acknowledged.
            oldest: by partition, the chain that begins first of those decided and not settled.
        """
        if self._retention is None:
            return
        # Asked for now, and told by the next look at the latest.
        settings = {topic: self._retention.kept(topic) for topic in self._topics}
        bounds = self._retention.bounds()  # of the last look
        by_size: list[tuple[str, int]] = []
        for held in self._held(committed):
            kept = settings[held.topic]
            if kept is None:
                continue
            place = held.topic, held.partition
            if kept.bytes is not None:
                by_size.append(place)
            used = self._used(held, kept, bounds.get(place))
            if used is not None:
                self._warn(held, used, oldest.get(held.partition))
        if by_size:
            self._retention.ask_bounds(by_size)

    def _held(self, committed: Mapping[int, CommitPlan]) -> Iterable[Held]:
        for partition, plan in sorted(committed.items()):
            if plan.retain_from > MIN_TIME:  # else nothing was decided yet
                offers, checkouts = self._topics
                yield Held(offers, partition, plan.offers.offset, plan.retain_from + self._lookback)
                yield Held(checkouts, partition, plan.checkouts.offset, plan.retain_from)

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
