"""How long to wait after what may go better next time."""

from __future__ import annotations

import math
from random import Random

BASE_S = 1.0
CAP_S = 60.0
FAILURES_TO_OPEN = 5
"""Failures in a row: more than one bad offer or one lost connection explains, few enough to spare a server in need."""


def full_jitter(failures: int, random: Random) -> float:
    """Seconds to wait after so many failures (from 1): anything up to 1, 2, 4 … 60 s, so that waiters spread out."""
    return random.uniform(0.0, min(CAP_S, BASE_S * 2.0 ** min(failures - 1, 10)))


class Breaker:
    """Stops a partner's calls after failures in a row; then one probe at a time, backing off, until one is answered."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0
        self.probe_at = -math.inf
        """The earliest time of the next probe, on the loop's clock."""

    @property
    def is_open(self) -> bool:
        return self._failures >= FAILURES_TO_OPEN

    def failed(self, now: float, *, was_probe: bool) -> bool:
        """Count a failure; True if it opened the breaker."""
        if self.is_open and not was_probe:
            # It left before the breaker opened, and says nothing new.
            return False
        self._failures += 1
        if not self.is_open:
            return False
        self.probe_at = now + full_jitter(self._failures - FAILURES_TO_OPEN + 1, self._random)
        return self._failures == FAILURES_TO_OPEN

    def answered(self) -> bool:
        """The partner's calls are answered; True if that closed the breaker."""
        was_open = self.is_open
        self._failures = 0
        self.probe_at = -math.inf
        return was_open
