"""Calls made again, and the fault that is to blame for each.

A repeat is a settling answer for an offer of which as many chains as were due by then had one already. To blame is the
first fault after the answer before it that took the task away, or kept it from committing: what was settled before
was not committed when it fell. A repeat without any such fault in between comes from a hand-over between instances
that live.

The promise that it is held against: after a kill at most `delivery.concurrency` calls, plus those settled since the
last commit, while the list of the unsettled fits the commit's metadata.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from consumer.audit.decision import Fate
from consumer.emulator.call_log import Call
from consumer.events import Reason

Offer = tuple[str, str]
TO_BLAME = frozenset({"kill", "pause", "wake", "broker down", "broker up"})
"""Faults by which an instance loses its tasks, or by which none can commit."""
FLIGHT_MS = 500
"""A call may reach the API so long after its caller is dead."""


class Fault(NamedTuple):
    """One thing that was done, or that happened.

    Attributes:
        time_ms: wall clock.
        what: `kill`, `pause`, `wake`, `broker down`, `broker up`, `storm`, `calm`, or `exit N`: not our doing.
        victim: which instance; empty if none in particular.
        partitions: what it had been assigned; empty: not known, as in the middle of a rebalance.
    """

    time_ms: int
    what: str
    victim: str = ""
    partitions: frozenset[int] = frozenset()


class Settled(NamedTuple):
    """A settling answer: when (ms), in which partition; `before` is when its chain had one before, if it had."""

    time_ms: int
    partition: int
    before: int | None = None


class Burst(NamedTuple):
    """What a fault is to blame for.

    Attributes:
        repeats: settling answers that were given again.
        bound: what the promise allows: concurrency, and the answers of the victim's tasks since a commit ago.
        backlog: the most offers that were due and not settled on one of the victim's tasks: beyond a thousand the
            list may not fit, and the bound does not hold.
    """

    fault: Fault
    repeats: int
    bound: int
    backlog: int


def settling(calls: Iterable[Call], fates: Iterable[Fate], partition_of: Mapping[str, int]) -> list[Settled]:
    """All settling answers in order of time."""
    due: defaultdict[Offer, list[int]] = defaultdict(list)
    place: dict[Offer, int] = {}
    for fate in fates:
        place[fate.partner_code, fate.offer_id] = partition_of[fate.session_id]
        if fate.reason != Reason.PURCHASED:
            due[fate.partner_code, fate.offer_id].append(fate.decide_at)
    answered: defaultdict[Offer, list[int]] = defaultdict(list)
    found = []
    for call in sorted((call for call in calls if call.terminal), key=lambda call: call.time_ms):
        offer = call.partner_code, call.offer_id
        if offer in place:
            times = answered[offer]
            again = len(times) >= sum(at <= call.time_ms for at in due[offer])
            found.append(Settled(call.time_ms, place[offer], times[-1] if again and times else None))
            if again and times:
                times[-1] = call.time_ms
            else:
                times.append(call.time_ms)
    return found


def bursts(
    faults: Sequence[Fault],
    settled: Sequence[Settled],
    due: Iterable[tuple[int, int]],
    *,
    concurrency: int,
    commit_ms: int,
) -> tuple[list[Burst], int]:
    """One for each fault, and the number of repeats that none is to blame for.

    Args:
        faults, settled: in order of time.
        due: when (wall clock, ms) each chain to be called could be called first, and its partition.
        commit_ms: how long ago the last commit may be at the most.
    """
    blamed: Counter[int | None] = Counter(
        _to_blame(faults, answer, answer.before) for answer in settled if answer.before is not None
    )
    first: defaultdict[int, list[int]] = defaultdict(list)
    calls: defaultdict[int, list[int]] = defaultdict(list)
    for answer in settled:
        calls[answer.partition].append(answer.time_ms)
        if answer.before is None:
            first[answer.partition].append(answer.time_ms)
    waiting: defaultdict[int, list[int]] = defaultdict(list)
    for at, partition in due:
        waiting[partition].append(at)
    for times in waiting.values():
        times.sort()
    found = []
    for number, fault in enumerate(faults):
        at = fault.time_ms
        partitions = fault.partitions or waiting.keys()
        since = sum(bisect_right(calls[p], at) - bisect_left(calls[p], at - commit_ms) for p in partitions)
        backlog = max((bisect_right(waiting[p], at) - bisect_right(first[p], at) for p in partitions), default=0)
        found.append(Burst(fault, blamed[number], concurrency + since, max(0, backlog)))
    return found, blamed[None]


def _to_blame(faults: Sequence[Fault], answer: Settled, before: int) -> int | None:
    """Which of the faults between the two answers: the first that struck the task, else the first."""
    between = [
        (number, fault)
        for number, fault in enumerate(faults)
        if fault.what in TO_BLAME and before - FLIGHT_MS <= fault.time_ms <= answer.time_ms
    ]
    struck = (number for number, fault in between if not fault.partitions or answer.partition in fault.partitions)
    return next(struck, between[0][0] if between else None)
