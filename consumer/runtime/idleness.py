"""Tells an input without traffic from one that is not read, so that the watermark moves in a quiet night.

An input is idle only when for `idle_after` it had no record that could move its watermark, the broker was asked for its
end since, and everything below that end had been read. Its watermark is then the wall clock from before the question,
less lateness: at that moment nothing older than lateness was still on its way, provided that producers could deliver.
After trouble they may still hold what they could not, so for the length of lateness no idle watermark is given.

Nor is it before an input has been watched for so long. A start does not know of the outage that it may be the end of;
no record tells, since producers that cannot deliver write none. So each commit says since when both inputs have been
watched without trouble, and who takes over goes on from there, if the commit is so recent that an outage which nobody
saw would have ended too soon to matter. A commit says nothing of the kind where a silence of checkouts may begin and
end before it is taken over: see `guards.silence_may_begin`. Otherwise, and after trouble, watching begins anew, and
quiet topics are decided by up to lateness later; a call that was made too early could not be taken back.

Nor while our clock differs from those of others, or none of them has told the time; see `clock_check`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog

from ..core.checkpoint import OfferCheckpoint, Position, UnreadableMetadata
from ..core.rules import MIN_TIME
from ..core.task import Task
from ..core.watermark import Side
from ..kafka.end_offsets import EndOffsets
from .clock_check import ClockCheck

log = structlog.get_logger(__name__)

JUMP = 1.0
"""Seconds the wall clock may move against the monotonic one between two turns; time servers slew far slower."""

REMINDER = 60.0
"""Seconds between two lines of the log about trouble that recurs."""


MOST_UNWATCHED = 0.5
"""How long nobody may have watched, as a part of lateness, so that the trust of a commit is taken over. An outage that
began and ended meanwhile delays events by that at the most, and leaves the other half for the way that they always
have. A commit is made each minute at least, and dated to the minute before, or where lateness is below four minutes, to
a quarter of it. A crash is noticed after 45 s: by the default lateness there is room for both."""


class Moment(NamedTuple):
    """One moment on two clocks: monotonic in seconds, and wall clock in ms."""

    monotonic: float
    wall: int


class IdleFacts(NamedTuple):
    """Why an input gives no idle watermark, as far as that is known here.

    Attributes:
        end: where it ended by the last answer, what is in open transactions included; None: no answer has come.
        unanswered: seconds for which questions for it have had no answer.
        distrusted_until: when its idleness is believed again (wall clock, ms), if it was not by the last answer.
        distrusted_after: where that distrust comes from, in words.
        trouble: the last trouble of this run, if there was any.
        would_be: the watermark (ms) that an answer to a question of now would give.
    """

    end: int | None
    unanswered: float
    distrusted_until: int | None
    distrusted_after: str
    trouble: str | None
    would_be: int


class Idleness:
    """Asks for ends and moves the tasks' idle watermarks. All durations are in seconds.

    `trusts_at_once`: an input counts as watched for lateness when it is assigned. For who calls nothing.
    """

    def __init__(
        self,
        ends: Callable[[Callable[[str], None]], EndOffsets],
        clock_check: ClockCheck,
        *,
        idle_after: float,
        lateness: float,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        trusts_at_once: bool = False,
    ) -> None:
        self._trusts_at_once = trusts_at_once
        self._ends = ends(self.trouble)
        self._clock_check = clock_check
        self._idle_after = idle_after
        self._lateness = lateness
        self._wall = wall
        self._monotonic = monotonic
        self._drift = wall() - monotonic()
        self._trouble = Moment(float("-inf"), MIN_TIME)
        self._next_reminder = float("-inf")
        self._watched: dict[int, Moment] = {}
        self._heard: dict[tuple[Side, int], float] = {}
        self._next_question = 0.0
        self._asked = self._answered = float("-inf")
        self._told: dict[tuple[Side, int], int] = {}
        self._unanswered: dict[tuple[Side, int], float] = {}
        self._reason: str | None = None

    def begin(self, partition: int, committed: Position) -> None:
        """Both inputs were just assigned; `committed` is the offers' position."""
        now = Moment(self._monotonic(), int(self._wall() * 1000))
        if self._trusts_at_once:
            now = Moment(now.monotonic - self._lateness, now.wall - int(1000 * self._lateness))
        self._watched[partition] = max(self._taken_over(committed, now), self._trouble)
        for side in Side:
            self._heard[side, partition] = self._monotonic()

    def trusted_since(self, partition: int) -> int:
        """Since when both inputs have been watched without trouble (wall clock, ms)."""
        return max(self._watched[partition], self._trouble).wall

    def heard(self, side: Side, partition: int) -> None:
        """A record came that moved the input's watermark."""
        self._heard[side, partition] = self._monotonic()
        self._unanswered.pop((side, partition), None)

    def facts(self, side: Side, partition: int) -> IdleFacts:
        """Why an input gives no idle watermark."""
        now, place = self._monotonic(), (side, partition)
        wall = int(self._wall() * 1000)
        since = max(self._watched[partition], self._trouble)
        distrusted = self._answered - since.monotonic < self._lateness
        return IdleFacts(
            end=self._told.get(place),
            unanswered=now - self._unanswered.get(place, now),
            distrusted_until=wall + int(1000 * (since.monotonic + self._lateness - now)) if distrusted else None,
            distrusted_after=(since is self._trouble and self._reason) or "the inputs were not watched before",
            trouble=self._reason,
            would_be=wall - int(1000 * self._lateness) - 1,
        )

    def drop(self, partition: int) -> None:
        """The inputs are no longer assigned."""
        del self._watched[partition]
        for side in Side:
            del self._heard[side, partition]
            self._told.pop((side, partition), None)
            self._unanswered.pop((side, partition), None)

    def trouble(self, reason: str) -> None:
        """Something happened after which producers may still be delivering what they had buffered."""
        now = self._monotonic()
        if now >= self._trouble.monotonic + self._lateness or now >= self._next_reminder:
            self._next_reminder = now + REMINDER
            log.warning("no idle watermark for the length of lateness", reason=reason, seconds=self._lateness)
        self._trouble, self._reason = Moment(now, int(self._wall() * 1000)), reason

    def look(self, tasks: Mapping[int, Task], topics: tuple[str, str]) -> bool:
        """Take the answer that has come, and ask when it is time. To be called once a turn.

        Returns:
            Whether a task was told that an input is read to its end: its watermark, or a guard, may have moved.
        """
        now = self._monotonic()
        self._look_at_clocks(now)
        moved = self._take_answer(tasks, topics)
        if not self._ends.waiting and now >= self._next_question:
            quiet = [place for place, heard in self._heard.items() if now - heard >= self._idle_after]
            if quiet:
                self._clock_check.want()
            if quiet and self._clock_check.finding.confirmed:
                self._next_question = now + self._idle_after
                self._asked = now
                for place in quiet:
                    self._unanswered.setdefault(place, now)
                self._ends.ask([(topics[side], partition) for side, partition in quiet])
        return moved

    # --- inside

    def _taken_over(self, committed: Position, now: Moment) -> Moment:
        """Since when the inputs have been watched, by whoever owned them and by us."""
        try:
            found = OfferCheckpoint.decode(committed.metadata, committed.offset)
        except UnreadableMetadata:
            return now
        since, until = found.trusted_since, found.provenance.committed_at
        unwatched = now.wall - until
        # What is dated in the future was dated by a clock that was wrong, or is by ours.
        if since == MIN_TIME or since > now.wall or not 0 <= unwatched <= 1000 * MOST_UNWATCHED * self._lateness:
            return now
        return Moment(now.monotonic - (now.wall - since) / 1000, since)

    def _look_at_clocks(self, now: float) -> None:
        drift = self._wall() - now
        if abs(drift - self._drift) > JUMP:
            self.trouble(f"the wall clock jumped by {drift - self._drift:+.1f} s")
        self._drift = drift

    def _take_answer(self, tasks: Mapping[int, Task], topics: tuple[str, str]) -> bool:
        answer = self._ends.answers()
        if answer is None:
            return False
        asked_at, ends = answer
        self._answered = self._asked
        moved, confirmed = False, self._clock_check.finding.confirmed
        for side in Side:
            for partition, task in tasks.items():
                end = ends.get((topics[side], partition))
                if end is not None:
                    self._told[side, partition] = end
                    self._unanswered.pop((side, partition), None)
                if not confirmed or end is None or end > task.next_offset(side):
                    continue
                moved = True
                task.watermarks.of(side).complete_to = asked_at
                since = max(self._watched[partition], self._trouble)
                if self._asked - since.monotonic < self._lateness:
                    continue
                warning = task.idle(side, asked_at)
                if warning is not None:
                    log.warning("found at the start of the task", partition=partition, finding=warning)
        return moved
