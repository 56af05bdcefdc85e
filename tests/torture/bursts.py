"""Calls made again, and the blow that each burst of them followed.

A repeat is a settling answer for an offer of which as many chains as were due by then had one already. The promise
that it is held against: after a kill at most `delivery.concurrency` calls, plus those settled since the last commit,
while the list of the unsettled fits the commit's metadata.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from consumer.demo.calllog import Call
from consumer.demo.check import BOUGHT, Fate

Offer = tuple[str, str]
HAND_OVERS = frozenset({"kill", "pause", "wake"})
"""Blows by which an instance loses its tasks, and others take them over from what was committed."""


class Blow(NamedTuple):
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
    """A settling answer: when (ms), in which partition, and whether it was one too many."""

    time_ms: int
    partition: int
    again: bool


class Burst(NamedTuple):
    """What followed a blow until the next one; after a kill, a pause or a waking, until the next of those.

    Attributes:
        repeats: settling answers that were given again.
        bound: what the promise allows: concurrency, and the answers of the victim's tasks since a commit ago.
        backlog: the most offers that were due and not settled on one of the victim's tasks: beyond a thousand the
            list may not fit, and the bound does not hold.
    """

    blow: Blow
    repeats: int
    bound: int
    backlog: int


def settling(calls: Iterable[Call], fates: Iterable[Fate], partition_of: Mapping[str, int]) -> list[Settled]:
    """All settling answers in order of time."""
    due: defaultdict[Offer, list[int]] = defaultdict(list)
    place: dict[Offer, int] = {}
    for fate in fates:
        place[fate.partner_code, fate.offer_id] = partition_of[fate.session_id]
        if fate.fate != BOUGHT:
            due[fate.partner_code, fate.offer_id].append(fate.decide_at)
    answered: Counter[Offer] = Counter()
    found = []
    for call in sorted((call for call in calls if call.terminal), key=lambda call: call.time_ms):
        offer = call.partner_code, call.offer_id
        if offer in place:
            again = answered[offer] >= sum(at <= call.time_ms for at in due[offer])
            answered[offer] += not again
            found.append(Settled(call.time_ms, place[offer], again))
    return found


def bursts(
    blows: Sequence[Blow],
    settled: Sequence[Settled],
    due: Iterable[tuple[int, int]],
    *,
    concurrency: int,
    commit_ms: int,
) -> list[Burst]:
    """One for each blow.

    Args:
        settled: from `settling`.
        due: when (wall clock, ms) each chain to be called could be called first, and its partition.
        commit_ms: how long ago the last commit may be at the most.
    """
    repeats = [answer.time_ms for answer in settled if answer.again]
    first: defaultdict[int, list[int]] = defaultdict(list)
    calls: defaultdict[int, list[int]] = defaultdict(list)
    for answer in settled:
        calls[answer.partition].append(answer.time_ms)
        if not answer.again:
            first[answer.partition].append(answer.time_ms)
    waiting: defaultdict[int, list[int]] = defaultdict(list)
    for at, partition in due:
        waiting[partition].append(at)
    for times in waiting.values():
        times.sort()
    found = []
    for place, blow in enumerate(blows):
        at = blow.time_ms
        later = (other for other in blows[place + 1 :] if other.what in HAND_OVERS or blow.what not in HAND_OVERS)
        end = next((other.time_ms for other in later), max(repeats, default=at) + 1)
        partitions = blow.partitions or waiting.keys()
        since = sum(bisect_right(calls[p], at) - bisect_left(calls[p], at - commit_ms) for p in partitions)
        backlog = max((bisect_right(waiting[p], at) - bisect_right(first[p], at) for p in partitions), default=0)
        burst = bisect_left(repeats, end) - bisect_right(repeats, at)
        found.append(Burst(blow, max(0, burst), concurrency + since, max(0, backlog)))
    return found
