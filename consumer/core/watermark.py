"""How far event time has come: one watermark an input.

A watermark W says: no on-time event with a time <= W is still to come. It moves with the records that are read,
and, where there are none, with a clock that was read before the broker said that nothing is left to read. The edge
does the asking; here is only what an answer means.
"""

from __future__ import annotations

from .rules import MIN_TIME, DecisionRules


class InputWatermark:
    """The watermark of one input of a task. `value` is in milliseconds and never falls.

    `first` and `newest` are the times (ms) of the first and of the newest event that could move it, for the guards;
    MIN_TIME while there is none.
    """

    __slots__ = ("_lag", "_max_skew", "first", "newest", "value")

    def __init__(self, rules: DecisionRules, *, first: int = MIN_TIME, newest: int = MIN_TIME) -> None:
        self.value = MIN_TIME
        self.first = first
        self.newest = newest
        # W says "<= W", and an event exactly `lateness` behind the newest is still on time: hence the 1 ms.
        self._lag = rules.lateness + 1
        self._max_skew = rules.max_skew

    def observe(self, event_time: int, timestamp: int, now: int) -> bool:
        """Move with a record. Returns False for an implausible event, which moves nothing.

        Args:
            event_time: when it happened, by its producer (ms).
            timestamp: the record's timestamp (ms); negative if the record has none.
            now: the wall clock (ms).

        An event dated more than `max_skew` ahead of its record or of the wall clock is implausible: one event
        dated 2099 must not close every session. The lower of the two times counts, so that neither a producer's
        clock nor a record's stamp alone can push the watermark.
        """
        if timestamp < 0:
            timestamp = event_time
        seen = event_time if event_time < timestamp else timestamp
        if event_time - self._max_skew > timestamp or event_time - self._max_skew > now:
            return False
        if seen > self.newest:
            self.newest = seen
            if self.first == MIN_TIME:
                self.first = seen
        if seen - self._lag > self.value:  # noqa: PLR1730 - max() costs a call on every record
            self.value = seen - self._lag
        return True

    @property
    def read_to(self) -> int:
        """How far in time (ms) the input was read: its newest record, or the clock when its end was reached.

        MIN_TIME while nothing is known.
        """
        return MIN_TIME if self.value == MIN_TIME else self.value + self._lag

    def idle(self, asked_at: int) -> None:
        """Move although nothing comes: at `asked_at` (ms, wall clock) all that the log held had been read."""
        self.value = max(self.value, asked_at - self._lag)
