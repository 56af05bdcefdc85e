"""Suspends decisions while the checkouts or our clock look broken, and says so: the edge of `core.guards`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import structlog

from ..core.dating import iso_of
from ..core.guards import Guards, SuspendedBy
from ..core.rules import MIN_TIME, DecisionRules
from ..core.task import Task
from .clock_check import BELIEVED, ClockFinding, ClockState

log = structlog.get_logger(__name__)

WHAT_TO_DO = {
    SuspendedBy.CLOCK: "decisions are held: the clock of this machine is wrong by more than join.max_skew. Have it set "
    "right; decisions and calls go on by themselves then",
    SuspendedBy.SILENCE: "decisions are held: offers are presented, but no checkout comes. Look at the checkout "
    "producer; decisions go on by themselves once checkouts come again and join.lateness has passed",
    SuspendedBy.UNMATCHED: "decisions are held: the purchased ids name no offer that was presented. Look at what "
    "the checkout producer writes into purchased_offer_ids; decisions go on by themselves once one matches",
    SuspendedBy.MISDATED: "decisions are held: checkouts in a row are dated implausibly. Look at how their producer "
    "dates them; decisions go on by themselves once one is dated right",
    SuspendedBy.LANDING: "checkouts come again: decisions go on in each of these partitions once its own checkouts are "
    "read to resume_at and join.lateness has passed, for what was kept back to land",
}

SHORT = {
    SuspendedBy.CLOCK: "clock",
    SuspendedBy.SILENCE: "checkout_silence",
    SuspendedBy.UNMATCHED: "unmatched",
    SuspendedBy.MISDATED: "misdated",
    SuspendedBy.LANDING: "landing",
}
"""The names of the guards in snapshots (`snapshot.SUSPENSIONS`), and so in metrics."""

BEHIND_A_GAP = (
    "what is due behind a gap between two checkouts waits until join.lateness has passed on their side, for what was "
    "kept back to land. It ends by itself; a quiet partition has such a gap every night"
)

_FULL = (
    "offers are read no further while decisions are held. Checkouts are, but a purchased id only matches an offer that "
    "is read: if none does any more, a restart reads as many again"
)

_CHECKOUTS_FULL = (
    "checkouts are read no further either: too many would be kept. Have their producer mended, and write again what it "
    "wrote wrongly. Then start again, with a higher delivery.max_unsettled if the decisions do not go on by themselves"
)

_LEAST_KEPT = 50_000
"""Checkouts, and purchased ids that are not judged yet, that are kept however few offers may be unsettled: 20 MB."""

_LEAST_STOPPED = 5_000
"""Checkouts below which no partition is stopped, however many the others keep: as many are read in one turn."""


class Suspension:
    """Judges the tasks when something was read, and logs when decisions are suspended, still are, and go on.

    Args:
        rules: as set now.
        unmatched_limit: as in the settings.
        most_undecided: presentations that may be read and kept undecided beyond those that a task had when a
            suspension began, or had read again when it came during one.
        partitions_of: those of tasks, for the log.

    Attributes:
        by: why decisions are suspended, if they are.
    """

    def __init__(
        self,
        rules: DecisionRules,
        unmatched_limit: int,
        most_undecided: int,
        partitions_of: Callable[[Collection[Task]], list[int]] = lambda _: [],
    ) -> None:
        self._partitions_of = partitions_of
        self._limit, self._silence = unmatched_limit, rules.checkout_silence
        self._most = most_undecided
        self._guards = Guards(
            checkout_silence=rules.checkout_silence, unmatched_limit=unmatched_limit, lateness=rules.lateness
        )
        self.by = SuspendedBy.NONE
        self._clock = BELIEVED
        self._undecided_before: dict[Task, int] = {}
        self._decides = set[Task]()
        """The tasks that could decide when that was judged last."""
        self._full = False
        self._checkouts_before: dict[Task, int] = {}
        self._checkouts_stopped = frozenset[Task]()
        self._behind_gap: dict[Task, int] = {}
        """The tasks that a gap holds, be it one of before a restart, with what was undecided when it began to."""

    def judge(self, tasks: Collection[Task], clock: ClockFinding = BELIEVED) -> None:
        """Judge what was read, and what was found of our clock. To be called before decisions are made."""
        self._guards.judge(tasks)
        self._clock = clock
        by = SuspendedBy.CLOCK if clock.state is ClockState.WRONG else self._guards.suspended_by
        if by is not self.by:
            self._change(by, tasks)
        if self.by is not SuspendedBy.NONE:
            before, held = self._undecided_before, [t for t in tasks if not t.restoring and not self.lets_decide(t)]
            self._undecided_before = {task: before.get(task) or self._undecided_at_start(task) for task in held}
        self._decides = {task for task in tasks if not task.restoring and self.lets_decide(task)}
        behind = [task for task in tasks if not task.restoring and (task.guard.behind_gap or not task.guard.has_landed)]
        self._behind_gap = {task: self._behind_gap.get(task, task.undecided) for task in behind}
        still = self._held(tasks)
        self._checkouts_before = {task: kept for task, kept in self._checkouts_before.items() if task in still}
        self._checkouts_stopped &= still

    def lets_decide(self, task: Task) -> bool:
        """Whether the task may decide now."""
        return self.by is not SuspendedBy.CLOCK and self._guards.lets_decide(task)

    def stops_offers(self, tasks: Collection[Task]) -> frozenset[Task]:
        """The tasks of which so much is undecided that no more offers may be read. Checkouts are: they end what holds
        decisions.

        Counted and stopped are those that are held, by a gap in their checkouts or by a suspension: not such as have
        landed after a silence while others have not, which decide, and have ever other offers undecided.
        """
        before, held = self._behind_gap | self._undecided_before, self._held(tasks)
        undecided = sum(task.undecided for task in held)
        counted = {task: max(0, task.undecided - before[task]) for task in held}
        most = 0.9 * self._most if self._full else self._most
        full = bool(held) and sum(counted.values()) >= most
        if full != self._full:
            self._full = full
            log.warning(_FULL if full else "offers are read again", undecided=undecided, max_unsettled=self._most)
        return over_their_share(counted, most) if full else frozenset()

    def words(self, tasks: Collection[Task]) -> dict[str, tuple[str, list[Task]]]:
        """Why decisions are suspended: by the short name of each guard in words, and the tasks that decide nothing."""
        held, of_guard = {}, list[Task]()
        if self.by is not SuspendedBy.NONE:
            of_guard = [task for task in tasks if not self.lets_decide(task)]
            held[SHORT[self.by]] = WHAT_TO_DO[self.by], of_guard
        # That a silence ends by itself is not to be said while it lasts.
        if behind_gap := [task for task in self._behind_gap if task not in of_guard]:
            held["gap"] = BEHIND_A_GAP, behind_gap
        return held

    def begun(self, tasks: Collection[Task]) -> dict[str, int]:
        """Since when decisions are suspended (ms), by the short names of guards of which the log tells that.

        So it is the same after a restart. Of checkouts that are dated implausibly it is when the first was written.
        """
        if self.by is SuspendedBy.SILENCE:
            newest = self._guards.newest_checkout
            if newest == MIN_TIME:
                newest = min((t.guard.first_offer for t in tasks if t.guard.first_offer > MIN_TIME), default=MIN_TIME)
            return {} if newest == MIN_TIME else {SHORT[self.by]: newest + self._silence}
        if self.by is SuspendedBy.MISDATED:
            first = [task.guard.misdated.times[0] for task in tasks if task.guard.misdated.times]
            return {SHORT[self.by]: min(first)} if first else {}
        return {}

    @property
    def most_checkouts(self) -> int:
        """How many checkouts may be kept that nothing else bounds: as many as offers may be unsettled, or a few MB."""
        return max(self._most, _LEAST_KEPT)

    def reads_checkouts(self, tasks: Collection[Task]) -> frozenset[Task]:
        """The tasks of which checkouts are to be read on though no offers are, further ahead of them than else.

        They are where a checkout ends what holds decisions: what a mended producer writes again stands behind what it
        has written wrongly, or in another partition. As many are kept as offers may be unsettled, over all tasks; those
        that keep their share of them are then read no further, such as have a backlog. Misdated ones are never ahead,
        since they move no watermark: what bounds them is `KeptCheckouts`.
        """
        held = self._held(tasks) if self._full or self.by is not SuspendedBy.NONE else frozenset()
        if self.by is SuspendedBy.CLOCK:
            return frozenset()
        kept = {task: task.kept_checkouts for task in held}
        self._checkouts_before = {task: self._checkouts_before.get(task, count) for task, count in kept.items()}
        counted = {task: max(0, count - self._checkouts_before[task]) for task, count in kept.items()}
        stopped = over_their_share(counted, self.most_checkouts)
        if stopped - self._checkouts_stopped:
            partitions = self._partitions_of(stopped)
            log.warning(_CHECKOUTS_FULL, partitions=partitions, checkouts=sum(kept.values()))
        self._checkouts_stopped = stopped
        return held - stopped

    def report(self, tasks: Collection[Task]) -> None:
        """Say again that decisions are suspended, if they are."""
        if self.by is not SuspendedBy.NONE:
            log.warning(WHAT_TO_DO[self.by], **self._facts(tasks))

    def _undecided_at_start(self, task: Task) -> int:
        """What a held task may have undecided beside what is read while it is held.

        Of one that comes while decisions are suspended it is nothing, or each rebalance would let as much again be
        read. But where only an offer that is read can end the suspension, it is what the task has undecided.
        """
        return task.undecided if task in self._decides or self.by is SuspendedBy.UNMATCHED else 0

    def _held(self, tasks: Collection[Task]) -> frozenset[Task]:
        return frozenset(task for task in tasks if task in self._behind_gap or task in self._undecided_before)

    def _change(self, by: SuspendedBy, tasks: Collection[Task]) -> None:
        before, self.by = self.by, by
        if by is SuspendedBy.NONE:
            self._full = False
            self._undecided_before.clear()
            log.warning("decisions go on", held_by=before.value, undecided=sum(task.undecided for task in tasks))
        else:
            log.warning(WHAT_TO_DO[by], **self._facts(tasks))

    def _facts(self, tasks: Collection[Task]) -> dict[str, object]:
        guards, by = self._guards, self.by
        facts: dict[str, object] = {"held_by": by.value, "undecided": sum(task.undecided for task in tasks)}
        if by is SuspendedBy.CLOCK:
            return facts | {"ahead_s": round(self._clock.ahead, 1), "witness": self._clock.witness}
        if by is SuspendedBy.UNMATCHED:
            last = next((task.guard.ids.last for task in tasks if task.guard.ids.last), None)
            session_id, purchased_id = last or (None, None)
            facts |= {"in_a_row": guards.unmatched, "unmatched_limit": self._limit}
            facts |= {"session_id": session_id, "purchased_id": purchased_id}
            return facts
        if by is SuspendedBy.MISDATED:
            return facts | {"in_a_row": guards.misdated, "unmatched_limit": self._limit}
        facts |= {"newest_checkout": when(guards.newest_checkout), "newest_offer": when(guards.newest_offer)}
        if by is SuspendedBy.LANDING:
            facts["resume_at"] = when(guards.resume_at)
            facts["partitions"] = self._partitions_of([task for task in tasks if not self.lets_decide(task)])
        return facts


def over_their_share(counted: Mapping[Task, int], most: float) -> frozenset[Task]:
    """The tasks that keep their share of what is counted, once that is `most` over all of them."""
    share = max(most / max(1, len(counted)), min(most, _LEAST_STOPPED))
    full = sum(counted.values()) >= most
    return frozenset(task for task, count in counted.items() if full and count >= share)


def when(ms: int) -> str | None:
    """For people: a time (ms) as they write it; None for MIN_TIME."""
    if ms == MIN_TIME:
        return None
    return iso_of(ms) or f"{ms} ms"
