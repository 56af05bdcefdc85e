"""Says that events are dated implausibly, and what the producer's unit of time, zone or clock seems to be.

A record does not say which producer wrote it. So what is said once is an error: one input, one unit or zone. What comes
after it is counted, and the count is told with the reports of progress.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import structlog

from ..core.dating import DAY, seems, unit_of
from ..core.watermark import Side
from ..events import CheckoutCompleted, OfferPresented, RecordRef
from .suspension import when

log = structlog.get_logger(__name__)

MOST_DATES = 1_000
"""Dates whose error is remembered: a clock that stands still seems to be in another zone each hour."""


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
        return self._read(Side.OFFERS, RecordRef(topic, partition, event.record_offset), event.presented_at, stamp)

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
        if shown_at is None and unit_of(dated, now) is None and (unit := unit_of(stamp, now)) is not None:
            error = f"a record that is stamped in {unit} instead of milliseconds"
        else:
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
