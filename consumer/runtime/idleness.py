"""Tells an input without traffic from one that is not read, so that the watermark moves in a quiet night.

An input is idle only when it had no record for `idle_after`, the broker was asked for its end since, and everything
below that end had been read. Its watermark is then the wall clock from before the question, less lateness: at that
moment nothing older than lateness was still on its way, provided that producers could deliver. After trouble they
may still hold what they could not, so for the length of lateness no idle watermark is given.

Nor is it before an input has been watched for so long since it was assigned. A start does not know of the outage that
it may be the end of, and a new owner not of the trouble that the former one had; no record tells, since producers that
cannot deliver write none. The price is that after a start or a rebalance quiet topics are decided by up to lateness
later; a call that was made too early could not be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from ..core.task import Side, Task
from ..kafka.end_offsets import EndOffsets

log = structlog.get_logger(__name__)

JUMP = 1.0
"""Seconds the wall clock may move against the monotonic one between two turns; time servers slew far slower."""

REMINDER = 60.0
"""Seconds between two lines of the log about trouble that recurs."""


class Idleness:
    """Asks for ends and moves the tasks' idle watermarks. All durations are in seconds."""

    def __init__(
        self,
        ends: Callable[[Callable[[str], None]], EndOffsets],
        *,
        idle_after: float,
        lateness: float,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._ends = ends(self.trouble)
        self._idle_after = idle_after
        self._lateness = lateness
        self._wall = wall
        self._monotonic = monotonic
        self._drift = wall() - monotonic()
        self._trusted_from = float("-inf")
        self._next_reminder = float("-inf")
        self._watched: dict[tuple[Side, int], float] = {}
        self._heard: dict[tuple[Side, int], float] = {}
        self._next_question = 0.0
        self._asked = 0.0

    def begin(self, side: Side, partition: int) -> None:
        """The input was just assigned."""
        self._watched[side, partition] = self._heard[side, partition] = self._monotonic()

    def heard(self, side: Side, partition: int) -> None:
        """A record came."""
        self._heard[side, partition] = self._monotonic()

    def drop(self, side: Side, partition: int) -> None:
        """The input is no longer assigned."""
        del self._watched[side, partition], self._heard[side, partition]

    def trouble(self, reason: str) -> None:
        """Something happened after which producers may still be delivering what they had buffered."""
        now = self._monotonic()
        if now >= self._trusted_from or now >= self._next_reminder:
            self._next_reminder = now + REMINDER
            log.warning("no idle watermark for the length of lateness", reason=reason, seconds=self._lateness)
        self._trusted_from = now + self._lateness

    def look(self, tasks: Mapping[int, Task], topics: tuple[str, str]) -> bool:
        """Take the answer that has come, and ask when it is time. To be called once a turn.

        Returns:
            Whether a task was told that an input is idle: its watermark may have moved.
        """
        now = self._monotonic()
        self._look_at_clocks(now)
        moved = self._take_answer(tasks, topics)
        if not self._ends.waiting and now >= self._next_question:
            quiet = [
                (topics[side], partition)
                for (side, partition), heard in self._heard.items()
                if now - heard >= self._idle_after
            ]
            if quiet:
                self._next_question = now + self._idle_after
                self._asked = now
                self._ends.ask(quiet)
        return moved

    # --- inside

    def _look_at_clocks(self, now: float) -> None:
        drift = self._wall() - now
        if abs(drift - self._drift) > JUMP:
            self.trouble(f"the wall clock jumped by {drift - self._drift:+.1f} s")
        self._drift = drift

    def _take_answer(self, tasks: Mapping[int, Task], topics: tuple[str, str]) -> bool:
        answer = self._ends.answers()
        if answer is None or self._asked < self._trusted_from:
            return False
        asked_at, ends = answer
        moved = False
        for side in Side:
            for partition, task in tasks.items():
                end = ends.get((topics[side], partition))
                watched = self._asked - self._watched[side, partition] >= self._lateness
                if watched and end is not None and end <= task.next_offset(side):
                    moved = True
                    warning = task.idle(side, asked_at)
                    if warning is not None:
                        log.warning("found at the start of the task", partition=partition, finding=warning)
        return moved
