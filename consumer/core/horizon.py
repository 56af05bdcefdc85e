"""Below what time checkouts may be gone, where the log no longer begins at its first record: H at a first start.

What is gone was written before the first record that is left, and, on time, happened up to lateness before it was
written. So all that is gone happened before that record + lateness, if this record is on time itself. One that some
outage kept back is not: it would put H hours too low, and each offer whose purchase is gone would be called. So not one
record tells, but the first `Horizon.HEAD` of them: the newest counts. A log that ends before tells by the clock.
"""

from __future__ import annotations

from typing import ClassVar

from .rules import MAX_TIME, MIN_TIME, DecisionRules, is_before_kafka


class Horizon:
    """H of one task.

    Args:
        value: as it is known; MAX_TIME: it is to be learnt.
        rules: as set now.
        least: no H lies below this time (ms), whatever is known or learnt: what is older may be gone for good.

    Attributes:
        value: H (ms); MAX_TIME while it is not known.
    """

    HEAD: ClassVar = 20
    """Records that tell how old the beginning of a log is. Fewer may easily be all from one producer that was cut off.
    More cost offers where checkouts are rare: those presented up to lookback after the last of them are late."""

    __slots__ = ("_lateness", "_least", "_lookback", "_max_skew", "_newest", "_seen", "value")

    def __init__(self, value: int, rules: DecisionRules, least: int = MIN_TIME) -> None:
        self.value = max(value, least)
        self._least = least
        self._lateness, self._lookback, self._max_skew = rules.lateness, rules.lookback, rules.max_skew
        self._seen, self._newest = 0, MIN_TIME

    @property
    def unknown(self) -> bool:
        """Whether it is still to be learnt."""
        return self.value == MAX_TIME

    @property
    def late_below(self) -> int:
        """Presentations from before this time (ms) are late by it; MIN_TIME: none is."""
        return MIN_TIME if self.value == MIN_TIME else self.value + self._lookback

    def read(self, time: int, came: int, now: int) -> str | None:
        """While it is unknown: one more checkout was read.

        One in seconds is no sample of the log, nor one whose date is not believed; see `read_undated`.

        Args:
            time: of the record (ms).
            came: of what was read before it.
            now: the wall clock (ms).

        Returns:
            What was found out by it, in words, for the log. So does `idle`.
        """
        self._newest = max(self._newest, time, came)
        if is_before_kafka(time, now):
            return None
        self._seen += 1
        return self._learn(self._newest) if self._seen >= self.HEAD else None

    def read_undated(self, timestamp: int, now: int) -> None:
        """A checkout was read whose date is not believed, or none can be read; `timestamp` is the record's, `now` the
        wall clock (ms). A stamp that the clock disproves tells nothing."""
        if timestamp <= now + self._max_skew:
            self._newest = max(self._newest, min(timestamp, now))

    def idle(self, asked_at: int) -> str:
        """While it is unknown: the log held no more when its end was asked for (wall clock, ms)."""
        return self._learn(asked_at)

    def _learn(self, newest: int) -> str:
        self.value = max(newest + self._lateness, self._least)
        return (
            "the checkout log no longer begins at its first record: offers presented before "
            f"{self.late_below} (ms) may have been bought by one that is gone: dead-lettered"
        )
