"""When a 404 is believed."""

from __future__ import annotations

import math
from enum import Enum, auto

UNCONFIRMED_S = 60.0
"""How long a partner's first 404s stay unconfirmed, in seconds, to see whether nothing but 404s comes."""


class Belief(Enum):
    """What to do with a 404."""

    TERMINAL = auto()
    """Believed: the offer does not exist."""
    UNCONFIRMED = auto()
    """Not believed yet."""
    RETRY = auto()
    """Not believed: nothing but 404s has come."""


class NotFoundGuard:
    """Tells an offer that does not exist from a base URL or a partner code that is wrong, for one partner.

    Nothing but 404s, `limit` of them and never a 204, looks like a wrong URL: then they are retried until a 204
    comes. A single 404 is believed once a 204 has shown that the URL is right, or once `UNCONFIRMED_S` have passed
    since the first 404 without the limit being reached; until then it is unconfirmed. Those believed count towards the
    limit too. A limit of 0 believes every 404 at once, which is how an operator accepts them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._run = 0
        self._proved = limit == 0
        self.tripped = False
        self.believe_at = math.inf
        """When the 404s that are unconfirmed are to be believed, on the loop's clock."""

    def recorded(self) -> bool:
        """A 204 came, which proves the URL; True if the guard had tripped and lets go by it."""
        had_tripped, self.tripped, self._proved = self.tripped, False, True
        return had_tripped

    def not_found(self, now: float) -> bool:
        """Count a 404; True if it tripped the guard."""
        if self._proved or self.tripped:
            return False
        if self._run == 0:
            self.believe_at = now + UNCONFIRMED_S
        self._run += 1
        # However slowly they came: a partner with few calls must not be believed for its few calls.
        self.tripped = self._run >= self.limit
        return self.tripped

    def belief(self, now: float) -> Belief:
        """What to do with a 404 that has been counted."""
        if self._proved:
            return Belief.TERMINAL
        if self.tripped:
            return Belief.RETRY
        return Belief.TERMINAL if now >= self.believe_at else Belief.UNCONFIRMED
