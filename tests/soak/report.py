"""The report of a torture run: what the checker found, in words."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from soak.repeats import Burst

from consumer.audit.calls import Judgement, in_words
from consumer.audit.findings import Flaw, Reconciliation

LISTED = 1_000
"""So many offers that are due and not settled fit the commit's metadata, wherever they stand."""
SHOWN = 10
"""Objections of a kind that are printed."""


class Ending(NamedTuple):
    """What only the run itself knows: when it began (wall clock, ms), whether all was committed before the deadline,
    and with which codes the instances ended that were asked to."""

    began_ms: int
    settled_in_time: bool
    codes: list[int]


@dataclass(slots=True)
class Report:
    """All that is to be said of a run.

    Attributes:
        unfounded: outcomes that tell of more answers than the API gave.
        dead: dead letters, and outcomes DEAD_LETTERED, of events that were on time.
        handed_over: calls made again without a fault between the two: from one living instance to another.
        ended: which instances ended by themselves, and how. Code 1 is an orderly refusal, as of one that starts while
            the broker is down; any other is a crash.
        late, not_judged: records that were late, and the sessions left out because of them.
        recorded_again: calls that the API took down beyond one a chain.
        known: calls of offers that were known to be bought.
    """

    judged: Judgement
    reconciled: Reconciliation
    unfounded: list[str]
    dead: list[str]
    bursts: list[Burst]
    handed_over: int
    ending: Ending
    ended: list[str]
    late: int
    not_judged: int
    worst_delay: int
    lateness: int
    dead_letters: int
    recorded_again: int
    known: list[str]

    @property
    def holds(self) -> bool:
        """Nothing missed, false, early, or called for a wrong reason, and every chain's fate as it must be."""
        judged = self.judged.holds and not (self.reconciled_wrong or self.unfounded or self.dead or self.known)
        return judged and self.ending.settled_in_time and not self._crashed

    @property
    def reconciled_wrong(self) -> dict[str, list[str]]:
        """What is wrong of the outcomes, by kind. A call that was repeated with another end, or a purchase that came
        after the call, is none of it."""
        return objections(self.reconciled)

    @property
    def _crashed(self) -> list[str]:
        crashed = [what for what in self.ended if not what.startswith("exit 1 ")]
        # One that was started a moment ago has no handler for the signal yet, and just ends.
        orderly = {0, -signal.SIGTERM}
        return crashed + [f"exit {code} when asked to end" for code in self.ending.codes if code not in orderly]

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield from self._faults()
        yield ""
        judged, reconciled, in_time = self.judged, self.reconciled, self.ending.settled_in_time
        wrong = self.reconciled_wrong
        yield f"{judged.presentations:,} presentations, {judged.checkouts:,} checkouts, {judged.sessions:,} sessions"
        yield f"{judged.calls:,} calls, {judged.retried:,} of them without a settling answer"
        yield f"{self.recorded_again:,} recorded by the API beyond one a chain: repeated, or its answer was lost"
        delay, lateness = self.worst_delay / 1000, self.lateness / 1000
        yield f"the longest way of an event to the log: {delay:.1f} s, of {lateness:g} s that are on time"
        yield f"{self.late:,} late records; {self.not_judged:,} sessions are not judged because of them"
        yield f"{self.dead_letters:,} dead letters"
        yield ""
        yield "The check, by the topics and the API's own log alone:"
        checks = [
            *in_words(judged),
            (not wrong, f"{sum(map(len, wrong.values())):,} of {reconciled.presented:,} chains have a wrong outcome"),
            (not self.unfounded, f"{len(self.unfounded):,} outcomes without a call"),
            (not self.dead, f"{len(self.dead):,} dead-lettered that were on time"),
            (not self.known, f"{len(self.known):,} called that were known to be bought"),
            (True, f"{reconciled.repeated:,} outcomes written again"),
            (in_time, "all was committed in time" if in_time else "not all was committed in time"),
            (not self._crashed, f"{len(self._crashed)} instances crashed, {len(self.ended)} ended by themselves"),
        ]
        for good, line in checks:
            yield f"   {'ok ' if good else 'NOT'}  {line}"
        lists = (
            ("missed", judged.missed),
            ("false", judged.false),
            ("known to be bought", self.known),
            ("early", judged.early),
            ("wrong reason", judged.misreported),
            *wrong.items(),
            ("unfounded outcome", self.unfounded),
            ("dead-lettered", self.dead),
            ("crashed", self._crashed),
        )
        for kind, found in lists:
            yield from (f"   {kind}: {line}" for line in found[:SHOWN])
        kills = [burst for burst in self.bursts if burst.fault.what == "kill"]
        worst = max((burst.repeats for burst in kills), default=0)
        yield ""
        yield (
            f"missed {len(judged.missed)}  false {len(judged.false)}  early {len(judged.early)}  "
            f"wrong reason {len(judged.misreported)}  repeated {judged.repeated}  worst burst after a kill {worst}"
        )

    def _faults(self) -> Iterator[str]:
        yield ""
        yield "At        what                       calls made again because of it    bound   due, unsettled on a task"
        for burst in self.bursts:
            fault = burst.fault
            at = f"{(fault.time_ms - self.ending.began_ms) / 1000:7.1f} s"
            bound = f"{burst.bound:>6}" if fault.what in ("kill", "pause") else " " * 6
            over = _remark(burst) if fault.what == "kill" else ""
            yield f"{at} {fault.what:<12} {fault.victim:<12} {burst.repeats:>32}   {bound}   {burst.backlog:>6}  {over}"
        yield f"{self.handed_over:,} made again without a fault between: handed over from one instance to another"
        for what in ("kill", "pause", "wake"):
            repeats = [burst.repeats for burst in self.bursts if burst.fault.what == what]
            if repeats:
                yield f"{len(repeats)} x {what}: repeats at most {max(repeats)}, median {median(repeats):g}"


def _remark(burst: Burst) -> str:
    if burst.repeats <= burst.bound:
        return ""
    return "over, and too many to be listed" if burst.backlog > LISTED else "OVER THE BOUND"


def objections(found: Reconciliation) -> dict[str, list[str]]:
    """What is wrong of it. A call that was repeated with another end, or a purchase after the call, may be."""
    lines: dict[str, list[str]] = {kind: [] for kind in Flaw}
    for kind, listed in found.listed.items():
        lines[kind] += [f"offer {o.offer_id} of {o.partner_code}: {o.words}" for o in listed if not o.by_the_rules]
    lines["not judged"] = [f"{count}: {why}" for why, count in found.not_judged.items()]
    return {kind: found for kind, found in lines.items() if found}
