"""One thing that is not well, and how urgent that is: as its entry of the runbook says, so that it is said once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache

from .. import manual
from ..snapshot import Snapshot, TaskSnapshot
from .history import Hour
from .words import listed

NEW = 60_000
"""ms after a start: what is first seen by then may have begun before."""


class Urgency(Enum):
    """As in the runbook, the most urgent first."""

    NOW = "Now"
    TODAY = "Today"
    THIS_WEEK = "This week"
    NOT_URGENT = "Not urgent"


ORDER = {urgency: number for number, urgency in enumerate(Urgency)}


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


@cache
def urgency_of(entry: str) -> Urgency:
    """What the runbook says of this entry. Where it says more than one, whoever has the case at hand knows which."""
    said = re.search(r"\*\*How urgent:\*\* (Now|Today|This week|Not urgent)", manual.text_of(f"runbook#{entry}"))
    return Urgency(said[1]) if said else Urgency.TODAY


def lasting(entry: str, seconds: float, patience: float) -> Urgency:
    """That of the runbook; but nothing waits for longer than `patience` seconds that ends by itself."""
    urgency = urgency_of(entry)
    return Urgency.TODAY if urgency is Urgency.NOT_URGENT and seconds > patience else urgency


def once_lasting(urgency: Urgency, since: int | None, now: int, patience: float) -> Urgency:
    """This one, once it has lasted for `patience` seconds, or nobody knows how long it has: shorter ones end."""
    return Urgency.NOT_URGENT if since is not None and now - since <= 1000 * patience else urgency


def problem(sentence: str, since: int | None, entry: str, **more: object) -> Problem:
    """One of the urgency that the runbook tells, if `more`, which are fields by name, says no other."""
    told = {"urgency": urgency_of(entry)} | more
    return Problem(sentence=sentence, since=since, entry=entry, **told)  # type: ignore[arg-type] # by their names


def begun(key: str, hour: Hour, snapshot: Snapshot) -> int | None:
    """Since when it is so (ms), by its key of `conditions`; None: nobody knows, as when it was so at the start."""
    since = hour.since.get(key)
    return None if since is None or since - snapshot.started_at < NEW else since


def numbers_of(tasks: Iterable[TaskSnapshot]) -> tuple[int, ...]:
    """Their partitions."""
    return tuple(task.partition for task in tasks)


def listed_of(tasks: Iterable[TaskSnapshot]) -> str:
    """The same in words."""
    return listed(numbers_of(tasks))
