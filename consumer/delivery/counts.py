"""Counts tries: by partner and status, and by how long they took. It outlives partners that are forgotten."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from itertools import accumulate

from ..snapshot import MOST_PARTNERS, MOST_STATUSES, NO_ANSWER, OTHER

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
"""Seconds: from a server next door to `api.timeout`."""


class FirstNames:
    """Tells so many names apart, those that come first.

    Args:
        most: how many.

    Attributes:
        names: those that have come.
    """

    def __init__(self, most: int) -> None:
        self.names: set[str] = set()
        self._most = most

    def name(self, name: str) -> str:
        """The name itself, or `OTHER`."""
        if name not in self.names:
            if len(self.names) >= self._most:
                return OTHER
            self.names.add(name)
        return name


class CallCounts:
    """What has been counted since the start. Used on the delivery's loop alone.

    Attributes:
        partners: those that are told apart.
        answers: tries by partner code and status code.
        retries: tries beyond the first of each call, by partner code.
        duration_sum: seconds of all tries.
    """

    def __init__(self) -> None:
        self.partners = FirstNames(MOST_PARTNERS)
        self.answers: Counter[tuple[str, str]] = Counter()
        self.retries: Counter[str] = Counter()
        self.duration_sum = 0.0
        self._statuses = FirstNames(MOST_STATUSES)
        self._durations = [0] * len(BOUNDS)

    def answered(self, partner_code: str, status: int | None, seconds: float, *, again: bool) -> None:
        """A try has ended; `again`: it was not the first of its call."""
        partner = self.partners.name(partner_code)
        self.answers[partner, NO_ANSWER if status is None else self._statuses.name(str(status))] += 1
        if again:
            self.retries[partner] += 1
        self._durations[bisect_left(BOUNDS, seconds)] += 1
        self.duration_sum += seconds

    def duration_buckets(self) -> tuple[tuple[float, int], ...]:
        """How many tries took up to so many seconds, by rising bound."""
        return tuple(zip(BOUNDS, accumulate(self._durations), strict=True))
