"""When a backfill is over: its range is settled, or what is left of it cannot be settled yet."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..core.checkpoint import OfferCheckpoint
from ..core.rules import MAX_TIME
from ..core.watermark import Side
from ..errors import StartError
from ..events import OfferPresented
from ..runtime.runner import TaskRunner
from ..runtime.tasks import Tasks
from .mode import BackfillMode

EVERY = 2.0
"""Seconds between two questions of how far the other instances are."""

FLUSH = 2.0
"""Seconds that the end waits for what was written to be acknowledged, before it looks once more in a later turn."""

PATIENCE = 60.0
"""Seconds for which an instance that has something left waits for tasks of others: those of one that has died come once
its session is over, which takes 45."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of the range in the tasks that run here.

    Attributes:
        undecided: offers of the range that cannot be decided yet.
        waiting: chains that are decided, and whose call or dead letter is under way.
        unfinished: the partitions that have something left, or were not read to the range's end; and those of other
            instances of which that is not known.
    """

    undecided: int
    waiting: int
    unfinished: tuple[int, ...]


class End:
    """Asked after each turn whether the run is over.

    The wall clock plays one part: what the log held when the run began is read, and W has come to what that allows. An
    instance whose own tasks are settled waits for the others: if one of them dies, its tasks come here. One that has
    something left waits a while for the same reason, and not for ever, since two of those would wait for each other.

    Args:
        tasks: those that run here.
        mode: which chains are the run's.
        partitions: how many there are.
        began: when the run began (wall clock, ms).
        lateness: as set now (ms).
        flush: waits so many seconds for what was written to be acknowledged, and tells whether all is.
        on_open: is told of each offer of the range that is undecided at the end.
    """

    def __init__(
        self,
        tasks: Tasks,
        mode: BackfillMode,
        *,
        partitions: int,
        began: int,
        lateness: int,
        flush: Callable[[float], bool],
        on_open: Callable[[OfferPresented], None] = lambda shown: None,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._tasks = tasks
        self._mode = mode
        self._partitions = partitions
        self._at_log_end = began - lateness - 1
        self._flush = flush
        self._on_open = on_open
        self._monotonic = monotonic
        self._next_question = 0.0
        self._over_since: float | None = None
        self._random = random
        self._listed: tuple[int, ...] = ()
        self._listed_until = 0.0

    def is_reached(self) -> bool:
        """Whether to stop now."""
        runners = self._tasks.runners
        if not self._tasks.consumer.assigned or not all(self._is_over(runner) for runner in runners.values()):
            self._over_since = None
            return False
        now = self._monotonic()
        self._over_since = now if self._over_since is None else self._over_since
        if len(runners) < self._partitions and not self._others_are_done(now):
            is_done = all(runner.is_done for runner in runners.values())
            if is_done or now - self._over_since < PATIENCE:
                return False
        # What is not acknowledged may never be recorded: a run that says that all is settled must know it.
        return self._flush(FLUSH)

    def left(self) -> Left:
        """What is left, before the tasks are given back."""
        undecided = 0
        for partition, runner in self._tasks.runners.items():
            for shown in runner.task.open_offers():
                if self._mode.scope.range.contains(partition, shown):
                    undecided += 1
                    self._on_open(shown)
        runners = self._tasks.runners.items()
        unfinished = {partition for partition, runner in runners if not runner.is_done}
        unfinished.update(set(self._listed) - self._tasks.runners.keys())
        return Left(
            undecided,
            sum(runner.task.unsettled for _, runner in runners),
            tuple(sorted(unfinished)),
        )

    def _is_over(self, runner: TaskRunner) -> bool:
        if runner.is_done:
            return True
        task = runner.task
        if task.restoring or task.unsettled or runner.outstanding or task.due.has_more:
            return False
        # Checkouts may still land behind a gap in them: that is over within moments, and what is due is decided then.
        if task.guard.behind_gap or (not task.guard.has_landed and task.guard.resume_at < MAX_TIME):
            return False
        # What is kept back as a mass of late offers is kept until somebody does something about it.
        return runner.late_run.suspended or (task.watermark >= self._at_log_end and not runner.late_run.kept)

    def _others_are_done(self, now: float) -> bool:
        if now < self._next_question:
            return False
        self._next_question = now + EVERY
        try:
            positions = self._tasks.consumer.positions()
        except StartError:
            return False  # the broker is away: it is asked again
        self._listed = ()
        scope, listed = self._mode.scope, list[int]()
        for partition in sorted(set(range(self._partitions)) - self._tasks.runners.keys()):
            found = positions.by_place[Side.OFFERS, partition].checkpoint
            if not isinstance(found, OfferCheckpoint):
                return False
            if found.decided_to < scope.done_at(partition) or not scope.range.is_read(partition, found.next_offset):
                return False
            if found.unsettled:
                listed.append(partition)
        if not listed:
            return True
        # A commit also lists what is open behind the range beside a checkout without a date. Two instances that have
        # such would wait for each other: one leaves, and says that it does not know; its tasks come to the other.
        self._listed = tuple(listed)
        self._listed_until = self._listed_until or now + PATIENCE * (1 + self._random())
        return now >= self._listed_until
