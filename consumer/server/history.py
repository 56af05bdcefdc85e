"""The last hour from the snapshots: minute by minute, what has risen, and since when what is so is so.

Counts of a process never fall, so those of each minute are kept and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ..events import Outcome
from ..snapshot import Snapshot
from .conditions import conditions_of

MINUTE = 60_000
"""ms."""

MINUTES = 60

HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
"""ms."""

AS_AGREED = frozenset({"204", "404"})
"""Answers that settle an offer."""

_RATE_OVER = 60_000
"""ms over which a partner's rate is taken."""

_RATE_STEP = 5_000
"""ms between two of the counts that are kept for it."""


DEAD_LETTERS_OVER, CALLS_OVER, WAITS_OVER, PURCHASES_OVER, PACE_OVER = (n * MINUTE for n in (15, 10, 30, 60, 5))
"""ms over which each of these is looked at, as the alerts do; and the pace of a watermark."""


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


class Tries(NamedTuple):
    """Of one partner: answered as the contract has it, and all others; `not_found`: those of the first with a 404."""

    answered: int = 0
    failed: int = 0
    not_found: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Risen:
    """What has risen lately, each over the time that is named above.

    Attributes:
        dead_letters: by input and reason.
        dead_letters_of_a_day, dead_letters_of_two_hours: the same.
        tries, tries_of_the_hour: by partner.
        told_to_wait: the part of the time for which a partner was, by partner.
        purchases_after_opt_out, opted_out: offers.
        paces: seconds by which the watermark has moved in a second, by partition; not of those that were not here for a
            minute.
    """

    dead_letters: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    dead_letters_of_a_day: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    dead_letters_of_two_hours: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    tries: Mapping[str, Tries] = field(default_factory=lambda: MappingProxyType({}))
    tries_of_the_hour: Mapping[str, Tries] = field(default_factory=lambda: MappingProxyType({}))
    told_to_wait: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    purchases_after_opt_out: int = 0
    opted_out: int = 0
    paces: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Hour:
    """The last hour.

    Attributes:
        minutes: fewer than 60 after a start.
        rates: tries a second of each partner.
        risen: what has.
        since: when (ms) this process has first seen what is so now, by the keys of `conditions`.
    """

    minutes: tuple[MinuteCounts, ...] = ()
    rates: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    risen: Risen = field(default_factory=Risen)
    since: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


class _RatePoint(NamedTuple):
    at: int
    tries: Mapping[str, int]


class _CountMark(NamedTuple):
    """Counts at one moment, and the watermarks. `waited`: ms for which a partner was told to wait so far."""

    at: int
    tries: Mapping[str, Tries]
    waited: Mapping[str, int]
    dead_letters: Mapping[tuple[str, str], int]
    purchases_after_opt_out: int
    opted_out: int
    watermarks: Mapping[int, int]


