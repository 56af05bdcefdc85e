"""Says that events are dated implausibly, and what the producer's unit of time, zone or clock seems to be.

A record does not say which producer wrote it. So what is said once is an error: one input, one unit or zone. What comes
after it is counted, and the count is told with the reports of progress.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

from ..core.watermark import Side
from ..events import CheckoutCompleted, OfferPresented, RecordRef
from .suspension import when

log = structlog.get_logger(__name__)

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
"""Milliseconds."""

UNITS = {
    "seconds": 1_000.0,
    "minutes": float(MINUTE),
    "hours": float(HOUR),
    "days": float(DAY),
    "microseconds": 1e-3,
    "nanoseconds": 1e-6,
}
"""Milliseconds in what a producer may have taken for the unit."""

NEAR = 31 * DAY
"""Milliseconds within which a date in another unit is that of its record: units lie further apart, and a record may be
read again, or come late."""

EAST, WEST, QUARTER = 14 * HOUR, -12 * HOUR, 15 * MINUTE
"""Milliseconds that local time may be ahead of UTC; each zone is at a whole quarter of an hour."""

UNDER_WAY = 2 * MINUTE
"""Milliseconds between an event and its record that still tell the zone."""

MOST_DATES = 1_000
"""Dates whose error is remembered: a clock that stands still seems to be in another zone each hour."""


def seems(dated: int, true: int) -> str:
    """What is wrong with a date that should be about another one (both ms), in words."""
    for unit, factor in UNITS.items():
        if abs(dated * factor - true) <= NEAR:
            return f"{unit} instead of milliseconds"
    ahead = dated - true
    quarters = round(ahead / QUARTER)
    if quarters and WEST <= quarters * QUARTER <= EAST and abs(ahead - quarters * QUARTER) <= UNDER_WAY:
        hours, minutes = divmod(abs(quarters) * 15, 60)
        return f"local time instead of UTC (UTC{'+' if quarters > 0 else '-'}{hours}{f':{minutes}' if minutes else ''})"
    return "a clock that is ahead" if ahead > 0 else "a clock that is behind or stands still"


class Misdated:
    """Reports implausible dates for all tasks. Owned by the poll thread.

    Args:
        wall: a clock in seconds, for records without a stamp.

    Attributes:
        counts: how many were read since the start, by input and by what seems to be wrong.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.counts: Counter[tuple[Side, str]] = Counter()
        self._wall = wall
        self._reported = 0
        self._of_date: dict[int, str] = {}

    def offer(self, event: OfferPresented, stamp: int, topic: str, partition: int) -> str:
        """An implausibly dated offer was read; `stamp` is its record's (ms). Returns what seems to be wrong."""
        return self._read(Side.OFFERS, RecordRef(topic, partition, event.offset), event.presented_at, stamp)

    def checkout(self, event: CheckoutCompleted, topic: str, partition: int, shown_at: int | None = None) -> None:
        """An implausibly dated checkout was read.

        `shown_at`: it is by an offer that it names, which was shown only then (ms), that it is found to be.
        """
        place = RecordRef(topic, partition, event.offset)
        self._read(Side.CHECKOUTS, place, event.completed_at, event.stamped_at, shown_at)

    def _read(self, side: Side, place: RecordRef, dated: int, stamp: int, shown_at: int | None = None) -> str:
        now = int(self._wall() * 1000)
        # A stamp that lies ahead of the clock is as wrong as the date.
        believed = 0 <= stamp <= now + DAY and stamp != dated
        true = shown_at if shown_at is not None else stamp if believed else now
        if len(self._of_date) > MOST_DATES:
            self._of_date.clear()
        error = self._of_date.setdefault(dated, seems(dated, true))
        self.counts[side, error] += 1
        if self.counts[side, error] == 1:
            log.warning(
                "implausible offer" if side is Side.OFFERS else "implausible checkout",
                topic=place.topic,
                partition=place.partition,
                offset=place.offset,
                stamped=when(stamp),
                dated=when(dated),
                shown_at=None if shown_at is None else when(shown_at),
                seems_to_be=error,
            )
        return error

    def report(self) -> None:
        """Tell the counts, if any has changed since the last time."""
        if self.counts.total() != self._reported:
            self._reported = self.counts.total()
            counts = {f"{side.name.lower()}: {error}": count for (side, error), count in self.counts.items()}
            log.info("implausible dates since the start", counts=counts)
