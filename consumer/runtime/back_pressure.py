"""Which inputs are read no further for now, so that memory stays bounded.

An input is paused while it is ahead of the other one (`TaskRunner.pauses`). Offers are too, while more is decided and
not settled than `delivery.max_unsettled`, and while decisions are suspended and much is undecided. Checkouts are while
many are kept that move no watermark (`KeptCheckouts`). The consumer keeps polling and keeps its assignment meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog

from ..core.guards import SuspendedBy
from ..core.task import Task
from ..core.watermark import Side
from .kept_checkouts import KeptCheckouts
from .runner import TaskRunner
from .suspension import Suspension

log = structlog.get_logger(__name__)


class BackPressure:
    """Says what to pause.

    Args:
        topics: of the offers and of the checkouts.
        max_unsettled: chains decided and not settled, over all tasks, from which on reading is paused.

    Attributes:
        full: no offers are read until some of them are settled.
        stops_offers: nor of these tasks, while so much is undecided by what holds their decisions.
        kept_checkouts: says of which tasks no checkouts are read.
    """

    def __init__(self, topics: tuple[str, str], max_unsettled: int) -> None:
        self.full = False
        self.stops_offers: frozenset[Task] = frozenset()
        self.kept_checkouts = KeptCheckouts()
        self._topics = topics
        self._most = max_unsettled

    def wanted(self, runners: Collection[TaskRunner], suspension: Suspension) -> set[tuple[str, int]]:
        """The partitions to read nothing from."""
        tasks = [runner.task for runner in runners]
        self._measure(tasks)
        self.stops_offers = suspension.stops_offers(tasks)
        misdated = suspension.by is SuspendedBy.MISDATED
        self.kept_checkouts.look(runners, suspension.most_checkouts, misdated=misdated)
        reads_on = suspension.reads_checkouts(tasks) if self.full or self.stops_offers else frozenset[Task]()
        wanted: set[tuple[str, int]] = set()
        for runner in runners:
            sides = runner.pauses()
            if (self.full or runner.task in self.stops_offers) and not runner.task.restoring:
                # Checkouts are read on: each may be a purchase that takes back a call that waits, or what ends a
                # suspension. But reading them has to wait for records that wait, which would else be kept in memory
                # without end.
                sides = {Side.OFFERS, *(runner.waiting.sides if runner.task in reads_on else sides)}
            if runner.task in self.kept_checkouts.stopped:
                sides.add(Side.CHECKOUTS)
            wanted.update((self._topics[side], runner.partition) for side in sides)
        return wanted

    def _measure(self, tasks: Collection[Task]) -> None:
        unsettled = sum(task.unsettled for task in tasks)
        # A tenth of slack: each pause throws away what the client had fetched.
        full = unsettled >= (0.9 * self._most if self.full else self._most)
        if full != self.full:
            self.full = full
            log.warning(
                "reading is paused" if full else "reading goes on", unsettled=unsettled, max_unsettled=self._most
            )
