"""Says why a watermark stands still: nothing of its task is decided meanwhile, and nothing else of the log tells.

A watermark stands still where an input is not read to its end, or is and is not believed to be idle. Most such waits
are right, and many end by themselves; but from outside they look like a service that has nothing to do. So one that
lasts longer than `PATIENCE` is told once, with the input that holds it and its cause, once more for each other cause
that comes to it, and when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

import structlog

from ..core.watermark import Side
from ..snapshot import HeldBack
from .idleness import IdleFacts
from .runner import TaskRunner
from .suspension import when

log = structlog.get_logger(__name__)

PATIENCE = 60.0
"""Seconds that a watermark may stand still before that is told."""

STEADY = 1 / 6
"""For so long, as a part of the patience, a cause must have been the same before it is told. An input that has just
been read to its end, and not been asked for it yet, is of no interest."""

SETTLING = 1 / 20
"""For so long, as a part of the patience, nothing is looked for once a loop that stood still goes on: what came
meanwhile is read first. Shorter than the time between two commits, each of which may take long."""

LOOKS = 60
"""How often in the length of the patience causes are looked for: a turn takes 20 ms, and this is not that urgent."""

LATELY = 10.0
"""Seconds: an input of which something was applied since is being read; and a question for its end that was asked
before that, and has had no answer, has none. Both take milliseconds where nothing is wrong."""


class Cause(Enum):
    """Why an input holds the watermark, in words, with what to do. Where both do, the first of these is told."""

    SILENT = (
        "the broker does not say where the partition ends: see that it runs and can be reached. Decisions go on once "
        "it answers, and what producers had kept back meanwhile has had join.lateness to land"
    )
    IN_DOUBT = (
        "after trouble no record is read on until the broker has told that the topics are the same: see that it "
        "answers, and that Describe on the topics is allowed"
    )
    SCHEMA = (
        "records wait for the schema that they were written with, which the registry has not given: see the line that "
        "says why. Where checkouts wait, calls do"
    )
    AHEAD = (
        "records wait that are dated ahead of the clock of this machine, which nobody confirms: see why the API does "
        "not answer, or have the clock set right"
    )
    KEPT_BACK = "offers are kept back, since too many come late or are dated ahead: see the line that says so"
    UNSETTLED = (
        "reading is paused, since delivery.max_unsettled offers are decided and not settled: see why calls do not "
        "succeed"
    )
    SUSPENDED = "offers are read no further while decisions are held: see the line that says why they are"
    TOO_MANY = (
        "checkouts are read no further, since too many are kept that move no watermark: see the line that says so"
    )
    TRANSACTION = (
        "records stand from this offset on, and are not given out: most likely a transaction is open there, whose "
        "records may be purchases. It ends by itself after its producer's transaction.timeout.ms; Kafka's "
        "kafka-transactions.sh finds it, and aborts it"
    )
    READING = (
        "records are read, and none of them is dated and stamped later than those before: look at the dates that the "
        "producers write"
    )
    UNREAD = (
        "records stand from this offset on and do not come, although the broker answers: see its log, and the network"
    )
    CLOCK = (
        "all is read, and nobody confirms the clock of this machine, by which it would be told how long nothing came: "
        "see why the API does not answer, or have the clock set right"
    )
    BEHIND = "all is read, and the clock of this machine has not come to what was read: have the clock set right"
    DISTRUSTED = (
        "all is read, and producers may still hold what they could not deliver: so nothing is taken for idle for "
        "join.lateness after a start or trouble. It ends by itself; if trouble comes again and again, mend that"
    )
    UNKNOWN = "the cause is not known: look at the lines before this one"


_URGENCY = {cause: number for number, cause in enumerate(Cause)}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts:
    """What is known of one input of a task.

    Attributes:
        watermark: its own (ms).
        next_offset: the first one that has not been applied.
        read_ago: seconds since that last changed.
        partition_end: where it ended when the client last came to an end, which as read_committed is where the first
            open transaction begins; None: it has not.
        idle: what is known of its end, and why that is not believed.
        clock_confirmed: something may rest on our clock.
        schema: why the schema of the next record is not known, where it waits for that.
        in_doubt, waits_for_clock, kept_back, full, offers_stopped, checkouts_stopped: why records that were read, or
            could be, wait.
    """

    watermark: int
    next_offset: int
    read_ago: float
    partition_end: int | None
    idle: IdleFacts
    clock_confirmed: bool = True
    schema: str | None = None
    in_doubt: bool = False
    waits_for_clock: bool = False
    kept_back: bool = False
    full: bool = False
    offers_stopped: bool = False
    checkouts_stopped: bool = False


def cause_of(facts: InputFacts) -> Cause:
    """Why an input holds the watermark."""
    idle = facts.idle
    for holds, cause in (
        (idle.unanswered > LATELY, Cause.SILENT),
        (facts.schema is not None, Cause.SCHEMA),
        (facts.waits_for_clock, Cause.AHEAD),
        (facts.kept_back, Cause.KEPT_BACK),
        # Nobody is asked for an end that could not be used.
        (idle.end is None and not facts.clock_confirmed, Cause.CLOCK),
        (idle.end is None or idle.end > facts.next_offset, _why_unread(facts)),
        (not facts.clock_confirmed, Cause.CLOCK),
        (idle.distrusted_until is not None, Cause.DISTRUSTED),
        (idle.would_be <= facts.watermark, Cause.BEHIND),
    ):
        if holds:
            return cause
    return Cause.UNKNOWN


def _why_unread(facts: InputFacts) -> Cause:
    for holds, cause in (
        (facts.in_doubt, Cause.IN_DOUBT),
        (facts.full, Cause.UNSETTLED),
        (facts.offers_stopped, Cause.SUSPENDED),
        (facts.checkouts_stopped, Cause.TOO_MANY),
        (facts.read_ago < LATELY, Cause.READING),
        (facts.partition_end == facts.next_offset and facts.idle.end is not None, Cause.TRANSACTION),
    ):
        if holds:
            return cause
    return Cause.UNREAD


class Holder(NamedTuple):
    """The input that holds a watermark, and why."""

    side: Side
    cause: Cause


@dataclass(slots=True)
class Wait:
    """How long a watermark has stood still.

    Attributes:
        mark: what would be another if it had moved.
        since, since_wall: when it moved last: monotonic in seconds, and wall clock in ms.
        holder, holder_since: what was found last, and since when (monotonic) that is so.
        told: what was told of it.
    """

    mark: tuple[int, ...]
    since: float
    since_wall: int
    holder: Holder | None = None
    holder_since: float = 0.0
    told: list[Holder] = field(default_factory=list)


class Standstill:
    """Looks at the tasks' watermarks, and tells of those that stand still. All of it on the poll thread.

    Args:
        topics: of the offers and of the checkouts.
        known_of: tells what is known of an input; `read_ago` and `partition_end` are handed to it.
        idle_after: seconds; an idle watermark moves that often, which is no standstill.
        wall, monotonic: clocks in seconds.

    Attributes:
        words: what stands still now and was told, in words, for people.
    """

    def __init__(
        self,
        topics: tuple[str, str],
        known_of: Callable[[TaskRunner, Side, float, int | None], InputFacts],
        *,
        idle_after: float,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.words: tuple[str, ...] = ()
        self._topics = topics
        self._known_of = known_of
        self._patience = max(PATIENCE, 2 * idle_after)
        self._quiet = max(LATELY, 2 * idle_after)
        self._wall = wall
        self._monotonic = monotonic
        self._waits: dict[TaskRunner, Wait] = {}
        self._ends: dict[tuple[TaskRunner, Side], int] = {}
        self._applied: dict[tuple[TaskRunner, Side], tuple[int, float]] = {}
        self._looked = self._next_search = self._assigned = monotonic()
        self._assigned_wall = self._wall_ms()
        self._unassigned_told = False

    def partition_end(self, runner: TaskRunner, side: Side, offset: int) -> None:
        """The client has come to the end of an input, as read_committed."""
        self._ends[runner, side] = offset

    def look(self, runners: Collection[TaskRunner], *, assigned: bool) -> None:
        """Look at each task that is here. To be called once a turn.

        `assigned`: the group has said which tasks these are.
        """
        now = self._monotonic()
        self._look_at_membership(now, assigned=assigned)
        if now - self._looked > STEADY * self._patience:
            # The loop stood still, not the watermark, and the watchdog says why.
            self._next_search = now + SETTLING * self._patience
        self._looked = now
        if not self._waits.keys() <= set(runners):
            self._forget_all_but(runners)
        for runner in runners:
            self._note_progress(runner, now)
        if now < self._next_search:
            return
        self._next_search = now + self._patience / LOOKS
        for runner in runners:
            wait = self._waits[runner]
            if now - wait.since >= (1 - STEADY) * self._patience:
                self._search(runner, wait, now)
        self.words = tuple(
            self._in_words(runner, wait) for runner, wait in self._waits.items() if wait.told and wait.holder
        )

    def held_back(self, runner: TaskRunner) -> HeldBack | None:
        """What holds the watermark of a task now; None: it has moved lately, or was not looked at yet."""
        wait, now = self._waits.get(runner), self._monotonic()
        if wait is None or now - wait.since < self._quiet:
            return None
        holder, _ = self._holder(runner, now)
        return HeldBack(
            side=holder.side.name.lower(),
            cause=holder.cause.name.lower(),
            what=_cause_in_words(runner, holder),
            since=wait.since_wall,
            told=bool(wait.told),
        )

    # --- inside

    def _look_at_membership(self, now: float, *, assigned: bool) -> None:
        """Without an assignment there is no watermark that could stand still."""
        if assigned:
            if self._unassigned_told:
                log.info("the group has assigned", waited_s=round(now - self._assigned))
            self._assigned, self._assigned_wall, self._unassigned_told = now, self._wall_ms(), False
        elif now - self._assigned >= self._patience and not self._unassigned_told:
            self._unassigned_told = True
            log.warning(
                "the group has assigned nothing yet: here nothing is read, decided or committed until it has",
                since=when(self._assigned_wall),
                waited_s=round(now - self._assigned),
            )

    def _note_progress(self, runner: TaskRunner, now: float) -> None:
        task = runner.task
        for side in Side:
            offset = task.next_offset(side)
            if self._applied.get((runner, side), (-1, 0.0))[0] != offset:
                self._applied[runner, side] = offset, now
        mark: tuple[int, ...] = task.watermark, task.watermarks.lower
        if task.restoring:  # what was read before moves no watermark until it is read again
            mark += task.next_offset(Side.OFFERS), task.next_offset(Side.CHECKOUTS)
        wait = self._waits.get(runner)
        if wait is None:
            self._waits[runner] = Wait(mark, now, self._wall_ms())
        elif mark != wait.mark:
            if wait.told:
                log.info(
                    "the watermark moves again",
                    partition=runner.partition,
                    waited_s=round(now - wait.since),
                    held_by=[f"{holder.side.name.lower()}: {holder.cause.name.lower()}" for holder in wait.told],
                    watermark=when(task.watermark),
                )
            self._waits[runner] = Wait(mark, now, self._wall_ms())

    def _search(self, runner: TaskRunner, wait: Wait, now: float) -> None:
        """Find what holds the watermark; tell it, if it is not told yet and holds it for long enough."""
        holder, facts = self._holder(runner, now)
        side = holder.side
        if holder != wait.holder:
            wait.holder, wait.holder_since = holder, now
        steady = now - wait.holder_since >= STEADY * self._patience
        takes_turns = not wait.told and now - wait.since >= 2 * self._patience  # and none of them ever gets steady
        if not (steady or takes_turns) or now - wait.since < self._patience or holder in wait.told:
            return
        wait.told.append(holder)
        log.warning(
            "the watermark stands still: of this partition nothing is decided meanwhile",
            partition=runner.partition,
            input=side.name.lower(),
            topic=self._topics[side],
            offset=facts.next_offset,
            end=facts.idle.end,
            since=when(wait.since_wall),
            waited_s=round(now - wait.since),
            cause=holder.cause.name.lower(),
            what=holder.cause.value,
            watermark=when(runner.task.watermark),
            **_more(holder.cause, facts),
        )

    def _holder(self, runner: TaskRunner, now: float) -> tuple[Holder, InputFacts]:
        """What holds the watermark now, with what is known of that input."""
        facts_of = {side: self._facts_of(runner, side, now) for side in _holding(runner)}
        found = [Holder(side, cause_of(facts)) for side, facts in facts_of.items()]
        holder = min(found, key=lambda holder: _URGENCY[holder.cause])
        return holder, facts_of[holder.side]

    def _facts_of(self, runner: TaskRunner, side: Side, now: float) -> InputFacts:
        return self._known_of(runner, side, now - self._applied[runner, side][1], self._ends.get((runner, side)))

    def _in_words(self, runner: TaskRunner, wait: Wait) -> str:
        assert wait.holder is not None  # noqa: S101 - the caller has looked
        side = wait.holder.side
        place = f"{self._topics[side]}[{runner.partition}] at offset {runner.task.next_offset(side)}"
        return (
            f"the watermark of partition {runner.partition} stands still since {when(wait.since_wall)}, held by "
            f"{place}: {_cause_in_words(runner, wait.holder)}"
        )

    def _forget_all_but(self, runners: Collection[TaskRunner]) -> None:
        here = set(runners)
        self._waits = {runner: wait for runner, wait in self._waits.items() if runner in here}
        self._ends = {place: end for place, end in self._ends.items() if place[0] in here}
        self._applied = {place: applied for place, applied in self._applied.items() if place[0] in here}

    def _wall_ms(self) -> int:
        return round(self._wall() * 1000)


def _holding(runner: TaskRunner) -> list[Side]:
    """The inputs that hold the watermark: the lower one, and while restoring each that is not read up to its stop."""
    task = runner.task
    if task.restoring:
        stops = {side: task.restore_until(side) for side in Side}
        behind = [side for side, stop in stops.items() if stop is None or task.next_offset(side) < stop]
        if behind:
            return behind
    return [side for side in Side if task.watermarks.of(side).value == task.watermarks.lower]


def _cause_in_words(runner: TaskRunner, holder: Holder) -> str:
    side, cause = holder
    schema = f" ({runner.waiting.schemas[side]})" if cause is Cause.SCHEMA and side in runner.waiting.schemas else ""
    return cause.value + schema


def _more(cause: Cause, facts: InputFacts) -> Mapping[str, object]:
    """What else is said of a cause."""
    idle = facts.idle
    if cause is Cause.SCHEMA:
        return {"schema": facts.schema}
    if cause is Cause.SILENT:
        return {"unanswered_s": round(idle.unanswered), "trouble": idle.trouble}
    if cause is Cause.DISTRUSTED and idle.distrusted_until is not None:
        return {"until": when(idle.distrusted_until), "after": idle.distrusted_after}
    return {}
