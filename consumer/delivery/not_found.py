"""When a 404 is believed."""

from __future__ import annotations

import math
from enum import Enum, auto

HOLD_S = 60.0
"""How long a partner's first 404s are kept back, in seconds, to see whether nothing but 404s comes."""


class Belief(Enum):
    """What to do with a 404."""

    TERMINAL = auto()
    HOLD = auto()
    RETRY = auto()


class NotFoundGuard:
    """Tells an offer that does not exist from a base URL or a partner code that is wrong, for one partner.

    Nothing but 404s, `limit` of them and never a 204, looks like a wrong URL: then they are retried until a 204
    comes. A single 404 is believed once a 204 has shown that the URL is right, or once `HOLD_S` have passed since the
    first 404 without the limit being reached; until then it is held. Those believed count towards the limit too. A
    limit of 0 believes every 404 at once, which is how an operator accepts them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._run = 0
        self._proved = limit == 0
        self.tripped = False
        self.hold_until = math.inf
        """When the 404s held so far are to be believed, on the loop's clock."""

    def recorded(self) -> bool:
        """A 204 came, which proves the URL; True if the guard had tripped and lets go by it."""
        had_tripped, self.tripped, self._proved = self.tripped, False, True
        return had_tripped

    def not_found(self, now: float) -> Belief:
        """Count a 404 and say what to do with it. After a RETRY check whether it has just `tripped`."""
        if self._proved:
            return Belief.TERMINAL
        if self.tripped:
            return Belief.RETRY
        if self._run == 0:
            self.hold_until = now + HOLD_S
        self._run += 1
        if self._run >= self._limit:
            # However slowly they came: a partner with few calls must not be believed for its few calls.
            self.tripped = True
            return Belief.RETRY
        return Belief.TERMINAL if now >= self.hold_until else Belief.HOLD
