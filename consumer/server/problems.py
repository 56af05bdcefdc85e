"""What is not well, in sentences: what waits, why, since when, and the entry of the runbook that says what to do.

How urgent one is stands in the runbook, and is read there: it is said in one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import NamedTuple

from .. import manual
from ..snapshot import HeldBack, PartnerSnapshot, Snapshot, TaskSnapshot
from .health import Health, HealthStatus
from .words import clock, counted, enumerated, listed, span

QUIET = 10.0
"""Seconds without a turn, or without an answer of the brokers, before that is said. Turns that have a reason take a
quarter of it."""

PATIENCE = 60.0
"""Seconds that a start may take until somebody should look."""

OVERDUE = 300.0
"""Seconds by which an offer may be overdue before that is said: calls wait for their turn."""

LASTING = 900.0
"""Seconds after which what mostly ends by itself has not: a transaction, for one, is aborted by then."""

UNCOMMITTED = 300.0
"""Seconds without an acknowledged commit before that is said: they are made every `kafka.commit_interval`, 5 s."""

RETENTION = 3_600.0
"""Seconds until retention deletes what a commit needs, from which on that is said. The log warns long before, when half
of the retention is used up."""


class Urgency(Enum):
    """As in the runbook, the most urgent first."""

    NOW = "Now"
    TODAY = "Today"
    THIS_WEEK = "This week"
    NOT_URGENT = "Not urgent"


_ORDER = {urgency: number for number, urgency in enumerate(Urgency)}

SUSPENSIONS: Mapping[str, str] = {
    "clock": "the-clock-is-wrong",
    "checkout_silence": "no-checkouts-come",
    "unmatched": "purchased-ids-match-nothing",
    "misdated": "checkouts-are-dated-implausibly",
    "landing": "no-checkouts-come",
    "gap": "no-checkouts-come",
}
"""The entry of each reason of `snapshot.Suspended`."""

STOPS: Mapping[str, str] = {
    "credentials": "credentials-refused",
    "breaker": "breaker-opened",
    "retry_after": "told-to-wait",
    "not_found": "nothing-but-404s",
    "rejected": "rejected",
}
"""The entry of each of `snapshot.PartnerSnapshot.stopped_by`."""

CAUSES: Mapping[str, str] = {
    "schema": "a-schema-is-not-known",
    "kept_back": "offers-are-kept-back",
    "unsettled": "reading-is-paused",
    "too_many": "checkouts-are-read-no-further",
    "ahead": "nobody-tells-the-time",
    "clock": "nobody-tells-the-time",
    "behind": "the-clock-is-wrong",
}
"""The entry of each cause of `snapshot.HeldBack` that has one of its own."""

NOT_LIVE = "an-instance-is-not-live"
NOT_READY = "an-instance-is-not-ready"
NO_ANSWER = "the-brokers-do-not-answer"
NOT_ASSIGNED = "the-group-has-assigned-nothing"
READING_PAUSED = "reading-is-paused"
GATE_CLOSED = "no-call-leaves"
STANDS_STILL = "the-watermark-stands-still"
STUCK = "an-offset-is-stuck"
COMMITS_FAIL = "commit-failed"
NEAR_RETENTION = "a-held-commit-nears-the-retention"

ENTRIES = frozenset(
    {
        *SUSPENSIONS.values(),
        *STOPS.values(),
        *CAUSES.values(),
        *(NOT_LIVE, NOT_READY, NO_ANSWER, NOT_ASSIGNED, READING_PAUSED, GATE_CLOSED),
        *(STANDS_STILL, STUCK, COMMITS_FAIL, NEAR_RETENTION),
    }
)
"""All that a problem may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not well.

    Attributes:
        sentence: what waits and why, without a full stop.
        since: ms; None: not known, or no matter.
        entry: of the runbook.
        urgency: as there; NOT_URGENT for what ends by itself.
        partitions: those that wait for it; empty: all, or none.
        partner: whose calls wait; None: not one partner's.
    """

    sentence: str
    since: int | None
    entry: str
    urgency: Urgency
    partitions: tuple[int, ...] = ()
    partner: str | None = None


class Pulse(NamedTuple):
    """What `Health` says at one moment. `waiting`: for what of the brokers, and how long (seconds)."""

    live: HealthStatus
    ready: HealthStatus
    waiting: tuple[str, float] | None = None

    @classmethod
    def of(cls, health: Health) -> Pulse:
        """That of a run."""
        return cls(health.live(), health.ready(), health.waiting_for())


def problems_of(snapshot: Snapshot | None, pulse: Pulse, now: int) -> tuple[Problem, ...]:
    """All of them, the most urgent first. `now` in ms."""
    found = [*_of_the_process(snapshot, pulse, now)]
    if snapshot is not None:
        found += [
            *_of_decisions(snapshot),
            *_of_calls(snapshot, now),
            *_of_partners(snapshot, now),
            *_of_watermarks(snapshot, now),
            *_of_commits(snapshot, now, looked_at=not found),
        ]
    return tuple(sorted(found, key=lambda problem: _ORDER[problem.urgency]))


@cache
def urgency_of(entry: str) -> Urgency:
    """What the runbook says of this entry."""
    said = re.search(r"\*\*How urgent:\*\* (Now|Today|This week|Not urgent)", manual.text_of(f"runbook#{entry}"))
    return Urgency(said[1]) if said else Urgency.TODAY


def _urgency(entry: str, seconds: float) -> Urgency:
    """That of the runbook; but nothing waits for so many seconds that ends by itself soon."""
    urgency = urgency_of(entry)
    return Urgency.TODAY if urgency is Urgency.NOT_URGENT and seconds > LASTING else urgency


def _problem(sentence: str, since: int | None, entry: str, **more: object) -> Problem:
    told = {"urgency": urgency_of(entry)} | more
    return Problem(sentence=sentence, since=since, entry=entry, **told)  # type: ignore[arg-type] # by their names


# -- the process -----------------------------------------------------------------------------------------------------


def _of_the_process(snapshot: Snapshot | None, pulse: Pulse, now: int) -> Iterator[Problem]:
    since = None if snapshot is None else snapshot.taken_at
    if pulse.waiting is not None and pulse.waiting[1] >= QUIET:
        what, seconds = pulse.waiting
        yield _problem(
            f"the brokers have not answered for {span(seconds)} ({what}): nothing is read, decided or committed until "
            "they do, and what is shown below is as old",
            now - round(1000 * seconds),
            NO_ANSWER,
        )
    elif not pulse.live.ok:
        yield _problem(pulse.live.reason, since, NOT_LIVE)
    elif since is not None and now - since > 1000 * QUIET:
        age = span((now - since) / 1000)
        yield _problem(f"the loop has not turned for {age}, and what is shown below is as old", since, NOT_LIVE)
    elif snapshot is None or not snapshot.assigned:
        starting = snapshot is None or now - snapshot.started_at < 1000 * PATIENCE
        more = {"urgency": Urgency.NOT_URGENT} if starting else {}
        yield _problem(pulse.ready.reason, None if snapshot is None else snapshot.started_at, NOT_ASSIGNED, **more)
    elif snapshot.stopping:
        words = "it stops: calls in flight may end, then what is settled is committed"
        yield _problem(words, None, NOT_READY, urgency=Urgency.NOT_URGENT)


def _of_decisions(snapshot: Snapshot) -> Iterator[Problem]:
    for phase, words in (
        ("restoring", "what was read before the start is read again, and nothing is decided until that is done"),
        ("draining", "handed over: calls in flight may end, then what is settled is committed"),
    ):
        tasks = [task for task in snapshot.tasks if task.phase == phase]
        if tasks:
            yield _problem(
                f"{_listed(tasks)}: {words}", None, NOT_READY, urgency=Urgency.NOT_URGENT, partitions=_numbers(tasks)
            )
    for suspended in snapshot.suspended:
        where = f"{listed(suspended.partitions)}: " if suspended.partitions else ""
        entry = SUSPENSIONS.get(suspended.reason, STANDS_STILL)
        ends_by_itself = {"urgency": Urgency.NOT_URGENT} if suspended.reason in {"landing", "gap"} else {}
        yield _problem(
            f"{where}{suspended.what}", suspended.since, entry, partitions=suspended.partitions, **ends_by_itself
        )


# -- the calls -------------------------------------------------------------------------------------------------------


def _of_calls(snapshot: Snapshot, now: int) -> Iterator[Problem]:
    calls, waiting = snapshot.calls, sum(task.due_uncalled for task in snapshot.tasks)
    # Where no call waits, the gate was last looked at who knows when.
    if waiting and (calls.gate_closed or calls.gate_narrow):
        leave, why = (
            ("no call leaves", calls.gate_closed) if calls.gate_closed else ("calls leave singly", calls.gate_narrow)
        )
        yield _problem(
            f"{leave}, and {counted(waiting, 'offer')} wait{'s' if waiting == 1 else ''}: {'; '.join(why)}",
            None,
            GATE_CLOSED,
            **({} if calls.gate_closed else {"urgency": Urgency.NOT_URGENT}),
        )
    if snapshot.full:
        waiting = sum(task.unsettled for task in snapshot.tasks)
        yield _problem(
            f"offers are read no further, since {counted(waiting, 'offer')} {'is' if waiting == 1 else 'are'} decided "
            "and not settled, as many as delivery.max_unsettled allows: see why calls do not succeed",
            None,
            READING_PAUSED,
        )


def _of_partners(snapshot: Snapshot, now: int) -> Iterator[Problem]:
    """Partners whose calls are stopped, and partitions whose oldest offer waits long though its partner is called."""
    held: dict[str, list[TaskSnapshot]] = {}
    for task in snapshot.tasks:
        if task.oldest_unsettled is not None:
            held.setdefault(task.oldest_unsettled.partner_code, []).append(task)
    for partner in snapshot.partners:
        if partner.stopped_by:
            tasks = held.pop(partner.code, [])
            since = "" if partner.stopped_since is None else f" since {clock(partner.stopped_since, now)}"
            entry = STOPS.get(partner.stopped_by[0], STUCK)
            urgency = _urgency(entry, max((_overdue(task, now) for task in tasks), default=0.0))
            yield _problem(
                _waits(tasks, f"partner {partner.code} {_stopped(partner)}{since}", partner.unsettled, now),
                partner.stopped_since,
                entry,
                urgency=urgency,
                partitions=_numbers(tasks),
                partner=partner.code,
            )
    if snapshot.calls.gate_closed:
        return
    known = {partner.code: partner for partner in snapshot.partners}
    for code, waiting in held.items():
        tasks = [task for task in waiting if task.phase == "running" and _overdue(task, now) > OVERDUE]
        if not tasks:
            continue
        called = known.get(code)
        limit = "" if called is None or called.rate_limit is None else f", at most {called.rate_limit:,.3g} a second"
        why = f"calls of partner {code} are made{limit}, and wait for their turn"
        number = sum(task.unsettled for task in tasks) if called is None else called.unsettled
        yield _problem(_waits(tasks, why, number, now), None, STUCK, partitions=_numbers(tasks), partner=code)


def _waits(tasks: list[TaskSnapshot], why: str, calls: int, now: int) -> str:
    """`partition 3: oldest unsettled offer is 41 min old, …; committed offset held at 88,120`."""
    oldest = min((task.oldest_unsettled.presented_at for task in tasks if task.oldest_unsettled), default=None)
    waiting = f"{counted(calls, 'call')} wait{'s' if calls == 1 else ''}"
    if oldest is None:
        return f"{why}; {waiting}"
    offsets = [f"{task.offers.committed:,}" for task in tasks if task.offers.committed is not None]
    held = ""
    if offsets:
        held = f"; committed offset{'s' if len(offsets) > 1 else ''} held at {enumerated(offsets)}"
    age = span((now - oldest) / 1000)
    return f"{_listed(tasks)}: oldest unsettled offer is {age} old, {why}; {waiting}{held}"


def _stopped(partner: PartnerSnapshot) -> str:
    status = f"{partner.last_status}" if partner.last_status is not None else ""
    by = partner.stopped_by[0]
    if by == "breaker":
        return f"answers {status}" if status else "does not answer"
    if by == "not_found":
        return "answers nothing but 404"
    if by == "retry_after":
        return f"answers {status or '429'} and has told us to wait"
    if by == "rejected":
        return f"refuses requests{f' ({status})' if status else ''}"
    return f"answers {status}" if status else "has no credentials that are taken"


def _overdue(task: TaskSnapshot, now: int) -> float:
    oldest = task.oldest_unsettled
    return 0.0 if oldest is None else (now - oldest.due_at) / 1000


# -- the watermark and the commits -----------------------------------------------------------------------------------


def _of_watermarks(snapshot: Snapshot, now: int) -> Iterator[Problem]:
    """Watermarks that stand still, those of one cause together; not those of which is said already why."""
    alike: dict[tuple[str, str, str], list[tuple[TaskSnapshot, HeldBack]]] = {}
    for task in snapshot.tasks:
        held = task.held_back
        if held is None or not held.told:
            continue
        if (held.cause == "unsettled" and snapshot.full) or (held.cause == "suspended" and snapshot.suspended):
            continue
        alike.setdefault((held.side, held.cause, held.what), []).append((task, held))
    for (side, cause, what), found in alike.items():
        tasks, since = [task for task, _ in found], min(held.since for _, held in found)
        first = tasks[0].offers if side == "offers" else tasks[0].checkouts
        at = f" at offset {first.position:,}" if len(tasks) == 1 else ""
        entry = CAUSES.get(cause, STANDS_STILL)
        stand = "the watermark stands" if len(tasks) == 1 else "the watermarks stand"
        yield _problem(
            f"{_listed(tasks)}: {stand} still since {clock(since, now)}, held by {first.topic}{at}: {what}",
            since,
            entry,
            urgency=_urgency(entry, (now - since) / 1000),
            partitions=_numbers(tasks),
        )


def _of_commits(snapshot: Snapshot, now: int, *, looked_at: bool) -> Iterator[Problem]:
    """Commits that fail or come too late; the first only where nothing that stops the loop is known."""
    stale = [
        task
        for task in snapshot.tasks
        if task.phase == "running" and task.committed_at is not None and now - task.committed_at > 1000 * UNCOMMITTED
    ]
    if stale and looked_at:
        since = min(task.committed_at for task in stale if task.committed_at is not None)
        yield _problem(
            f"{_listed(stale)}: no commit has been acknowledged since {clock(since, now)}: a restart would repeat the "
            "calls made since then",
            since,
            COMMITS_FAIL,
            partitions=_numbers(stale),
        )
    for task in snapshot.tasks:
        for one in (task.offers, task.checkouts):
            if one.retention_left is not None and one.retention_left < RETENTION:
                yield _problem(
                    f"partition {task.partition}: retention deletes in {span(one.retention_left)} what the commit of "
                    f"{one.topic} still needs: the next start would then be refused, and opt-outs be lost",
                    None,
                    NEAR_RETENTION,
                    partitions=(task.partition,),
                )


def _numbers(tasks: Iterable[TaskSnapshot]) -> tuple[int, ...]:
    return tuple(task.partition for task in tasks)


def _listed(tasks: Iterable[TaskSnapshot]) -> str:
    return listed(_numbers(tasks))
