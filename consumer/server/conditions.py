"""What may be so for a while without being told since when by anybody: the history remembers it by these keys.

Numbers are those of the alerts (`manual/alerts.yml`), so that the page says of an instance what an alert does.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..snapshot import InputSnapshot, Snapshot, TaskSnapshot

FULL = "full"
GATE = "gate"
CLOCK = "clock"
HALVES = "halves"

LATE = 600.0
"""Seconds by which a watermark may be behind the clock beyond `join.lateness`."""

VERY_LATE = 6_900.0
"""The same where no wait that ends by itself lasts as long."""

CLOCK_AHEAD = 2.0
"""Seconds by which our clock may differ: from there on it is not believed in quiet topics."""

METADATA = 0.9
"""The part of what the broker takes of a commit's text that may be used."""

RETENTION = 43_200.0
"""Seconds until retention deletes what a commit needs, a night, from which on somebody has to act now. Of a topic that
keeps less than a day it is half of that."""

HALF = 0.5
"""The part of the retention after which it is said, as in the log."""


def late(partition: int) -> str:
    """The key of `is_late`."""
    return f"late {partition}"


def metadata(partition: int) -> str:
    """The key of `is_nearly_full`."""
    return f"metadata {partition}"


def suspended(reason: str) -> str:
    """The key of decisions that are suspended for this reason."""
    return f"suspended {reason}"


def stopped(partner_code: str) -> str:
    """The key of a partner whose calls wait, since something stops them."""
    return f"stopped {partner_code}"


def retention(topic: str, partition: int) -> str:
    """The key of `nears_retention`."""
    return f"retention {topic} {partition}"


def behind(task: TaskSnapshot, snapshot: Snapshot) -> float:
    """Seconds by which a task that decides is further behind the clock than by `join.lateness`."""
    if task.phase != "running" or task.watermark is None:
        return 0.0
    return max(0.0, (snapshot.taken_at - task.watermark) / 1000 - snapshot.lateness)


def is_late(task: TaskSnapshot, snapshot: Snapshot) -> bool:
    """Whether it decides later than it should."""
    return behind(task, snapshot) > LATE


def is_nearly_full(task: TaskSnapshot) -> bool:
    """Whether the text of its commit has nearly no room left."""
    return task.metadata_limit > 0 and task.metadata_characters > METADATA * task.metadata_limit


def needs_retention(one: InputSnapshot) -> float:
    """Seconds to the end of retention that an input's commit needs at least, so that nobody has to be woken."""
    return RETENTION if one.retention is None else min(RETENTION, HALF * one.retention)


def nears_retention(one: InputSnapshot) -> bool:
    """Whether retention may soon delete what an input's commit needs, or half of it is used up."""
    if one.retention_left is None:
        return False
    return one.retention_left < max(needs_retention(one), HALF * (one.retention or 0.0))


def differs(snapshot: Snapshot) -> bool:
    """Whether our clock is not that of others."""
    return snapshot.clock_ahead is not None and abs(snapshot.clock_ahead) > CLOCK_AHEAD


def conditions_of(snapshot: Snapshot) -> Iterator[str]:
    """The keys of what is so."""
    whole = {FULL: snapshot.full, GATE: snapshot.gate_closed, CLOCK: differs(snapshot), HALVES: snapshot.halves}
    yield from (key for key, is_so in whole.items() if is_so)
    for one in snapshot.suspended:
        yield suspended(one.reason)
    for code, stops in snapshot.calls.stopped.items():
        if stops and snapshot.calls.unsettled.get(code):
            yield stopped(code)
    for task in snapshot.tasks:
        if is_late(task, snapshot):
            yield late(task.partition)
        if is_nearly_full(task):
            yield metadata(task.partition)
        for side in (task.offers, task.checkouts):
            if nears_retention(side):
                yield retention(side.topic, task.partition)
