"""The last hour, minute by minute, from the counts of the snapshots: what the page's chart shows.

Counts of a process never fall, so the last ones of each minute are kept and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ..snapshot import Snapshot

MINUTE = 60_000
"""ms."""

MINUTES = 60

AS_AGREED = frozenset({"204", "404"})
"""Answers that settle an offer."""

_RATE_OVER = 60_000
"""ms over which a partner's rate is taken."""

_RATE_STEP = 5_000
"""ms between two of the counts that are kept for it."""


class MinuteCounts(NamedTuple):
    """One minute.

    Attributes:
        begin: ms.
        answered, failed: tries that were answered as the contract has it (204, 404), and all others.
        decided: chains.
    """

    begin: int
    answered: int
    failed: int
    decided: int


@dataclass(frozen=True, slots=True)
class Hour:
    """The last hour: its minutes, of which there are fewer after a start, and tries a second of each partner."""

    minutes: tuple[MinuteCounts, ...] = ()
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class _RatePoint(NamedTuple):
    at: int
    tries: Mapping[str, int]


class History:
    """The poll thread calls `note`, any thread `hour`: what is read is swapped in whole, so neither needs a lock."""

    def __init__(self) -> None:
        self._sums: tuple[MinuteCounts, ...] = ()
        self._points: tuple[_RatePoint, ...] = ()

    def note(self, snapshot: Snapshot) -> None:
        """These are the newest counts."""
        minute = snapshot.taken_at // MINUTE * MINUTE
        before = self._sums
        if before and minute <= before[-1].begin:  # the same minute, or a clock that was set back
            minute, before = before[-1].begin, before[:-1]
        answered = failed = 0
        tries: dict[str, int] = {}
        for (partner, status), count in snapshot.calls.answers.items():
            tries[partner] = tries.get(partner, 0) + count
            if status in AS_AGREED:
                answered += count
            else:
                failed += count
        decided = sum(snapshot.counts.decisions.values())
        self._sums = (*before[-MINUTES:], MinuteCounts(minute, answered, failed, decided))
        self._note_rate(_RatePoint(snapshot.taken_at, tries))

    def hour(self, now: int) -> Hour:
        """What is known at this time (ms). Minutes of which no snapshot is known have zeros."""
        sums, points = self._sums, self._points
        if not sums:
            return Hour()
        found: dict[int, MinuteCounts] = {}
        last = MinuteCounts(0, 0, 0, 0)
        for one in sums:
            found[one.begin] = MinuteCounts(
                one.begin, one.answered - last.answered, one.failed - last.failed, one.decided - last.decided
            )
            last = one
        end = max(last.begin, now // MINUTE * MINUTE)
        begin = max(sums[0].begin, end - (MINUTES - 1) * MINUTE)
        minutes = (found.get(at, MinuteCounts(at, 0, 0, 0)) for at in range(begin, end + 1, MINUTE))
        return Hour(tuple(minutes), _rates(points))

    def _note_rate(self, point: _RatePoint) -> None:
        kept = [one for one in self._points if 0 <= point.at - one.at <= _RATE_OVER]
        if len(kept) > 1 and kept[-1].at - kept[-2].at < _RATE_STEP:
            kept.pop()  # the newest one stands until there is a newer one
        self._points = (*kept, point)


def _rates(points: tuple[_RatePoint, ...]) -> Mapping[str, float]:
    if len(points) < 2 or points[-1].at == points[0].at:
        return MappingProxyType({})
    first, last = points[0], points[-1]
    seconds = (last.at - first.at) / 1000
    return MappingProxyType(
        {partner: (tries - first.tries.get(partner, 0)) / seconds for partner, tries in last.tries.items()}
    )
