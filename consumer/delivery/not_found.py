"""When a 404 is believed."""

from __future__ import annotations

import math
from enum import Enum, auto

UNCONFIRMED_S = 60.0
"""How long the 404s of a run stay unconfirmed, in seconds, to see whether nothing but 404s comes."""


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

    404s with no 204 between them are a run: it begins with the first one since the start, or since the last 204.
    `limit` of them look like a wrong URL, whatever was recorded before: then all that the run holds is retried until a
    204 comes. Until then a 404 is unconfirmed. It is believed when a 204 ends the run, which shows that the URL is
    right, or once the run has lasted for `UNCONFIRMED_S` without reaching the limit. Those believed by then count on,
    so that no run gives more than `limit` - 1. Example: one 204, then 5,000 404s: the twentieth trips the guard, and
    none of them is believed.

    A limit of 0 believes every 404 at once, which is how an operator accepts them.
    """

    __slots__ = ("believe_at", "limit", "run", "tripped")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.tripped = False
        self.run = 0
        """How many 404s have come since the last 204."""
        self.believe_at = math.inf
        """When the 404s of the run that are unconfirmed are to be believed, on the loop's clock."""

    def recorded(self) -> bool:
        """A 204 came, which ends the run; True if the guard had tripped and lets go by it."""
        had_tripped, self.tripped = self.tripped, False
        self.run, self.believe_at = 0, math.inf
        return had_tripped

    def not_found(self, now: float) -> bool:
        """Count a 404; True if it tripped the guard."""
        if not self.limit or self.tripped:
            return False
        if self.run == 0:
            self.believe_at = now + UNCONFIRMED_S
        self.run += 1
        # However slowly they came: a partner with few calls must not be believed for its few calls.
        self.tripped = self.run >= self.limit
        return self.tripped

    def use_up(self) -> None:
        """As many may have come as are believed without a 204: the next one trips the guard."""
        self.run = max(0, self.limit - 1)

    def belief(self, now: float) -> Belief:
        """What to do with a 404 that has been counted."""
        if not self.limit:
            return Belief.TERMINAL
        if self.tripped:
            return Belief.RETRY
        return Belief.TERMINAL if now >= self.believe_at else Belief.UNCONFIRMED
