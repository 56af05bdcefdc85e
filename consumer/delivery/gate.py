"""The gate that every call passes at the moment it leaves: the first try, a retry, a held one, one after a restart.

That is when its connection stands, for which it may have waited for seconds. Before it is begun the gate is looked at
too, so that nothing connects in vain.

Of each call its owner is asked: is a purchase of the offer known, is it released, is the task still ours? What the
owner withholds is given up. What holds for all calls is a *condition*: that our own writes succeed, that our clock is
believable. While one of them is closed no call leaves, and those that wait keep their place.

A call cannot be unmade, so all this is asked here and now, and not when the call was queued, which may be hours ago.
The thread that reads the purchases tells of them too (`Delivery.withdraw`), which gives up at once what waits for long.
But that goes through an inbox, and may come after the call has left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import structlog

from .partner import PendingCall

LOOK_S = 0.25
"""Seconds between two looks at a gate that is not open."""

FRESH_S = 0.01
"""Seconds for which an open gate counts for what only connects. Before a call leaves all is asked anew."""

TRIAL_S = 2.5
"""Seconds after a call that was settled one at a time until the next: its outcome is to be written meanwhile, by which
the condition learns whether it may open."""


class Opening(IntEnum):
    """How far the gate is open. Of several conditions the one that opens least counts."""

    CLOSED = 0
    """No call leaves."""
    ONE_AT_A_TIME = 1
    """One call leaves, and the next once that was answered, or `TRIAL_S` later. After one that settled none leaves for
    as long: nobody knows yet whether its outcome can be written."""
    OPEN = 2
    """Every call may leave."""


class GateState(NamedTuple):
    """What a condition says. `reason`: why the gate is not open, in words, and what to do; empty while it is."""

    opening: Opening
    reason: str = ""


OPEN = GateState(Opening.OPEN)

Condition: TypeAlias = Callable[[], GateState]
"""A condition of all calls. It is asked from the delivery's thread, before each call: thread-safe, quick, no I/O."""


class Gate:
    """Asks the conditions. Closing and opening of each is logged once.

    Args:
        conditions: all of them; none: the gate is open.
        now: the loop's clock, in seconds.
    """

    def __init__(self, conditions: Sequence[Condition], now: Callable[[], float]) -> None:
        self._conditions = tuple(conditions)
        self._now = now
        self._opening = Opening.OPEN
        self._looked_at = float("-inf")
        self._openings = [Opening.OPEN] * len(self._conditions)
        self._reasons = [""] * len(self._conditions)
        self._trial_until = 0.0
        self._begun_at = 0.0
        self._left_at = 0.0
        self._log = structlog.get_logger(__name__).bind()

    @property
    def is_open(self) -> bool:
        """Whether it was open when it was last looked at."""
        return self._opening is Opening.OPEN

    def lets_begin(self, others_in_flight: int) -> bool:
        """Whether a call may be begun now, which connects first, beside so many that are in flight."""
        if self.is_open and self._now() < self._looked_at + FRESH_S:
            return True
        return self._lets(others_in_flight, max(self._begun_at, self._left_at))

    def begun(self) -> None:
        """A call is begun now."""
        self._begun_at = self._now()

    def lets_leave(self, pending: PendingCall, others_in_flight: int) -> bool:
        """Whether this call, whose connection stands, may leave now, which it then does."""
        if self.withholds(pending) or not self._lets(others_in_flight, self._left_at):
            return False
        self._left_at = self._now()
        return True

    def withholds(self, pending: PendingCall) -> bool:
        """Whether the call is not to be made any more. Then it is marked as given up, with why."""
        if not pending.given_up and (withheld := pending.call.owner.withholds(pending.call)) is not None:
            pending.released = withheld.released
            pending.cancelled = withheld.released is None
        return pending.given_up

    def settled(self) -> None:
        """The insurer has answered a call for good: its outcome is going to be written."""
        if not self.is_open:
            self._trial_until = self._now() + TRIAL_S

    def reasons(self, opening: Opening) -> tuple[str, ...]:
        """Why it was not open further than so when it was last looked at, in words.

        Nobody is asked anew: for some conditions it counts since when they are asked.
        """
        return tuple(reason for found, reason in zip(self._openings, self._reasons, strict=True) if found is opening)

    def _lets(self, others_in_flight: int, last_at: float) -> bool:
        """Whether the conditions let a call go on; the last one did so at `last_at`."""
        if not self._conditions:
            return True
        opening = self._look()
        if opening is Opening.ONE_AT_A_TIME:
            now = self._now()
            # One that is not answered must not hold up those of other partners: another one may follow after a while.
            return now >= self._trial_until and (others_in_flight == 0 or now >= last_at + TRIAL_S)
        return opening is Opening.OPEN

    def _look(self) -> Opening:
        """Ask every condition, and log each that has changed. Returns how far the gate is open."""
        opening, self._looked_at = Opening.OPEN, self._now()
        for place, ask in enumerate(self._conditions):
            state = ask()
            opening = min(opening, state.opening)
            self._reasons[place] = state.reason
            if state.opening is not self._openings[place]:
                self._log_change(self._openings[place], state)
                self._openings[place] = state.opening
        self._opening = opening
        return opening

    def _log_change(self, before: Opening, state: GateState) -> None:
        if state.opening is Opening.CLOSED:
            self._log.warning("no call leaves for now: the calls wait, and go on by themselves", why=state.reason)
        elif state.opening is Opening.ONE_AT_A_TIME:
            self._log.info("calls leave one at a time for now", why=state.reason)
        else:
            self._log.info("calls leave again", before=before.name.lower())
