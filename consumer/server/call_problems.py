"""What is not well with the calls: the gate is closed, a partner is stopped, calls fail, an offer is not settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..snapshot import PartnerSnapshot, Snapshot, TaskSnapshot
from . import conditions
from .conditions import FULL, GATE
from .history import CALLS_OVER, MINUTE, PURCHASES_OVER, WAITS_OVER, Hour, Tries
from .problem import Problem, Urgency, begun, lasting, listed_of, numbers_of, once_lasting, problem
from .words import clock, counted, enumerated, span

OVERDUE = 300.0
"""Seconds by which an offer may be overdue before that is said: calls wait for their turn."""

LASTING = 900.0
"""Seconds after which what mostly ends by itself has not."""

PASSING = 600.0
"""Seconds for which reading may be paused, or no call leave, until somebody should look: a broker that restarts takes
less than one minute, and a peak of offers some."""

FAILED = 0.2
"""The part of a partner's tries that may fail: single ones are tried again and cost nothing."""

FEW_FAILED = 10
"""Fewer than so many failed tries within an hour are no reason to act yet, whatever part of them all they are."""

TOLD_TO_WAIT = 0.5
"""The part of the time for which the API may tell us to wait."""

MOST_NOT_FOUND, PART_NOT_FOUND = 20, 0.5
"""Offers within an hour that the insurer may not know; and the part of the calls that they may be."""

MOST_PURCHASES, PART_OF_PURCHASES = 5, 0.01
"""Purchases after an opt-out within an hour that are customers who came back; and the part of the opt-outs they are."""

STOPS: Mapping[str, str] = {
    "credentials": "credentials-refused",
    "breaker": "breaker-opened",
    "retry_after": "told-to-wait",
    "not_found": "nothing-but-404s",
    "rejected": "rejected",
}
"""The entry of each of `snapshot.PartnerSnapshot.stopped_by`."""

_UNTOLD = "not told one by one"

READING_PAUSED = "reading-is-paused"
GATE_CLOSED = "no-call-leaves"
STUCK = "an-offset-is-stuck"
CALLS_FAIL = "calls-fail"
NOT_FOUND = "404s-are-believed"
BOUGHT = "purchase-after-opt-out"


def of_calls(snapshot: Snapshot, hour: Hour, now: int) -> Iterator[Problem]:
    """All calls together. `now` in ms."""
    calls, waiting = snapshot.calls, sum(task.due_uncalled for task in snapshot.tasks)
    offers = f"{counted(waiting, 'offer')} wait{'s' if waiting == 1 else ''}"
    if why := snapshot.gate_closed:
        since = begun(GATE, hour, snapshot)
        urgency = once_lasting(Urgency.TODAY, hour.since.get(GATE), now, PASSING)
        yield problem(f"no call leaves, and {offers}: {'; '.join(why)}", since, GATE_CLOSED, urgency=urgency)
    elif waiting and calls.gate_narrow:
        words = f"calls leave singly, and {offers}: {'; '.join(calls.gate_narrow)}"
        yield problem(words, None, GATE_CLOSED, urgency=Urgency.NOT_URGENT)
    if snapshot.full:
        unsettled = sum(task.unsettled for task in snapshot.tasks)
        yield problem(
            f"offers are read no further, since {counted(unsettled, 'offer')} {'is' if unsettled == 1 else 'are'} "
            "decided and not settled, as many as delivery.max_unsettled allows: see why calls do not succeed",
            begun(FULL, hour, snapshot),
            READING_PAUSED,
            urgency=once_lasting(Urgency.TODAY, hour.since.get(FULL), now, PASSING),
        )
    yield from _bought(hour)


def _bought(hour: Hour) -> Iterator[Problem]:
    bought, told = hour.risen.purchases_after_opt_out, hour.risen.opted_out
    if bought > MOST_PURCHASES and bought > PART_OF_PURCHASES * told:
        yield problem(
            f"{counted(bought, 'offer')} {'was' if bought == 1 else 'were'} bought within {_over(PURCHASES_OVER)} that "
            f"the insurer had been told of as not bought, and {told:,} opted out: calls may be made too early",
            None,
            BOUGHT,
        )


# -- partners --------------------------------------------------------------------------------------------------------


def of_partners(snapshot: Snapshot, hour: Hour, now: int) -> Iterator[Problem]:
    """Partners whose calls are stopped or fail, and offers that wait long though neither is so. `now` in ms."""
    held: dict[str, list[TaskSnapshot]] = {}
    for task in snapshot.tasks:
        if task.oldest_unsettled is not None:
            held.setdefault(task.oldest_unsettled.partner_code, []).append(task)
    known = {partner.code: partner for partner in snapshot.partners}
    for code, stops in snapshot.calls.stopped.items():
        if stops and code not in known:  # only so many are told one by one
            waiting = snapshot.calls.unsettled.get(code, 0)
            known[code] = PartnerSnapshot(code=code, unsettled=waiting, words=_UNTOLD, stopped_by=stops)
    stopped = {code: partner for code, partner in known.items() if partner.stopped_by and partner.unsettled}
    for code, partner in stopped.items():
        yield _of_stopped(partner, held.pop(code, []), hour, now)
    yield from _failing(hour, set(stopped))
    yield from _not_found(hour, set(stopped))
    yield from _mostly_waiting(hour, set(stopped), snapshot)
    if snapshot.gate_closed:
        return
    for code, waiting_tasks in held.items():
        if tasks := [task for task in waiting_tasks if task.phase == "running" and _waits(task, now) > OVERDUE]:
            yield _unsettled(code, tasks, known.get(code), now)