class History:
    """The poll thread calls `note`, any thread `hour`: what is read is swapped in whole, so neither needs a lock."""

    def __init__(self) -> None:
        self._sums: tuple[MinuteCounts, ...] = ()
        self._points: tuple[_RatePoint, ...] = ()
        self._marks: tuple[_CountMark, ...] = ()
        """The first of each minute of the last hour, the first of each hour of the last day, and the newest."""
        self._since: Mapping[str, int] = {}

    def note(self, snapshot: Snapshot) -> None:
        """These are the newest counts."""
        minute = snapshot.taken_at // MINUTE * MINUTE
        before = self._sums
        if before and minute <= before[-1].begin:  # the same minute, or a clock that was set back
            minute, before = before[-1].begin, before[:-1]
        tries: dict[str, Tries] = {}
        for (partner, status), count in snapshot.calls.answers.items():
            good, bad, gone = tries.get(partner, Tries())
            tries[partner] = (
                Tries(good + count, bad, gone + count * (status == "404"))
                if status in AS_AGREED
                else Tries(good, bad + count, gone)
            )
        answered, failed = sum(one.answered for one in tries.values()), sum(one.failed for one in tries.values())
        decided = sum(snapshot.counts.decisions.values())
        self._sums = (*before[-MINUTES:], MinuteCounts(minute, answered, failed, decided))
        self._note_rate(
            _RatePoint(snapshot.taken_at, {partner: one.answered + one.failed for partner, one in tries.items()})
        )
        self._note_mark(snapshot, tries)
        self._since = {key: self._since.get(key, snapshot.taken_at) for key in conditions_of(snapshot)}

    def hour(self, now: int) -> Hour:
        """What is known at this time (ms). Minutes of which no snapshot is known have zeros."""
        sums, points, risen, since = self._sums, self._points, _risen(self._marks), self._since
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
        return Hour(tuple(minutes), _rates(points), risen, since)

    def _note_mark(self, snapshot: Snapshot, tries: Mapping[str, Tries]) -> None:
        now, counts, marks = snapshot.taken_at, snapshot.counts, self._marks
        waited = dict(marks[-1].waited) if marks else {}
        for partner, stops in snapshot.calls.stopped.items():
            if marks and "retry_after" in stops:
                # Longer than that nobody has looked: the loop stood.
                waited[partner] = waited.get(partner, 0) + min(max(0, now - marks[-1].at), _RATE_STEP)
        newest = _CountMark(
            at=now,
            tries=tries,
            waited=waited,
            dead_letters=counts.dead_letters,
            purchases_after_opt_out=counts.purchases_after_opt_out,
            opted_out=counts.outcomes.get(Outcome.OPTED_OUT, 0),
            watermarks={task.partition: task.watermark for task in snapshot.tasks if task.watermark is not None},
        )
        if len(marks) > 1 and marks[-1].at // MINUTE == marks[-2].at // MINUTE:
            marks = marks[:-1]
        kept = [
            mark
            for before, mark in zip((None, *marks), marks, strict=False)
            if 0 <= now - mark.at <= (MINUTES + 1) * MINUTE
            or (0 <= now - mark.at <= DAY + HOUR and (before is None or before.at // HOUR < mark.at // HOUR))
        ]
        self._marks = (*kept, newest)

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


def _risen(marks: tuple[_CountMark, ...]) -> Risen:
    if not marks:
        return Risen()
    newest = marks[-1]

    def before(over: int) -> _CountMark:
        """As it was so long ago; where nobody has looked then, the first that is known."""
        return next((mark for mark in reversed(marks) if newest.at - mark.at >= over), marks[0])

    calls, dead, waits, bought, pace = map(
        before, (CALLS_OVER, DEAD_LETTERS_OVER, WAITS_OVER, PURCHASES_OVER, PACE_OVER)
    )

    def tries_since(mark: _CountMark) -> Mapping[str, Tries]:
        return {
            partner: Tries(*(after - then for after, then in zip(one, mark.tries.get(partner, Tries()), strict=True)))
            for partner, one in newest.tries.items()
        }

    def dead_since(mark: _CountMark) -> Mapping[tuple[str, str], int]:
        return {key: count - mark.dead_letters.get(key, 0) for key, count in newest.dead_letters.items()}

    return Risen(
        dead_letters=dead_since(dead),
        dead_letters_of_a_day=dead_since(before(DAY)),
        dead_letters_of_two_hours=dead_since(before(2 * HOUR)),
        tries=tries_since(calls),
        tries_of_the_hour=tries_since(bought),
        told_to_wait={
            # Of the whole time, as the alert has it: after a start that is a small part.
            partner: (ms - waits.waited.get(partner, 0)) / WAITS_OVER
            for partner, ms in newest.waited.items()
        },
        purchases_after_opt_out=newest.purchases_after_opt_out - bought.purchases_after_opt_out,
        opted_out=newest.opted_out - bought.opted_out,
        paces={
            partition: (watermark - pace.watermarks[partition]) / (newest.at - pace.at)
            for partition, watermark in newest.watermarks.items()
            if partition in pace.watermarks and newest.at - pace.at >= MINUTE
        },
    )
