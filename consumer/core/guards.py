"""Three guards against a broken checkout producer, which no rule of the join could tell from customers who buy nothing.

Silence: presentations run more than `checkout_silence` of event time ahead of the newest checkout. A checkout of any
of the instance's tasks ends it; where none was ever seen, the first presentation stands for it. Decisions go on once
lateness has passed on the checkouts' side since, for what the producer had kept back to land.

Only who reads along sees that. Whoever catches up reads both ends of the silence at once. So each task looks at the gap
between two checkouts of its log too: behind one it waits in the same way, by itself and without a word, since a quiet
partition has such a gap every night. The same log thus gives the same decisions however fast it is read. For example:
checkouts of 12:00 and 13:10 come, then those of 12:10 to 13:00 that the producer had kept back. All that is due after
12:00 is decided when the checkouts are read to 13:20, with a lateness of 5 minutes; both guards have let go by then.
Only what is due behind a gap is held by it, so that where checkouts are always rare each gap lets go of what is due
before the next one. What is remembered over a restart is one time, and until then all is held.

A process that starts within a silence sees it once it has read the checkouts to their end: what lies in the log is
enough for that, and no end has to be believed for lateness first. Before that a gap between two checkouts of the
instance holds each of its tasks, whichever reads the one that ends it. For example: the last checkouts are of 12:00,
the process starts at 12:59, and at 13:02 the first checkout comes, in another partition than the one in which what was
kept back lands.

Misdated: as many checkouts in a row, in the order of the log, are dated so that it is not believed: in seconds for
example. One that is believed disproves those that were written before it, on any of the tasks; decisions go on where
fewer than the limit are left. What a task that comes reads again of before ends nothing. That count is not remembered:
a restart reads them again, and finds the same. But who gets a part of the tasks has a part of them: so the suspension
is remembered with each task, as a silence.

Unmatched: `unmatched_limit` purchased ids in a row name no offer presented in their session, such as booking ids in
the place of offer ids. One that matches disproves those of checkouts that are not newer, whichever was read first;
decisions go on where fewer than the limit are left (`rows`). Ids are judged in the order of event time, each once the
watermark has passed its checkout, since the offer may be read after it. Known is an offer that is undecided in the
session, or was decided and not bought not longer than lookback ago; named by a checkout before, an id is not counted.
While it lasts, each task remembers as many as the limit: the tasks may be shared among instances of which none has as
many. And on the instance that stays it lasts though a task goes that had a part of the row.

Only decisions stop. The watermark moves on, `decided_to` stays where it is, and a checkout that comes late joins
whatever was undecided. What the guards remember is committed with the checkout partition (`checkpoint.GuardState`), so
that decisions stay suspended after a restart or with another member.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import NamedTuple, Protocol

from .checkpoint import GuardState
from .purchased_ids import PurchasedIds
from .rows import InstanceRow, TaskRow
from .rules import MAX_TIME, MIN_TIME, DecisionRules
from .watermark import Watermarks


class SuspendedBy(Enum):
    """Why decisions are suspended; the first reason that applies. NONE: they are not. CLOCK is found by the edge."""

    NONE = "none"
    CLOCK = "clock"
    SILENCE = "checkout_silence"
    UNMATCHED = "unmatched_limit"
    MISDATED = "misdated checkouts"
    LANDING = "checkouts landing"


class Gap(NamedTuple):
    """A gap between two checkouts of a task's log, in which checkouts may have been kept back.

    Attributes:
        decides_to: what is due up to this time (ms) could be decided before the checkout behind the gap was read.
        lands_at: the checkouts' watermark (ms) by which what was kept back has had its time to come.
    """

    decides_to: int
    lands_at: int


_MOST_COUNTED = 10_000
"""Misdated checkouts, and unmatched ids, that a task remembers at most where the limit is not higher; 400 kB each."""


class TaskGuard:
    """What one task tells the guards, and what they remember with it.

    Args:
        watermarks: of the task's inputs.
        knows: tells whether an offer was presented in a session, by session_id and offer_id.
        found: what was remembered before a restart.
        rules: as set now.

    Attributes:
        ids: the purchased ids.
        misdated: the checkouts in a row whose date is not believed, by when they were written. One that is believed
            disproves those of its task that were read before it, and those of others that were written before it.
        held_by_misdated: decisions are suspended by them. It is remembered as a silence.
        unmatched_at_least: so many unmatched ids are remembered, since decisions are suspended by them.
        resume_at: what the checkouts' watermark must reach (ms) after a silence; MAX_TIME while the silence lasts.
        silent_to: of a silence that was noticed, here or before a restart, the newest checkout (ms) that had been read:
            what is not newer does not end it. MIN_TIME: there was none.
        instance_lands_at: as `Gap.lands_at`, of the last gap of the instance.
        read_through: stretches of event time (ms) between newer and newer checkouts that were read since the guards
            asked last, without a gap in them.
    """

    def __init__(
        self, watermarks: Watermarks, knows: Callable[[str, str], bool], found: GuardState, rules: DecisionRules
    ) -> None:
        silence, lateness = rules.checkout_silence, rules.lateness
        # It was judged as far as the watermark had come, and that may have gone with the clock.
        counted_to = min(found.judged_to, found.newest_checkout + rules.max_skew)
        self.ids = PurchasedIds(knows, found.unmatched, found.judged_to, counted_to)
        self.misdated = TaskRow()
        self.held_by_misdated, self.unmatched_at_least = False, 0
        self.resume_at = found.resume_at if silence else MIN_TIME
        self.silent_to = found.newest_checkout if self.resume_at == MAX_TIME else MIN_TIME
        self.instance_lands_at = MIN_TIME
        self.read_through = list[tuple[int, int]]()
        self._gaps = list[Gap]()
        self._last_lands_at = MIN_TIME
        self._watermarks = watermarks
        self._lateness = lateness
        self._longest_gap = longest_gap(silence, lateness)

    def newer_checkout(self, newest_before: int) -> None:
        """A checkout was read that is newer than all before it, of which the newest was of that time (ms).

        What is due behind a gap waits until lateness has passed, as after a silence. So does all where it is the first
        checkout of all: how long there was none before it, only the offers tell, which may be read later.
        """
        newest = self.newest_checkout
        if not self._longest_gap:
            return
        if newest - newest_before > self._longest_gap:
            self.gap(newest_before, newest, self.checkouts_read_to)
            self.read_through.append((newest, newest))
        elif self.read_through:
            self.read_through[-1] = self.read_through[-1][0], newest
        else:
            self.read_through.append((newest_before, newest))

    def gap(self, newest_before: int, newest: int, read_to: int) -> None:
        """There is a gap between two checkouts of these times (ms), of this task or of another one of the instance.

        `read_to`: when the second one came at the earliest, where that is known: all that the log held then (ms) had
        been read before it. What was kept back lands from then on, and the first that comes may be dated long before.
        """
        self._forget_landed()
        lands_at = max(newest, read_to) + self._lateness
        self._last_lands_at = max(self._last_lands_at, lands_at)
        # No further than the checkout before the gap had moved the watermark: one that was on its way when its
        # producer broke down is kept back too, and may be dated before that one.
        self._gaps.append(Gap(max(MIN_TIME, newest_before - self._lateness - 1), lands_at))

    def checkout_dated(self, written_at: int, *, plausible: bool) -> None:
        """A checkout was read, the next of the log, written at that time (ms)."""
        if plausible:
            self.misdated.all_right(written_at)
        else:
            self.misdated.add(written_at)

    @property
    def has_landed(self) -> bool:
        """Whether what was kept back in the last silence has had its time to come."""
        return self.checkouts_watermark >= self.resume_at

    @property
    def decides_to(self) -> int:
        """Up to when (ms) no gap holds what is due; MAX_TIME: there is none behind which checkouts may still land."""
        if self._gaps:
            self._forget_landed()
        return min((gap.decides_to for gap in self._gaps), default=MAX_TIME)

    @property
    def behind_gap(self) -> bool:
        """Whether a gap holds what else may be due."""
        return self.decides_to < self._watermarks.lower

    def _forget_landed(self) -> None:
        # A newer gap postpones none before it: each is followed by its own lateness. They are in no order: one of
        # another task may lie ahead of what is read here.
        self._gaps = [gap for gap in self._gaps if gap.lands_at > self.checkouts_watermark]

    @property
    def first_offer(self) -> int:
        """Event time (ms) of the first presentation seen; MIN_TIME if none was."""
        return self._watermarks.offers.first

    @property
    def newest_offer(self) -> int:
        """Event time (ms) of the newest presentation seen; MIN_TIME if none was."""
        return self._watermarks.offers.newest

    @property
    def newest_checkout(self) -> int:
        """Event time (ms) of the newest checkout ever seen; MIN_TIME if none was."""
        return self._watermarks.checkouts.newest

    @property
    def checkouts_read_to(self) -> int:
        """How far in time (ms) the checkouts were read, by the newest of them or by the clock at their end."""
        checkouts = self._watermarks.checkouts
        return max(checkouts.read_to, checkouts.complete_to)

    @property
    def checkouts_watermark(self) -> int:
        """The checkouts' watermark (ms)."""
        return self._watermarks.checkouts.value

    def state(self) -> GuardState:
        """What is to be remembered over a restart. Of the gaps it is when the last one lands: all waits until then."""
        resume_at = MAX_TIME if self.held_by_misdated else max(self.resume_at, self._last_lands_at)
        unmatched = max(self.ids.unmatched, self.unmatched_at_least)
        return GuardState(self.newest_checkout, self.first_offer, resume_at, unmatched, self.ids.judged_to)


