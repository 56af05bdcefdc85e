"""What the calls of one credential share: the rate limit and the Retry-After gate."""

from __future__ import annotations

import math
from asyncio import TimerHandle
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Member = TypeVar("Member")

LATENESS_S = 0.002
"""How late a call may start, in seconds, and the next one still be on time: timers are late, and the rate must not
fall behind. Too short to make a burst of."""


class Pacer:
    """Spaces calls evenly: at a rate of 10 a second, one each 100 ms.

    The libraries at hand limit by a bucket, which lets a whole second's calls out at once after a pause, hand out
    permits only to a task each that waits, and cannot change their rate. Here the insurer's limit is shared with the
    partner's other systems, so bursts are what it must not see, and a million calls wait without a task.
    """

    def __init__(self, rate: float) -> None:
        """`rate` is in calls a second; infinite: no limit; 0: no calls at all."""
        self._last = -math.inf
        self.rate = rate

    def next_at(self) -> float:
        """The earliest time, on the loop's clock, at which the next call may start."""
        return self._last + 1.0 / self.rate if self.rate > 0 else math.inf

    def take(self, now: float) -> None:
        """A call starts now."""
        if self.rate != math.inf:
            planned = self.next_at()
            self._last = planned if now - planned <= LATENESS_S else now


class CredentialLimiter(Generic[Member]):
    """One credential: the rate limit and the Retry-After gate that its partners share, and whose turn it is."""

    def __init__(self, credential: Hashable, rate: float) -> None:
        self.credential = credential
        """What its partners had when they were made. One that got another since keeps this one."""
        self.pacer = Pacer(rate)
        self.gated_until = -math.inf
        self.turn: deque[Member] = deque()
        """Partners that may have something to call, in the order they are served."""
        self.members = 0
        """How many partners share it."""
        self.listed = False
        self.timer: TimerHandle | None = None

    def open_at(self) -> float:
        """The earliest time, on the loop's clock, at which the credential may be used."""
        return max(self.gated_until, self.pacer.next_at())

    def gate(self, now: float, seconds: float) -> bool:
        """No call for so long; True if the gate was open before."""
        was_open = self.gated_until <= now
        self.gated_until = max(self.gated_until, now + seconds)
        return was_open
