"""What is not well, in sentences: what waits, why, since when, and the entry of the runbook that says what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..snapshot import HeldBack, Snapshot, TaskSnapshot
from . import call_problems, conditions
from .conditions import CLOCK, HALVES, VERY_LATE
from .health import Health, HealthStatus
from .history import DEAD_LETTERS_OVER, MINUTE, Hour
from .problem import ORDER, Problem, Urgency, begun, lasting, listed_of, numbers_of, once_lasting, problem, urgency_of
from .words import clock, counted, listed, span

QUIET = 10.0
"""Seconds without a turn, or without an answer of the brokers, before that is said. Turns take a quarter of it."""

STANDS = 60.0
"""Seconds without a turn after which somebody should look. The longest turn that has a reason takes half of it: calls
in flight are waited for when partitions are taken away."""

PATIENCE = 60.0
"""Seconds that a start may take until somebody should look."""

LASTING = 900.0
"""Seconds after which what mostly ends by itself has not: a transaction, for one, is aborted by then."""

STANDSTILL = 300.0
"""Seconds for which a watermark may stand still for a cause that mostly does not end by itself: a broker that restarts
takes less."""

LANDING = 1_800.0
"""Seconds for which decisions may wait for what was kept back to land, which takes `join.lateness`."""

CLOCK_SET, METADATA_FULL, NEW_TOPIC = 300.0, 1_800.0, 600.0
"""Seconds within which a time service sets a clock right, a failure of the API ends that fills the list of a commit,
and the old part of a topic is read that is read for the first time."""

UNCOMMITTED = 300.0
"""Seconds without an acknowledged commit before that is said: they are made every `kafka.commit_interval`, 5 s."""

FASTER = 1.25
"""Seconds by which a watermark moves in a second, at least, where it catches up."""

MOST_DEAD_LETTERS, MOST_DEAD_LETTERS_A_DAY, FEW_DEAD_LETTERS = 10, 100, 5
"""Dead letters of one reason in a quarter of an hour, and in a day, that are single ones; and so many in two hours are
none that still come."""

ENDS_BY_ITSELF = frozenset({"distrusted", "transaction"})
"""The causes of `snapshot.HeldBack` that do."""

LESS_URGENT: Mapping[str, Urgency] = {"behind": Urgency.TODAY}
"""Causes for which the first words of their entry are not meant: quiet topics wait, and decisions are not held."""

SUSPENSIONS: Mapping[str, str] = {
    "clock": "the-clock-is-wrong",
    "checkout_silence": "no-checkouts-come",
    "unmatched": "purchased-ids-match-nothing",
    "misdated": "checkouts-are-dated-implausibly",
    "landing": "no-checkouts-come",
    "gap": "no-checkouts-come",
}
"""The entry of each reason of `snapshot.Suspended`."""

CAUSES: Mapping[str, str] = {
    "schema": "a-schema-is-not-known",
    "kept_back": "offers-are-kept-back",
    "unsettled": "reading-is-paused",
    "too_many": "checkouts-are-read-no-further",
    "ahead": "nobody-tells-the-time",
    "clock": "nobody-tells-the-time",
    "behind": "the-clock-is-wrong",
}
"""The entry of each cause of `snapshot.HeldBack` that has one of its own."""

NOT_LIVE = "an-instance-is-not-live"
NOT_TURNED = "the-loop-has-not-turned"
NOT_READY = "an-instance-is-not-ready"
NO_ANSWER = "the-brokers-do-not-answer"
NOT_ASSIGNED = "the-group-has-assigned-nothing"
STANDS_STILL = "the-watermark-stands-still"
COMMITS_FAIL = "commit-failed"
NEAR_RETENTION = "a-held-commit-nears-the-retention"
LATE = "decisions-are-late"
METADATA = "commit-metadata-is-nearly-full"
CLOCK_WRONG = "the-clock-is-wrong"
DEAD_LETTER = "dead-letter"
OFFERS_STOPPED = "offers-are-read-no-further"
NOT_TOLD = "metrics-stay-as-they-are"
HALF_A_PAIR = "partitions-wait-for-their-pair"

ENTRIES = frozenset(
    {
        *SUSPENSIONS.values(),
        *call_problems.STOPS.values(),
        *CAUSES.values(),
        *(
            NOT_LIVE,
            NOT_TURNED,
            NOT_READY,
            NO_ANSWER,
            NOT_ASSIGNED,
            call_problems.READING_PAUSED,
            call_problems.GATE_CLOSED,
        ),
        *(STANDS_STILL, call_problems.STUCK, call_problems.CALLS_FAIL, call_problems.BOUGHT, COMMITS_FAIL),
        *(
            NEAR_RETENTION,
            LATE,
            METADATA,
            CLOCK_WRONG,
            DEAD_LETTER,
            OFFERS_STOPPED,
            NOT_TOLD,
            HALF_A_PAIR,
            call_problems.NOT_FOUND,
        ),
    }
)
"""All that a problem may name."""


NOTHING_KNOWN = Hour()


class Pulse(NamedTuple):
    """What `Health` says at one moment. `waiting`: for what of the brokers, and how long (seconds).

    `turned_ago`: seconds since the loop has turned; None: nobody says, and the newest snapshot is taken for it.
    """

    live: HealthStatus
    ready: HealthStatus
    waiting: tuple[str, float] | None = None
    turned_ago: float | None = None

    @classmethod
    def of(cls, health: Health) -> Pulse:
        """That of a run."""
        return cls(health.live(), health.ready(), health.waiting_for(), health.turned_ago())


def problems_of(snapshot: Snapshot | None, pulse: Pulse, now: int, hour: Hour = NOTHING_KNOWN) -> tuple[Problem, ...]:
    """All of them, the most urgent first. `now` in ms; `hour`: what has risen, and since when what is so is so."""
    found = [*_of_the_process(snapshot, pulse, hour, now)]
    known = bool(found) and not (snapshot is not None and snapshot.halves)
    if snapshot is not None:
        found += [
            *_of_decisions(snapshot, hour, now),
            *_of_the_clock(snapshot, hour, now),
            *call_problems.of_calls(snapshot, hour, now),
            *call_problems.of_partners(snapshot, hour, now),
            *_of_watermarks(snapshot, now),
            *_of_late_tasks(snapshot, hour),
            *_of_commits(snapshot, hour, now, looked_at=not known),
            *_of_dead_letters(hour),
        ]
    return tuple(sorted(found, key=lambda one: ORDER[one.urgency]))


# -- the process -----------------------------------------------------------------------------------------------------


def _of_the_process(snapshot: Snapshot | None, pulse: Pulse, hour: Hour, now: int) -> Iterator[Problem]:
    since = None if snapshot is None else snapshot.taken_at
    if pulse.waiting is not None and pulse.waiting[1] >= QUIET:
        what, seconds = pulse.waiting
        yield problem(
            f"the brokers have not answered for {span(seconds)} ({what}): nothing is read, decided or committed until "
            "they do, and what is shown below is as old",
            now - round(1000 * seconds),
            NO_ANSWER,
        )
    elif not pulse.live.ok:
        yield problem(pulse.live.reason, since, NOT_LIVE)
    elif snapshot is not None and snapshot.stopping:
        # No turn ends any more, and nothing is told after this.
        words = "it stops: calls in flight may end, then what is settled is committed"
        yield problem(words, since, NOT_READY, urgency=Urgency.NOT_URGENT)
    elif since is not None and now - since > 1000 * QUIET:
        age = span((now - since) / 1000)
        if pulse.turned_ago is not None and pulse.turned_ago <= QUIET:
            words = f"what the run is doing could not be told for {age}, and what is shown below is as old; it goes on"
            yield problem(words, since, NOT_TOLD)
        else:
            words = f"the loop has not turned for {age}, and what is shown below is as old"
            yield problem(words, since, NOT_TURNED, urgency=once_lasting(Urgency.NOW, since, now, STANDS))
    elif snapshot is None or not snapshot.assigned:
        starting = snapshot is None or now - snapshot.started_at < 1000 * PATIENCE
        more = {"urgency": Urgency.NOT_URGENT} if starting else {}
        yield problem(pulse.ready.reason, None if snapshot is None else snapshot.started_at, NOT_ASSIGNED, **more)
    elif snapshot.halves:
        yield problem(
            f"{listed(snapshot.halves)}: nothing is decided here, since the pair of the other topic is not here. It "
            "comes within a moment, unless a foreign member is in the group",
            begun(HALVES, hour, snapshot),
            HALF_A_PAIR,
            urgency=once_lasting(Urgency.TODAY, hour.since.get(HALVES), now, PATIENCE),
            partitions=snapshot.halves,
        )


def _of_decisions(snapshot: Snapshot, hour: Hour, now: int) -> Iterator[Problem]:
    for phase, words in (
        ("restoring", "what was read before the start is read again, and nothing is decided until that is done"),
        ("draining", "handed over: calls in flight may end, then what is settled is committed"),
    ):
        if tasks := [task for task in snapshot.tasks if task.phase == phase]:
            since = min((task.phase_since for task in tasks if task.phase_since is not None), default=None)
            lasts = 0.0 if since is None else (now - since) / 1000
            urgency = Urgency.TODAY if lasts > LASTING else Urgency.NOT_URGENT
            yield problem(
                f"{listed_of(tasks)}: {words}", since, NOT_READY, urgency=urgency, partitions=numbers_of(tasks)
            )
    for one in snapshot.suspended:
        where = f"{listed(one.partitions)}: " if one.partitions else ""
        more = {}
        if one.reason in {"landing", "gap"}:
            began = hour.since.get(conditions.suspended(one.reason), one.since)
            ends = began is None or now - began <= 1000 * LANDING
            more = {"urgency": Urgency.NOT_URGENT if ends else Urgency.TODAY}
        entry = SUSPENSIONS.get(one.reason, STANDS_STILL)
        held = [task for task in snapshot.tasks if not one.partitions or task.partition in one.partitions]
        open_ones = sum(task.open_presentations for task in held)
        wait = f"; {counted(open_ones, 'offer')} {'is' if open_ones == 1 else 'are'} read and not decided"
        words = f"{where}{one.what}{wait if open_ones else ''}"
        yield problem(words, one.since, entry, partitions=one.partitions, **more)

    if stopped := snapshot.offers_stopped:
        by_itself = all(one.reason in {"landing", "gap"} for one in snapshot.suspended)
        yield problem(
            f"{listed(stopped)}: offers are read no further, since memory would not suffice for more that wait",
            None,
            OFFERS_STOPPED,
            urgency=Urgency.NOT_URGENT if by_itself else Urgency.NOW,
            partitions=stopped,
        )


def _of_the_clock(snapshot: Snapshot, hour: Hour, now: int) -> Iterator[Problem]:
    ahead = snapshot.clock_ahead
    if ahead is not None and conditions.differs(snapshot) and all(one.reason != "clock" for one in snapshot.suspended):
        yield problem(
            f"the clock of this machine is {span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} that of the API "
            "or the brokers: quiet topics are not decided, and beyond join.max_skew nothing is",
            begun(CLOCK, hour, snapshot),
            CLOCK_WRONG,
            urgency=once_lasting(Urgency.TODAY, hour.since.get(CLOCK), now, CLOCK_SET),
        )


# -- the watermark ---------------------------------------------------------------------------------------------------


def _of_watermarks(snapshot: Snapshot, now: int) -> Iterator[Problem]:
    """Watermarks that stand still, those of one cause together; not those of which is said already why."""
    alike: dict[tuple[str, str, str], list[tuple[TaskSnapshot, HeldBack]]] = {}
    for task in snapshot.tasks:
        held = task.held_back
        if held is None or not held.told:
            continue
        if (held.cause == "unsettled" and snapshot.full) or (held.cause == "suspended" and snapshot.suspended):
            continue
        alike.setdefault((held.side, held.cause, held.what), []).append((task, held))
    for (side, cause, what), found in alike.items():
        tasks, since = [task for task, _ in found], min(held.since for _, held in found)
        first = tasks[0].offers if side == "offers" else tasks[0].checkouts
        at = f" at offset {first.position:,}" if len(tasks) == 1 else ""
        stand = "the watermark stands" if len(tasks) == 1 else "the watermarks stand"
        # Before an instance has a task nobody has looked.
        taken_over = any(task.phase_since is not None and held.since <= task.phase_since for task, held in found)
        when = f"since it runs here, {clock(since, now)}" if taken_over else f"since {clock(since, now)}"
        yield problem(
            f"{listed_of(tasks)}: {stand} still {when}, held by {first.topic}{at}: {what}",
            None if taken_over else since,
            CAUSES.get(cause, STANDS_STILL),
            urgency=_urgency_of_standstill(cause, (now - since) / 1000, tasks, snapshot),
            partitions=numbers_of(tasks),
        )


def _urgency_of_standstill(cause: str, seconds: float, tasks: list[TaskSnapshot], snapshot: Snapshot) -> Urgency:
    if any(conditions.behind(task, snapshot) > VERY_LATE for task in tasks):
        return Urgency.NOW
    entry = CAUSES.get(cause, STANDS_STILL)
    urgency = LESS_URGENT.get(cause, urgency_of(entry))
    if urgency is not Urgency.NOT_URGENT:
        return urgency
    # After trouble nothing is taken for idle for join.lateness.
    by_itself = max(LASTING, 2 * snapshot.lateness)
    return lasting(entry, seconds, by_itself if cause in ENDS_BY_ITSELF else STANDSTILL)


def _of_late_tasks(snapshot: Snapshot, hour: Hour) -> Iterator[Problem]:
    """Watermarks that move, and are far behind: those that catch up, and those that do not."""
    late = [
        task
        for task in snapshot.tasks
        if conditions.is_late(task, snapshot) and not (task.held_back is not None and task.held_back.told)
    ]
    paces = hour.risen.paces
    gain = [task for task in late if paces.get(task.partition, FASTER if task.held_back is None else 0.0) >= FASTER]
    for tasks, catches_up in ((gain, True), ([task for task in late if task not in gain], False)):
        if not tasks:
            continue
        most = max(conditions.behind(task, snapshot) for task in tasks)
        times = [begun(conditions.late(task.partition), hour, snapshot) for task in tasks]
        since = None if None in times else min(time for time in times if time is not None)
        urgency = Urgency.NOW if most > VERY_LATE else Urgency.TODAY
        several = len(tasks) > 1
        up_to, they = ("up to ", "they") if several else ("", "it")
        words = f"catch{'' if several else 'es'} up"
        if not catches_up:
            words = (
                f"do{'' if several else 'es'} not catch up: it is held back, or offers come faster than they are read"
            )
        yield problem(
            f"{listed_of(tasks)}: decisions are {up_to}{span(most + snapshot.lateness)} behind the clock; "
            f"{they} {words}",
            since,
            LATE,
            urgency=Urgency.NOT_URGENT if catches_up else urgency,
            partitions=numbers_of(tasks),
        )


# -- the log ---------------------------------------------------------------------------------------------------------


def _of_commits(snapshot: Snapshot, hour: Hour, now: int, *, looked_at: bool) -> Iterator[Problem]:
    """Commits that fail, come too late or have no room. That they fail is not said where the loop is known to stand."""
    stale = {
        task.partition: since
        for task in snapshot.tasks
        if task.phase == "running"
        and (since := task.uncommitted_since) is not None
        and now - since > 1000 * UNCOMMITTED
    }
    if stale and looked_at:
        since, partitions = min(stale.values()), tuple(stale)
        yield problem(
            f"{listed(partitions)}: no commit has been acknowledged since {clock(since, now)}: a restart would repeat "
            "the calls made since then",
            since,
            COMMITS_FAIL,
            urgency=Urgency.TODAY,
            partitions=partitions,
        )
    for task in snapshot.tasks:
        yield from _of_retention(task, snapshot, hour, now)
        if conditions.is_nearly_full(task):
            key = conditions.metadata(task.partition)
            yield problem(
                f"partition {task.partition}: the text of its commit has {task.metadata_characters:,} of "
                f"{task.metadata_limit:,} characters: a restart would repeat calls that find no room in it",
                begun(key, hour, snapshot),
                METADATA,
                urgency=once_lasting(urgency_of(METADATA), hour.since.get(key), now, METADATA_FULL),
                partitions=(task.partition,),
            )


def _of_retention(task: TaskSnapshot, snapshot: Snapshot, hour: Hour, now: int) -> Iterator[Problem]:
    for one in (task.offers, task.checkouts):
        if one.retention_left is None or not conditions.nears_retention(one):
            continue
        key = conditions.retention(one.topic, task.partition)
        urgency = Urgency.NOW if one.retention_left < conditions.needs_retention(one) else Urgency.TODAY
        # What is old when it is read for the first time is soon behind.
        if conditions.is_late(task, snapshot) and task.held_back is None:
            urgency = once_lasting(urgency, hour.since.get(key), now, NEW_TOPIC)
        yield problem(
            f"partition {task.partition}: retention deletes in {span(one.retention_left)} what the commit of "
            f"{one.topic} still needs: the next start would then be refused, and opt-outs be lost",
            begun(key, hour, snapshot),
            NEAR_RETENTION,
            urgency=urgency,
            partitions=(task.partition,),
        )


def _of_dead_letters(hour: Hour) -> Iterator[Problem]:
    """Many at a time, or few and many in a day that still come."""
    risen = hour.risen
    for (side, reason), count in risen.dead_letters.items():
        foreign = (side, reason) == ("checkouts", "key_mismatch")
        if count > (0 if foreign else MOST_DEAD_LETTERS):
            cost = "their offers may be called though they were bought" if foreign else "see what is wrong with them"
            yield problem(
                f"{counted(count, 'record')} of the {side} {'was' if count == 1 else 'were'} dead-lettered as {reason} "
                f"in the last {DEAD_LETTERS_OVER // MINUTE} minutes: {cost}",
                None,
                DEAD_LETTER,
                urgency=Urgency.NOW if foreign else Urgency.TODAY,
            )
        elif (a_day := risen.dead_letters_of_a_day[side, reason]) > MOST_DEAD_LETTERS_A_DAY and (
            risen.dead_letters_of_two_hours[side, reason] > FEW_DEAD_LETTERS
        ):
            yield problem(
                f"{a_day:,} records of the {side} were dead-lettered as {reason} within a day, and they still are: see "
                "what is wrong with them",
                None,
                DEAD_LETTER,
                urgency=Urgency.TODAY,
            )
