"""How many checkouts may be kept of a partition whose watermark they do not move.

What is kept of an input is forgotten by event time, and an input that is ahead of the other one is paused. Neither
bounds checkouts that move no watermark: such as are dated implausibly, or by a clock that stands still and stamps too.
To this they are all of the same time, however many there are. So they are counted, and the partitions that keep many of
them are read no further. That is so whether decisions are suspended or not, and whether offers are read or not. What
an outage kept back is not counted where it lands behind a newer one: its dates rise, so that it comes to an end.

Nothing else may end such a stop. What stands behind is not read, and what is kept cannot be forgotten. So the operator
is told, who knows whether there is memory for more. After a restart, and with another member, the same log is read
again and counted again: the stop is found again where it was, but for the records of one turn, however often that is.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import structlog

from ..core.rules import MIN_TIME
from ..core.task import Task
from ..core.watermark import Side
from .runner import TaskRunner
from .suspension import over_their_share

log = structlog.get_logger(__name__)

_STOPPED = (
    "checkouts are read no further in these partitions: too many would be kept that move no watermark. Have their "
    "producer mended. Then start again with the memory for it, and delivery.max_unsettled higher than what is counted"
)


class _Mark(NamedTuple):
    """Where the checkouts of a task stood when they moved last: times in ms, and how many were kept."""

    newest: int
    behind_to: int
    watermark: int
    kept: int


_NEW = _Mark(MIN_TIME, MIN_TIME, MIN_TIME, 0)


class KeptCheckouts:
    """Counts them, and says in the log where checkouts are read no further, and when they are again.

    Attributes:
        stopped: the tasks whose checkouts are read no further.
    """

    def __init__(self) -> None:
        self.stopped: frozenset[Task] = frozenset()
        self._marks: dict[Task, _Mark] = {}

    def look(self, runners: Collection[TaskRunner], most: int, *, misdated: bool) -> None:
        """Count what is kept now.

        Args:
            runners: of all tasks.
            most: checkouts that may be kept without a move of their watermark, over all tasks. A partition is stopped
                if it keeps its share of them.
            misdated: decisions are suspended by misdated checkouts. Then a watermark that goes with the clock is no
                move, since what a session has open is undecided, and keeps all its checkouts.
        """
        self._marks = {runner.task: self._mark(runner.task, misdated=misdated) for runner in runners}
        counted = {task: max(0, task.kept_checkouts - mark.kept) for task, mark in self._marks.items()}
        total = sum(counted.values())
        # A tenth of slack: each pause throws away what the client had fetched.
        bound = 0.9 * most if self.stopped else most
        stopped = {task for task in over_their_share(counted, bound) if _has_no_stop(task)}
        if stopped - self.stopped:
            partitions = sorted(runner.partition for runner in runners if runner.task in stopped)
            log.warning(_STOPPED, partitions=partitions, counted=total, kept=sum(t.kept_checkouts for t in stopped))
        elif self.stopped and not stopped:
            log.warning("checkouts are read again", counted=total)
        self.stopped = frozenset(stopped)

    def _mark(self, task: Task, *, misdated: bool) -> _Mark:
        before, checkouts = self._marks.get(task, _NEW), task.watermarks.checkouts
        moved = checkouts.newest > before.newest or checkouts.behind_to > before.behind_to
        moved |= checkouts.value > before.watermark and (task.restoring or not misdated)
        # What is read again is known to have stopped nothing where the watermark had gone further by the clock.
        moved |= task.restoring and checkouts.value < task.guard.ids.judged_to
        return _Mark(checkouts.newest, checkouts.behind_to, checkouts.value, task.kept_checkouts) if moved else before


def _has_no_stop(task: Task) -> bool:
    """Whether nothing else says how far its checkouts are read: what had been read before a restart is read again."""
    return not task.restoring or task.restore_until(Side.CHECKOUTS) is None
