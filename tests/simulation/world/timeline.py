"""Virtual time: one clock for the world, and an event loop for each simulated process that lives by it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class Clock:
    """True time, in seconds since the epoch. It moves only when the world says so."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.now = start

    @property
    def ms(self) -> int:
        return int(self.now * 1000)


class Waiter:
    """Stands for the module `time` where the service sleeps: to sleep is to let the world's time pass.

    `sleeps` is told by each process, for as long as it is its turn.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sleeps: Callable[[float], object] = lambda _: None

    def monotonic(self) -> float:
        return self._clock.now - self._clock.start

    def sleep(self, seconds: float) -> None:
        self.sleeps(seconds)


class _NothingToRead(selectors.SelectSelector):
    """Looks, never waits."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is the world's. `advance` runs what is due, and returns."""

    def __init__(self, clock: Clock) -> None:
        self._world = clock
        self.errors: list[dict[str, Any]] = []
        super().__init__(_NothingToRead())
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self._world.now - self._world.start

    def advance(self) -> None:
        """Run callbacks until none is ready at the present time."""
        while self._ready or self.next_timer() <= self.time():  # type: ignore[attr-defined]  # asyncio has no public way to ask
            self.call_soon(self.stop)
            self.run_forever()

    def abandon(self) -> None:
        """The process that lived by it is dead: nothing of it runs any more."""
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to
        self._ready.clear()  # type: ignore[attr-defined]  # as above
        self.close()

    def next_timer(self) -> float:
        """When the next timer is due, in loop time; infinity if there is none."""
        timers = self._scheduled  # type: ignore[attr-defined]  # as above
        while timers and timers[0].cancelled():
            # As the loop itself does it when it comes by.
            self.call_soon(self.stop)
            self.run_forever()
        return float(timers[0].when()) if timers else float("inf")
