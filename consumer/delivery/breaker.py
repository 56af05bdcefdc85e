"""Whether a partner is called at all: after several offers failed in a row, one at a time, ever more seldom."""

from __future__ import annotations

import math
from random import Random

from ..backoff import full_jitter

OFFERS_TO_OPEN = 5
"""So many offers that fail in a row are more than a few bad offers or one lost connection explain, and few enough to
spare a server in need."""


class Breaker:
    """Stops a partner's calls when different offers fail in a row; then one probe at a time, backing off.

    Different offers, since one that always fails must not stop those that would not.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failed: set[object] = set()
        self._probes = 0
        self.is_open = False
        self.probe_at = -math.inf
        """The earliest time of the next probe, on the loop's clock."""

    def failed(self, now: float, offer: object, *, was_probe: bool) -> bool:
        """Count a failure; True if it opened the breaker."""
        if self.is_open:
            # A call that is no probe left before the breaker opened, and says nothing new.
            if was_probe:
                self._probes += 1
                self.probe_at = now + full_jitter(self._probes + 1, self._random.uniform)
            return False
        self._failed.add(offer)
        self.is_open = len(self._failed) >= OFFERS_TO_OPEN
        if self.is_open:
            self.probe_at = now + full_jitter(1, self._random.uniform)
        return self.is_open

    def answered(self) -> bool:
        """A call was answered; True if that closed the breaker."""
        was_open, self.is_open = self.is_open, False
        self._failed.clear()
        self._probes = 0
        self.probe_at = -math.inf
        return was_open
