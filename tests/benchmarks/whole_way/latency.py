"""How long after the watermarks have passed what decides an offer its call comes: worked out from the topics."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from statistics import quantiles

BOUNDS = (5, 10, 15, 25, 50, 100, 250, 500, 1000)
"""Of the histogram, in ms."""


class Passages:
    """When each input of each partition had passed which event time, by its records.

    Args:
        lateness: by how much a watermark lags behind the newest record, ms.
    """

    def __init__(self, lateness: int) -> None:
        self._lag = lateness + 1
        self._times: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)
        self._taken: defaultdict[tuple[int, bool], list[int]] = defaultdict(list)

    def read(self, partition: int, is_checkout: bool, event_time: int, taken_at: int) -> None:
        """A record, in the order of the log: when it happened, and when the broker took it (both ms)."""
        times = self._times[partition, is_checkout]
        if not times or event_time > times[-1]:
            times.append(event_time)
            self._taken[partition, is_checkout].append(taken_at)

    def passed_at(self, partition: int, decide_at: int) -> int | None:
        """When the broker had taken what moves both watermarks to `decide_at`, ms; None: it never had."""
        found = []
        for is_checkout in (False, True):
            times = self._times[partition, is_checkout]
            place = bisect_left(times, decide_at + self._lag)
            if place == len(times):
                return None
            found.append(self._taken[partition, is_checkout][place])
        return max(found)


def percentiles(latencies: Sequence[float]) -> tuple[float, float, float]:
    """The median, the 99th percentile, and the longest."""
    cuts = quantiles(latencies, n=100, method="inclusive")
    return cuts[49], cuts[98], max(latencies)


def histogram(latencies: Sequence[float], width: int = 50) -> list[str]:
    """A line for each range of ms that has any; bars in proportion."""
    counts = [0] * (len(BOUNDS) + 1)
    for one in latencies:
        counts[bisect_left(BOUNDS, one)] += 1
    names = [f"<= {bound}" for bound in BOUNDS] + [f"> {BOUNDS[-1]}"]
    return [
        f"{name:>8} ms {count:7,}  {'#' * max(1, round(width * count / len(latencies)))}"
        for name, count in zip(names, counts, strict=True)
        if count
    ]
