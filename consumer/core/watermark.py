"""How far event time has come: one watermark an input.

A watermark W says: no on-time event with a time <= W is still to come. It moves with the records that are read,
and, where there are none, with a clock that was read before the broker said that nothing is left to read. The edge
does the asking; here is only what an answer means. Neither moves it beyond the wall clock less lateness.
"""

from __future__ import annotations

from enum import IntEnum

from .rules import MIN_TIME, DecisionRules

TOLERANCE = 2.0
"""Seconds between our clock and another that mean nothing: a Date has no fractions, and servers write it anew once a
second. Lateness, which it is taken from, is minutes."""

CLOCK_TOLERANCE = 3_000
"""Milliseconds by which the wall clock may be behind although others confirm it.

A clock within 2 s counts as right, and an HTTP Date cuts off another. So our clock disproves only what is dated further
ahead than that.
"""


class Side(IntEnum):
    """The two inputs of a task."""

    OFFERS = 0
    CHECKOUTS = 1


class InputWatermark:
    """The watermark of one input of a task. `value` is in milliseconds and never falls.

    `first` and `newest` are the times (ms) of the first and of the newest event that could move it, for the guards;
    MIN_TIME while there is none. So is `complete_to`: all that the log held then (wall clock) was read. More may still
    be on its way, so it moves nothing. `clock_ahead`: by how much (ms) the wall clock is, or may be, ahead of another
    one. `behind_to` (ms): of the events since `newest` that are older, the newest one; MIN_TIME: none was.
    """

    __slots__ = (
        "_believed_ahead",
        "_believed_behind",
        "_lag",
        "_max_skew",
        "behind_to",
        "clock_ahead",
        "complete_to",
        "first",
        "newest",
        "value",
    )

    def __init__(self, rules: DecisionRules, *, first: int = MIN_TIME, newest: int = MIN_TIME) -> None:
        self.value = self.complete_to = MIN_TIME
        self.first = first
        self.newest = newest
        self.behind_to = MIN_TIME
        self.clock_ahead = 0
        # W says "<= W", and an event exactly `lateness` behind the newest is still on time: hence the 1 ms.
        self._lag = rules.lateness + 1
        self._max_skew = rules.max_skew
        self._believed_ahead = rules.max_skew + CLOCK_TOLERANCE
        self._believed_behind = rules.lookback

    def observe(self, event_time: int, timestamp: int, now: int) -> bool:
        """Move with a record. Returns False for an implausible event, which moves nothing.

        Args:
            event_time: when it happened, by its producer (ms).
            timestamp: the record's timestamp (ms); negative if the record has none.
            now: the wall clock (ms).

        An event dated more than `max_skew` ahead of its record, or more than that and its tolerance ahead of the wall
        clock, is implausible: one event dated 2099 must not close every session. So is one dated more than `lookback`
        behind its record, in seconds instead of milliseconds for example. The lower of the two times counts, so
        that neither a producer's clock nor a record's stamp alone can push the watermark. Where both are ahead, by less
        than that, they are believed, but the watermark stays `lateness` behind the wall clock, and behind the one that
        this is known to be ahead of: or a producer whose clock is 4m50s ahead would leave all others ten seconds of the
        five minutes.
        """
        if timestamp < 0:
            timestamp = event_time
        seen = event_time if event_time < timestamp else timestamp
        if event_time - self._max_skew > timestamp or event_time - self._believed_ahead > now:
            return False
        if event_time + self._believed_behind < timestamp:
            return False
        if seen > self.newest:
            self.newest, self.behind_to = seen, MIN_TIME
            if self.first == MIN_TIME:
                self.first = seen
        elif seen > self.behind_to:
            self.behind_to = seen
        now -= self.clock_ahead
        if seen > now:  # noqa: PLR1730 - min() costs a call on every record
            seen = now
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
        """Move although nothing comes: at `asked_at` (ms, wall clock) all that the log held had been read.

        As with a record it stays behind the clock that ours is, or may be, ahead of.
        """
        self.value = max(self.value, asked_at - self.clock_ahead - self._lag)


class Watermarks:
    """The watermarks of both inputs of a task.

    Args:
        rules: as set now.
        first_offer, newest_checkout: event times (ms) known from before a restart, MIN_TIME for none.

    Attributes:
        offers, checkouts: the two.
    """

    def __init__(self, rules: DecisionRules, first_offer: int, newest_checkout: int) -> None:
        self.offers = InputWatermark(rules, first=first_offer)
        self.checkouts = InputWatermark(rules, newest=newest_checkout)
        self._window = rules.window
        self._lookback = rules.lookback
        self._ahead: Side | None = None
        self._bound = 0

    def of(self, side: Side) -> InputWatermark:
        """That of one input."""
        return self.offers if side is Side.OFFERS else self.checkouts

    @property
    def lower(self) -> int:
        """The lower of the two (ms), which is the one that counts: an input with unread data holds it."""
        return min(self.offers.value, self.checkouts.value)

    def allow_for_clock(self, ahead: int) -> None:
        """The wall clock is, or may be, `ahead` (ms) of another one: nothing moves a watermark beyond that one."""
        self.offers.clock_ahead = self.checkouts.clock_ahead = ahead

    def input_to_pause(self, *, calls_wait: bool = False) -> Side | None:
        """The input to pause so that the other catches up, and memory stays bounded; never the lower one.

        It is paused at a window ahead and resumed at half of that: each pause costs what the client had fetched.

        Args:
            calls_wait: the task has calls that are not made yet. Then checkouts are read up to lookback ahead, since
                each may be a purchase that takes one of them back. For example: the API is down, and no offer is shown
                in this partition any more; what is bought meanwhile must be known once the API is back.
        """
        ahead = self.offers.value - self.checkouts.value
        side = Side.OFFERS if ahead > 0 else Side.CHECKOUTS
        most = self._lookback if calls_wait and side is Side.CHECKOUTS else self._window
        if abs(ahead) > most:
            self._ahead, self._bound = side, most
        elif self._ahead is not side or most > self._bound or 2 * abs(ahead) <= most:
            # The other one is ahead now, or it may be further ahead than when it was paused, or is so no longer.
            self._ahead = None
        return self._ahead


def possible_times(rules: DecisionRules, timestamp: int, dated: int, now: int) -> tuple[int, int]:
    """The earliest and the latest time (ms) at which an event happened whose own date is not believed.

    On time, it came at most lateness before its record was stamped; or as early as it says, if that is earlier. A stamp
    that is missing or lies ahead of the clock tells nothing, and it may have happened at any time. It had happened when
    it was read, and by the later of date and stamp: either may be the wrong one of the two.

    The clock may be behind by its tolerance, and disproves a stamp only where it would disprove a date. A right stamp
    that a clock were to disprove would put all in doubt that its session was ever shown. A stamp that it does not
    disprove stands, though the clock says less: one that is 10 s behind would end too early what ends with the stamp.

    Args:
        timestamp: the record's (ms); negative if it has none.
        dated: what the event says (ms).
        now: the wall clock (ms).
    """
    now += CLOCK_TOLERANCE
    stamped = 0 <= timestamp <= now + rules.max_skew
    earliest = min(dated, timestamp - rules.lateness) if stamped else MIN_TIME
    read_at = max(now, timestamp) if stamped else now
    return earliest, min(max(dated, timestamp), read_at) + rules.max_skew