def _of_stopped(partner: PartnerSnapshot, tasks: list[TaskSnapshot], hour: Hour, now: int) -> Problem:
    since, entry = partner.stopped_since, STOPS.get(partner.stopped_by[0], STUCK)
    lasts = max((_waits(task, now) for task in tasks), default=0.0)
    if (seen := hour.since.get(conditions.stopped(partner.code)) if since is None else since) is not None:
        lasts = max(lasts, (now - seen) / 1000)
    urgency = lasting(entry, lasts, LASTING)
    if urgency is Urgency.NOT_URGENT and hour.risen.told_to_wait.get(partner.code, 0.0) > TOLD_TO_WAIT:
        urgency = Urgency.TODAY
    when = "" if since is None else f" since {clock(since, now)}"
    return problem(
        _waiting(tasks, f"partner {partner.code} {_stopped(partner)}{when}", partner.unsettled, now),
        since,
        entry,
        urgency=urgency,
        partitions=numbers_of(tasks),
        partner=partner.code,
    )


def _failing(hour: Hour, said: set[str]) -> Iterator[Problem]:
    """Good answers come between those that failed, so that nothing stops the partner."""
    for code, (answered, failed, _) in hour.risen.tries.items():
        if code not in said and failed > FAILED * (answered + failed):
            few = failed < FEW_FAILED and hour.risen.tries_of_the_hour.get(code, Tries()).failed < FEW_FAILED
            yield problem(
                f"{failed:,} of {answered + failed:,} tries of partner {code} were answered neither 204 nor 404 in "
                f"{_over(CALLS_OVER)}; they are made again until they are",
                None,
                CALLS_FAIL,
                urgency=Urgency.NOT_URGENT if few else Urgency.TODAY,
                partner=code,
            )


def _not_found(hour: Hour, said: set[str]) -> Iterator[Problem]:
    """204s come between, so that each 404 is believed, and none of these offers is opted out."""
    for code, tries in hour.risen.tries_of_the_hour.items():
        if code not in said and tries.not_found > max(MOST_NOT_FOUND, PART_NOT_FOUND * tries.answered):
            yield problem(
                f"{tries.not_found:,} of {tries.answered:,} calls of partner {code} were answered 404 in "
                f"{_over(PURCHASES_OVER)}: such offers are settled and not opted out",
                None,
                NOT_FOUND,
                urgency=Urgency.TODAY,
                partner=code,
            )


def _mostly_waiting(hour: Hour, said: set[str], snapshot: Snapshot) -> Iterator[Problem]:
    """A pause lasts for seconds and the next one follows: between them nothing stops the partner."""
    for code, part in hour.risen.told_to_wait.items():
        if part > TOLD_TO_WAIT and code not in said and snapshot.calls.unsettled.get(code):
            words = f"the API has told partner {code} to wait for {part:.0%} of {_over(WAITS_OVER)}"
            yield problem(words, None, STOPS["retry_after"], urgency=Urgency.TODAY, partner=code)


def _unsettled(code: str, tasks: list[TaskSnapshot], called: PartnerSnapshot | None, now: int) -> Problem:
    """Offers that are decided for long and not settled, though nothing stops their partner."""
    calls = sum(task.unsettled for task in tasks) if called is None else called.unsettled
    if any(task.first_calls for task in tasks):
        calls = sum(task.first_calls for task in tasks)
        why = "calls wait until the checkouts are read that stood in the log when this instance began"
    elif called is None or not called.unsettled:
        why = f"its call is not with those of partner {code} that are made"
    elif called.rate_limit is not None and called.unsettled > called.rate_limit * OVERDUE:
        limit = f"at most {called.rate_limit:,.3g} a second with its credential"
        why = f"calls of partner {code} are made, {limit}, and wait for their turn"
    else:
        last = f", and the last that failed was answered {called.last_status}" if called.last_status else ""
        why = f"its call to partner {code} is tried and does not succeed{last}"
    since = min(task.oldest_unsettled.waits_since for task in tasks if task.oldest_unsettled is not None)
    return problem(_waiting(tasks, why, calls, now), since, STUCK, partitions=numbers_of(tasks), partner=code)


def _waiting(tasks: list[TaskSnapshot], why: str, calls: int, now: int) -> str:
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
    return f"{listed_of(tasks)}: oldest unsettled offer is {age} old, {why}; {waiting}{held}"


def _stopped(partner: PartnerSnapshot) -> str:
    status = f"{partner.last_status}" if partner.last_status is not None else ""
    by = partner.stopped_by[0]
    if by == "breaker":
        return f"answers {status}" if status else "fails" if partner.words == _UNTOLD else "does not answer"
    if by == "not_found":
        return "answers nothing but 404"
    if by == "retry_after":
        return f"answers {status or '429'} and has told us to wait"
    if by == "rejected":
        return f"refuses requests{f' ({status})' if status else ''}"
    return f"answers {status}" if status else "has no credentials that are taken"


def _waits(task: TaskSnapshot, now: int) -> float:
    """Seconds for which the oldest offer is not settled though it could be."""
    oldest = task.oldest_unsettled
    return 0.0 if oldest is None else (now - oldest.waits_since) / 1000


def _over(ms: int) -> str:
    return "the last hour" if ms == 60 * MINUTE else f"the last {ms // MINUTE} minutes"
