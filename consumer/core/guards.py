"""Two guards against a broken checkout producer, which no rule of the join could tell from customers who buy nothing.

Silence: presentations run more than `checkout_silence` of event time ahead of the newest checkout. A checkout of any
of the instance's tasks ends it; where none was ever seen, the first presentation stands for it. Decisions go on once
lateness has passed on the checkouts' side since, for what the producer had kept back to land.

Unmatched: `unmatched_limit` purchased ids in a row name no offer presented in their session, such as booking ids in
the place of offer ids. One that does ends it.

Only decisions stop. The watermark moves on, D stays where it is, and a checkout that comes late joins whatever was
held. What the guards remember is committed with the checkout partition (`checkpoint.GuardState`), so that a restart
or another member goes on holding.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from .rules import MAX_TIME, MIN_TIME
from .task import Side, Task


class SuspendedBy(Enum):
    """Why decisions are held; the first that applies. NONE: they are not."""

    NONE = "none"
    SILENCE = "checkout_silence"
    UNMATCHED = "unmatched_limit"
    LANDING = "checkouts landing"


class Guards:
    """Judges the tasks of one instance together.

    Args:
        checkout_silence: ms of event time; 0 = no such guard.
        unmatched_limit: purchased ids in a row; 0 = no such guard.
        lateness: ms, as in the rules.

    Attributes:
        hold: what was found by the last `judge`.
        newest_checkout, newest_offer: event times (ms) that silence was judged by; MIN_TIME: none was seen.
        unmatched: purchased ids in a row without a match.
        resume_at: what the checkouts' watermark of a task must have reached (ms) for the task to decide.
    """

    def __init__(self, *, checkout_silence: int, unmatched_limit: int, lateness: int) -> None:
        self.hold = SuspendedBy.NONE
        self.newest_checkout = self.newest_offer = MIN_TIME
        self.unmatched = 0
        self.resume_at = MIN_TIME
        self._silence = checkout_silence
        self._limit = unmatched_limit
        self._lateness = lateness

    def judge(self, tasks: Collection[Task]) -> None:
        """Look at all tasks of the instance. To be called when records were read, before anything is decided."""
        # Of the others it is not known yet how far their checkouts are read.
        awake = [task for task in tasks if not task.restoring and task.checkouts_read_to > MIN_TIME]
        self._judge_unmatched(tasks)
        silent = self._judge_silence(tasks, awake)
        if silent:
            self.hold = SuspendedBy.SILENCE
        elif self._limit and self.unmatched >= self._limit:
            self.hold = SuspendedBy.UNMATCHED
        elif any(task.input_watermark(Side.CHECKOUTS) < self.resume_at for task in awake):
            self.hold = SuspendedBy.LANDING
        else:
            self.hold = SuspendedBy.NONE

    def lets_decide(self, task: Task) -> bool:
        """Whether the task may decide now."""
        if self.hold is SuspendedBy.LANDING:
            return task.input_watermark(Side.CHECKOUTS) >= self.resume_at
        return self.hold is SuspendedBy.NONE

    def _judge_silence(self, tasks: Collection[Task], awake: list[Task]) -> bool:
        if not self._silence:
            self.resume_at = MIN_TIME
            return False
        self.newest_checkout = max((task.newest_checkout for task in tasks), default=MIN_TIME)
        since = self.newest_checkout
        if since == MIN_TIME:
            since = min((t.first_offer for t in tasks if t.first_offer > MIN_TIME), default=MAX_TIME)
        # Offers may be read ahead of checkouts: what was not read yet is no silence.
        seen = [min(task.newest_offer, task.checkouts_read_to) for task in awake]
        self.newest_offer = max(seen, default=MIN_TIME)
        read_to = max((task.checkouts_read_to for task in awake), default=MIN_TIME)
        silent = self.newest_offer > since + self._silence
        if any(task.resume_at == MAX_TIME for task in awake):
            # Known from before a restart, it ends by a checkout, not because they are not read again that far yet.
            silent = silent or max(task.newest_offer for task in awake) > since + self._silence
        for task in awake:
            if silent:
                task.resume_at = MAX_TIME
            elif task.resume_at == MAX_TIME:
                # From when they came: what was kept back is dated before. No checkout has come, yet no silence: the
                # task that saw the presentations is gone.
                none = self.newest_checkout == MIN_TIME
                task.resume_at = MIN_TIME if none else read_to + self._lateness
        self.resume_at = max((task.resume_at for task in awake), default=MIN_TIME)
        return silent

    def _judge_unmatched(self, tasks: Collection[Task]) -> None:
        matched = [task for task in tasks if task.match_purchases()]
        if matched:
            for task in tasks:
                if task not in matched:
                    task.unmatched = 0
        self.unmatched = sum(task.unmatched for task in tasks)
