"""The reckoning after a run: the judge, the reconciliation and the bursts of repeats, and all of it in words."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from soak.bursts import Blow, Burst, bursts, settling
from soak.sessions import read_sessions
from soak.stage import Deployment, Shop, Spans

from consumer.audit.calls import Judgement, in_words, judge
from consumer.audit.decision import fates
from consumer.audit.reading import read_dead_letters, read_events, read_outcomes
from consumer.audit.reconcile import Reconciliation, reconcile
from consumer.emulator.call_log import read_calls
from consumer.events import Reason

CONCURRENCY = 64
"""`delivery.concurrency`, which the run leaves at its default."""
COMMIT_MS = 2_000
"""How long ago a task's last commit is at the most: its interval is one second, and it takes its time."""
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
class Verdict:
    """All that is to be said of a run.

    Attributes:
        handed_over: calls made again without a blow between the two: from one living instance to another.
        ended: which instances ended by themselves, and how. Code 1 is an orderly refusal, as of one that starts while
            the broker is down; any other is a crash.
        late, not_judged: records that were late, and the sessions left out because of them.
        recorded_again: calls that the API took down beyond one a chain.
    """

    judged: Judgement
    reconciled: Reconciliation
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

    @property
    def holds(self) -> bool:
        """Nothing missed, false, early, or called for a wrong reason, and every chain's fate as it must be."""
        return self.judged.holds and self.reconciled.holds and self.ending.settled_in_time and not self._crashed

    @property
    def _crashed(self) -> list[str]:
        crashed = [what for what in self.ended if not what.startswith("exit 1 ")]
        # One that was started a moment ago has no handler for the signal yet, and just ends.
        orderly = {0, -signal.SIGTERM}
        return crashed + [f"exit {code} when asked to end" for code in self.ending.codes if code not in orderly]

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield from self._blows()
        yield ""
        judged, reconciled, in_time = self.judged, self.reconciled, self.ending.settled_in_time
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
            (not reconciled.missing, f"{len(reconciled.missing):,} chains have no outcome"),
            (not reconciled.wrong, f"{len(reconciled.wrong):,} of {reconciled.outcomes:,} outcomes are wrong"),
            (not reconciled.unfounded, f"{len(reconciled.unfounded):,} outcomes without a chain, or without a call"),
            (not reconciled.dead, f"{len(reconciled.dead):,} dead-lettered that were on time"),
            (True, f"{reconciled.repeated:,} outcomes written again"),
            (in_time, "all was committed in time" if in_time else "not all was committed in time"),
            (not self._crashed, f"{len(self._crashed)} instances crashed, {len(self.ended)} ended by themselves"),
        ]
        for good, line in checks:
            yield f"   {'ok ' if good else 'NOT'}  {line}"
        objections = (
            ("missed", judged.missed),
            ("false", judged.false),
            ("early", judged.early),
            ("wrong reason", judged.misreported),
            ("no outcome", reconciled.missing),
            ("wrong outcome", reconciled.wrong),
            ("unfounded outcome", reconciled.unfounded),
            ("dead-lettered", reconciled.dead),
            ("crashed", self._crashed),
        )
        for kind, found in objections:
            yield from (f"   {kind}: {line}" for line in found[:SHOWN])
        kills = [burst for burst in self.bursts if burst.blow.what == "kill"]
        worst = max((burst.repeats for burst in kills), default=0)
        yield ""
        yield (
            f"missed {len(judged.missed)}  false {len(judged.false)}  early {len(judged.early)}  "
            f"wrong reason {len(judged.misreported)}  repeated {judged.repeated}  worst burst after a kill {worst}"
        )

    def _blows(self) -> Iterator[str]:
        yield ""
        yield "At        what                       calls made again because of it    bound   due, unsettled on a task"
        for burst in self.bursts:
            blow = burst.blow
            at = f"{(blow.time_ms - self.ending.began_ms) / 1000:7.1f} s"
            bound = f"{burst.bound:>6}" if blow.what in ("kill", "pause") else " " * 6
            over = _remark(burst) if blow.what == "kill" else ""
            yield f"{at} {blow.what:<12} {blow.victim:<12} {burst.repeats:>32}   {bound}   {burst.backlog:>6}  {over}"
        yield f"{self.handed_over:,} made again without a blow between: handed over from one instance to another"
        for what in ("kill", "pause", "wake"):
            repeats = [burst.repeats for burst in self.bursts if burst.blow.what == what]
            if repeats:
                yield f"{len(repeats)} x {what}: repeats at most {max(repeats)}, median {median(repeats):g}"


def reckon(deployment: Deployment, spans: Spans, shop: Shop, blows: Sequence[Blow], ending: Ending) -> Verdict:
    """Read everything and judge it.

    Raises:
        RuntimeError: a topic could not be read to its end.
    """
    bootstrap, topics = deployment.bootstrap, (deployment.offer_topic, deployment.checkout_topic)
    partition_of, late = read_sessions(bootstrap, topics, spans.lateness, shop.overdue)
    shown, completed, unreadable = read_events(bootstrap, topics)
    outcomes = read_outcomes(bootstrap, deployment.outcome_topic)
    dead = read_dead_letters(bootstrap, deployment.dead_letter_topic)
    calls = read_calls(deployment.api.log_path)

    left_out = set(late.values())
    offers_out = {(event.partner_code, event.offer_id) for event in shown if event.session_id in left_out}
    shown = [event for event in shown if event.session_id not in left_out]
    completed = [event for event in completed if event.session_id not in left_out]
    outcomes = [outcome for outcome in outcomes if outcome.session_id not in left_out]
    calls = [call for call in calls if (call.partner_code, call.offer_id) not in offers_out]

    judged = judge(shown, completed, calls, spans.rules)
    judged.unreadable = unreadable
    all_fates = fates(shown, completed, spans.rules)
    reconciled = reconcile(all_fates, outcomes, calls)
    reconciled.dead.extend(f"{place} is in the dead-letter topic: {why}" for place, why in dead if place not in late)
    settled = settling(calls, all_fates, partition_of)
    due = [
        (fate.decide_at + spans.lateness, partition_of[fate.session_id])
        for fate in all_fates
        if fate.reason != Reason.PURCHASED
    ]
    found, handed_over = bursts(blows, settled, due, concurrency=CONCURRENCY, commit_ms=COMMIT_MS)
    recorded = Counter((call.partner_code, call.offer_id) for call in calls if call.recorded)
    to_call = Counter((fate.partner_code, fate.offer_id) for fate in all_fates if fate.reason != Reason.PURCHASED)
    return Verdict(
        judged=judged,
        reconciled=reconciled,
        bursts=found,
        handed_over=handed_over,
        ending=ending,
        ended=[f"{blow.what} of {blow.victim}" for blow in blows if blow.what.startswith("exit")],
        late=len(late),
        not_judged=len(left_out),
        worst_delay=shop.worst_delay,
        lateness=spans.lateness,
        dead_letters=len(dead),
        recorded_again=(recorded - to_call).total(),
    )


def _remark(burst: Burst) -> str:
    if burst.repeats <= burst.bound:
        return ""
    return "over, and too many to be listed" if burst.backlog > LISTED else "OVER THE BOUND"