def longest_gap(silence: int, lateness: int) -> int:
    """Between two checkouts (ms) behind which nothing is to be waited for. 0: no gap is too long, not even that before
    the first checkout of all, which no number is longer than."""
    # The checkout that ends a silence may be dated by lateness before it comes: so much shorter may the gap be that
    # whoever read along had waited for. Not shorter than lateness: for so long events are on time.
    return max(silence - lateness, min(silence, lateness))


def silence_may_begin(guards: Collection[TaskGuard], *, until: int, silence: int) -> bool:
    """Whether a silence of the instance may begin by `until` (ms), or checkouts still land behind one.

    It is what nobody remembers if no commit is taken any more. Example, with a silence of 30 minutes: the last checkout
    of all tasks is of 12:00, the last commit of 12:59:59. At 13:00:01 the silence begins, at 13:00:05 a checkout ends
    it, and for lateness nothing is to be decided; then the process is killed. Or the gap shows between two checkouts of
    the instance. That between two of a task's own stands in its log, and is found again; a quiet one often has such.

    Args:
        guards: of all tasks of the instance.
        until: the latest presentation that may be read by then is dated so.
        silence: as in the rules, ms.
    """
    if not silence:
        return False
    newest = max((guard.newest_checkout for guard in guards), default=MIN_TIME)
    landed = all(guard.has_landed and guard.checkouts_watermark >= guard.instance_lands_at for guard in guards)
    return newest < until - silence or not landed


