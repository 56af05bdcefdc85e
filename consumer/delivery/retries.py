"""Calls that wait for another try."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from .partner import PendingCall

BATCH = 10_000
"""So many waiting calls fall due in one step of the loop, lest the calls in flight wait for them."""


class Retries:
    """A heap by the time each is due, and one timer for the earliest."""

    def __init__(self, on_due: Callable[[list[PendingCall]], None]) -> None:
        """`on_due` is called on the running loop with calls whose time has come."""
        self._on_due = on_due
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[float, int, PendingCall]] = []
        self._serial = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def push(self, pending: PendingCall, seconds: float) -> None:
        """Due in so many seconds."""
        heapq.heappush(self._heap, (self._loop.time() + seconds, next(self._serial), pending))
        self._set_timer()

    def keep(self, wanted: Callable[[PendingCall], bool]) -> None:
        """Forget the others."""
        self._heap = [item for item in self._heap if wanted(item[2])]
        heapq.heapify(self._heap)

    def close(self) -> None:
        """Nothing falls due any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        due = self._heap[0][0]
        if self._timer is None or self._timer.when() > due:
            self.close()
            self._timer = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now = self._loop.time()
        due: list[PendingCall] = []
        while self._heap and self._heap[0][0] <= now and len(due) < BATCH:
            due.append(heapq.heappop(self._heap)[2])
        if self._heap:
            self._set_timer()
        self._on_due(due)
