"""The numbers that the decision depends on."""

from __future__ import annotations

from dataclasses import dataclass

MIN_TIME = -(2**62)
"""Before every event: a watermark that knows nothing yet, a horizon below which nothing was forgotten."""

MAX_TIME = 2**62
"""After every event: a horizon that is not known yet."""

YEAR_2000 = 946_684_800_000
"""Milliseconds. Kafka is from 2011: an event that is dated before has its time in another unit, or none."""


def is_before_kafka(time: int, now: int) -> bool:
    """Whether a time (ms) is from before `YEAR_2000`, by a clock that says `now` and is past it itself."""
    return now >= YEAR_2000 > time


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """What decides a chain's fate. All durations are in milliseconds.

    Attributes:
        window: how long after a presentation a checkout may decide it.
        checkout_grace: how long after the deciding checkout a purchase or a further presentation still counts;
            at most `window`.
        lookback: how far before a chain a purchase still counts, how long a chain may grow, and how far an event may
            be dated behind its record and still be believed; at least `window`.
        lateness: how far behind the newest event of its input an event may arrive and still be on time.
        max_skew: how far an event may be dated ahead of its record or of the wall clock and still be believed.
        call_abandoned: whether an offer whose session never checked out is called, or settled as IGNORED.
        checkout_silence: how long presentations may go on without any checkout before decisions wait; 0: for ever.
    """

    window: int
    checkout_grace: int
    lookback: int
    lateness: int
    max_skew: int
    call_abandoned: bool = True
    checkout_silence: int = 0

    @property
    def late_after(self) -> int:
        """How far below the watermark a presentation may be dated before its checkouts may be forgotten."""
        return self.window + self.checkout_grace

    def is_far_behind(self, event_time: int, timestamp: int) -> bool:
        """Whether an event is dated so far behind its record's timestamp (both ms) that the date is not believed."""
        return event_time < timestamp - self.lookback