class Guarded(Protocol):
    """What the guards need of a task."""

    @property
    def guard(self) -> TaskGuard:
        """What it tells them."""

    @property
    def restoring(self) -> bool:
        """Whether it reads again what it had read before a restart."""

    @property
    def watermark(self) -> int:
        """How far event time has come (ms)."""

    @property
    def decided_to(self) -> int:
        """Up to when is decided (ms)."""


class Guards:
    """Judges the tasks of one instance together.

    Args:
        checkout_silence: ms of event time; 0 = no such guard.
        unmatched_limit: purchased ids in a row, or misdated checkouts; 0 = no such guards.
        lateness: ms, as in the rules.

    Attributes:
        suspended_by: what was found by the last `judge`.
        newest_checkout, newest_offer: event times (ms) that silence was judged by; MIN_TIME: none was seen.
        resume_at: after a silence of the instance, what the checkouts' watermark of a task must have reached (ms) for
            the task to decide; MIN_TIME: there was none, or all have reached it.
    """

    def __init__(self, *, checkout_silence: int, unmatched_limit: int, lateness: int) -> None:
        self.suspended_by = SuspendedBy.NONE
        self.newest_checkout = self.newest_offer = MIN_TIME
        self.resume_at = MIN_TIME
        self._silence = checkout_silence
        self._limit = unmatched_limit
        most = max(unmatched_limit, _MOST_COUNTED)
        self._unmatched, self._misdated = InstanceRow(unmatched_limit, most), InstanceRow(unmatched_limit, most)
        self._lateness = lateness
        self._longest_gap = longest_gap(checkout_silence, lateness)
        self._newest_ever = MIN_TIME

    @property
    def unmatched(self) -> int:
        """Purchased ids in a row without a match."""
        return self._unmatched.count

    @property
    def misdated(self) -> int:
        """Checkouts in a row whose date is not believed."""
        return self._misdated.count

    def judge(self, tasks: Collection[Guarded]) -> None:
        """Look at all tasks of the instance. To be called when records were read, before anything is decided."""
        self._judge_gap(tasks)
        # Of the others it is not known yet how far their checkouts are read.
        awake = [task for task in tasks if not task.restoring and task.guard.checkouts_read_to > MIN_TIME]
        self._judge_unmatched(tasks)
        self._judge_misdated(tasks)
        silent = self._judge_silence(tasks, awake)
        if self._misdated.suspends:
            self.suspended_by = SuspendedBy.MISDATED
        elif silent:
            self.suspended_by = SuspendedBy.SILENCE
        elif self._unmatched.suspends:
            self.suspended_by = SuspendedBy.UNMATCHED
        elif any(task.guard.checkouts_watermark < self.resume_at for task in awake):
            self.suspended_by = SuspendedBy.LANDING
            for task in awake:  # one that came since is to remember it too
                task.guard.resume_at = max(task.guard.resume_at, self.resume_at)
        else:
            self.suspended_by = SuspendedBy.NONE
            # A task that still reads again, or comes from another member in a moment, has it before it.
            if awake and len(awake) == len(tasks):
                self.resume_at = MIN_TIME

    def lets_decide(self, task: Guarded) -> bool:
        """Whether the task may decide now."""
        if self.suspended_by not in {SuspendedBy.NONE, SuspendedBy.LANDING}:
            return False
        return task.guard.has_landed and task.guard.checkouts_watermark >= self.resume_at

    def _judge_gap(self, tasks: Collection[Guarded]) -> None:
        newest = max((task.guard.newest_checkout for task in tasks), default=MIN_TIME)
        reached = self._newest_ever
        # What an instance was not told while it had no task is no gap.
        self._newest_ever = max(reached, newest) if tasks else MIN_TIME
        # A turn may read hours of checkouts, of one task after the other: the gap is where none of them has any.
        found = sorted(stretch for task in tasks for stretch in task.guard.read_through)
        for task in tasks:
            task.guard.read_through.clear()
        if not self._longest_gap or reached == MIN_TIME:
            return
        read_to = max((task.guard.checkouts_read_to for task in tasks), default=MIN_TIME)
        # Of several gaps the first holds most, and all have landed when the last has.
        before, behind = MAX_TIME, MIN_TIME
        for begin, end in (*found, (newest, newest)):
            if begin - reached > self._longest_gap:
                before, behind = min(before, reached), begin
            reached = max(reached, end)
        if behind > MIN_TIME:
            for task in tasks:
                task.guard.gap(before, behind, read_to)
                task.guard.instance_lands_at = max(behind, read_to) + self._lateness

    def _judge_silence(self, tasks: Collection[Guarded], awake: list[Guarded]) -> bool:
        if not self._silence:
            self.resume_at = MIN_TIME
            return False
        self.newest_checkout = max((task.guard.newest_checkout for task in tasks), default=MIN_TIME)
        since = self.newest_checkout
        if since == MIN_TIME:
            since = min((t.guard.first_offer for t in tasks if t.guard.first_offer > MIN_TIME), default=MAX_TIME)
        # Offers may be read ahead of checkouts: what was not read yet is no silence.
        seen = [min(task.guard.newest_offer, task.guard.checkouts_read_to) for task in awake]
        self.newest_offer = max(seen, default=MIN_TIME)
        read_to = max((task.guard.checkouts_read_to for task in awake), default=MIN_TIME)
        silent = self.newest_offer > since + self._silence
        if known := [task for task in awake if task.guard.resume_at == MAX_TIME]:
            # Known from before a restart, it ends by a checkout, not because they are not read again that far yet, or
            # since the task that saw the presentations is another instance's. What is decided was so before it began;
            # after a way back less is, and what had been read is read again.
            silent = silent or max(task.guard.newest_offer for task in awake) > since + self._silence
            silent = silent or self.newest_checkout <= max(max(t.decided_to, t.guard.silent_to) for t in known)
        for task in awake:
            if silent:
                task.guard.resume_at = MAX_TIME
                # The task that has read it may go, and with it what one of the others is behind.
                task.guard.silent_to = max(task.guard.silent_to, self.newest_checkout)
            elif task.guard.resume_at == MAX_TIME:
                # From when they came: what was kept back is dated before. Our clock may be behind the one that dated
                # the newest.
                task.guard.resume_at = max(read_to, self.newest_checkout) + self._lateness
                self.resume_at = max(self.resume_at, task.guard.resume_at)
        return silent

    def _judge_unmatched(self, tasks: Collection[Guarded]) -> None:
        for task in tasks:
            if not task.restoring:
                task.guard.ids.judge(task.watermark)
        self._unmatched.judge([task.guard.ids.row for task in tasks])
        for task in tasks:
            task.guard.unmatched_at_least = self._limit if self._unmatched.suspends else 0

    def _judge_misdated(self, tasks: Collection[Guarded]) -> None:
        self._misdated.judge(
            [task.guard.misdated for task in tasks if not task.restoring],
            [task.guard.misdated for task in tasks if task.restoring],
        )
        for task in tasks:
            task.guard.held_by_misdated = self._misdated.suspends
