"""Checks the inside of a process while it runs: what it keeps, what it waits for, what it holds back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from simulation.checkers.expected import ExpectedFates
from simulation.checkers.outputs import OutputChecker
from simulation.checkers.violation import Violation
from simulation.workload.scenario import CHECKOUTS, OFFERS, implausible
from simulation.world.broker import Broker
from simulation.world.process import SimulatedProcess
from simulation.world.several import MOST_COPIES

from consumer.core.guards import SuspendedBy
from consumer.core.rules import MIN_TIME
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted

PATIENCE = 45.0
"""Seconds in which a watermark moves, if there is no reason why not: a few times lateness and idle_after. A record that
is dated far ahead waits until somebody has told the time, is kept back for 10 s among stragglers, and waits for the
time again; each of the three may take one more turn or two, and one of a quiet process takes 5 s."""

EVERY = 8
"""So many turns between two counts of what is in memory."""


BUCKET = 1 << 14
"""ms that a checkout may be kept too long, for the sake of cheap bookkeeping."""


class ProcessChecker:
    """What is known of the inputs, and what each process was seen to do last."""

    def __init__(self, expected: ExpectedFates, broker: Broker, outputs: OutputChecker, faults: Counter[str]) -> None:
        self._expected, self._scenario, self._broker, self._faults = expected, expected.scenario, broker, faults
        self._outputs = outputs
        self._turn = 0
        settings = self._scenario.settings
        self._lookback = max(rules.lookback for rules in settings)
        self._open = max(rules.late_after for rules in settings) + self._lookback
        self._inputs: dict[tuple[str, int], list[tuple[int, int, int, str]]] = defaultdict(list)
        self._dated: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
        """By partition and offset, when a presentation was dated and when its record was stamped (ms)."""
        for written in self._scenario.records:
            if written.topic == OFFERS and written.event is not None:
                self._dated[written.partition][written.offset] = written.dated, written.timestamp
            if written.event is not None and not implausible(written, self._scenario.loosest):
                event = written.event
                # What a producer's clock says counts as far as the record's stamp goes along.
                entry = written.offset, written.at, min(written.dated, written.timestamp), event.session_id
                self._inputs[written.topic, written.partition].append(entry)
        doubtful = {u.session_id for p in range(self._scenario.partitions) for _, u, _ in self._scenario.undated(p)}
        self._doubtful = len(
            doubtful | {w.event.session_id for w in self._scenario.records if w.event and not w.on_time}
        )
        self._suspended: dict[str, SuspendedBy] = {}
        self._tasks: dict[str, list[Task]] = {}
        self._looks_again: dict[tuple[str, int], int] = {}
        self._judged: dict[tuple[str, int], int] = {}
        self._landing: dict[str, int] = {}
        self._moved: dict[tuple[str, int], tuple[tuple[object, ...], float]] = {}
        self._decided: dict[tuple[str, int], tuple[Task, int]] = {}

    def on_cut(self) -> None:
        """Logs have lost records: who had not read them by then never does."""
        for place, entries in self._inputs.items():
            entries[:] = [entry for entry in entries if (*place, entry[0]) not in self._broker.cut]

    def check(self, process: SimulatedProcess) -> None:
        """To be called after each turn of a process."""
        if process.dead:
            return
        self._turn += 1
        service = process.service
        tasks = {runner.partition: runner.task for runner in service.tasks.runners.values()}
        if self._tasks.get(process.name) != [*tasks.values()]:
            # What the guards remember comes and goes with the tasks.
            self._tasks[process.name] = [*tasks.values()]
            self._suspended.pop(process.name, None)
            self._landing.pop(process.name, None)
        self._note_suspension(process, service.suspension.by, tasks)
        unsettled = sum(task.unsettled for task in tasks.values())
        full = unsettled >= self._scenario.max_unsettled
        for partition, task in tasks.items():
            if full and not task.restoring and (OFFERS, partition) not in process.consumer.paused:
                raise Violation(f"{process.name} has {unsettled} unsettled, and reads on")
            if not service.suspension.lets_decide(task):
                self._looks_again[process.name, partition] = task.watermark + self._lookback + 2 * BUCKET
            self._check_guards(process, partition, task, tasks)
            self._check_moving(process, partition, task, full=full)
            if self._turn % EVERY == 0 and not task.restoring:
                self._check_memory(process, partition, task)

    # --- memory

    def _check_memory(self, process: SimulatedProcess, partition: int, task: Task) -> None:
        """Nothing is kept that nothing undecided and no coming event can need, though decisions are suspended."""
        since = task.decided_to - self._open - self._scenario.rules.max_skew
        read_to = [task.next_offset(side) for side in Side]
        offers = [
            (dated, s)
            for o, _, dated, s in self._read(OFFERS, partition, read_to[0])
            if dated >= since or self._is_decided_anew(partition, o)
        ]
        copies = MOST_COPIES if process.has_copies else 1
        if task.undecided > copies * len(offers):
            raise Violation(
                f"{process.name} keeps {task.undecided} presentations of {partition}, {len(offers)} are open"
            )
        held = self._read(CHECKOUTS, partition, read_to[1])
        needed_from = task.watermark - self._open - self._scenario.rules.max_skew - self._lookback - BUCKET
        # One that is dated far behind is kept for what it names.
        sessions = {s for _, s in offers} | {s for _, at, dated, s in held if max(dated, at) >= needed_from}
        # While nothing is decided checkouts are not forgotten that an open offer needs: a lookback later they are.
        if task.watermark < self._looks_again.get((process.name, partition), MIN_TIME):
            return
        # Nor before the inputs are read again to where they had been before a restart.
        if task.watermarks.lower < task.decided_to:
            return
        if task.sessions > len(sessions) + self._doubtful + len(task._join._kept):
            raise Violation(f"{process.name} keeps {task.sessions} sessions of {partition}, of {len(sessions)}")

    def _is_decided_anew(self, partition: int, offset: int) -> bool:
        """Whether an offer's call that waits, however long, is decided anew: a member may have begun with other
        settings than those by which it was decided. What is covered by the outcome of a later chain may be so too,
        unless it is committed."""
        if self._scenario.one_setting:
            return False
        committed, _ = self._broker.group.committed.get((OFFERS, partition), (0, ""))
        return offset >= committed or (partition, offset) not in self._outputs.covered

    def _read(self, topic: str, partition: int, end: int) -> Iterable[tuple[int, int, int, str]]:
        return (entry for entry in self._inputs[topic, partition] if entry[0] < end)

    # --- the guards

    def _note_suspension(self, process: SimulatedProcess, by: SuspendedBy, tasks: dict[int, Task]) -> None:
        before = self._suspended.get(process.name, SuspendedBy.NONE)
        if by is not before:
            self._suspended[process.name] = by
            if before is SuspendedBy.SILENCE:
                heard = (self._read(CHECKOUTS, p, task.next_offset(Side.CHECKOUTS)) for p, task in tasks.items())
                newest = max((min(dated, at) for entries in heard for _, at, dated, _ in entries), default=MIN_TIME)
                self._landing[process.name] = newest + self._scenario.rules.lateness
            self._faults[f"decisions suspended: {by.value}" if by is not SuspendedBy.NONE else "decisions go on"] += 1

    def _check_guards(self, process: SimulatedProcess, partition: int, task: Task, tasks: dict[int, Task]) -> None:
        """Nothing is decided while presentations run too far ahead of all checkouts that are written."""
        place, decided_to = (process.name, partition), task.decided_to
        before_task, before = self._decided.get(place, (None, MIN_TIME))
        self._decided[place] = task, decided_to
        if task.restoring or task is not before_task or before == decided_to or self._scenario.loses_metadata:
            return
        self._check_unmatched(process, partition, task)
        silence = self._scenario.checkout_silence
        if not silence:
            return
        if task.watermarks.of(Side.CHECKOUTS).value < self._landing.get(process.name, MIN_TIME):
            raise Violation(f"{process.name} decided {partition} to {decided_to}, while what was kept back still lands")
        now = self._broker.clock.ms
        heard = [e[2] for p in tasks for e in self._inputs[CHECKOUTS, p] if e[1] <= now]
        # A task that was taken over does not see what was settled before.
        since, _ = self._broker.group.committed.get((OFFERS, partition), (0, ""))
        read = [(e[0], e[2]) for e in self._read(OFFERS, partition, task.next_offset(Side.OFFERS))]
        # By its own lookback a process may not believe what others do: that is no sign of how far offers have come.
        dates, rules = self._dated[partition], task._rules
        read = [(offset, dated) for offset, dated in read if not rules.is_far_behind(*dates[offset])]
        shown = [dated for offset, dated in read if offset >= since and dated <= decided_to]
        if shown and all(t.guard.newest_checkout == MIN_TIME for t in tasks.values()):
            # None was ever read: the first may have been written just now, dated long before. The first presentation
            # stands for it; one that came late is no first.
            first = next(offset for offset, dated in read if offset >= since and dated <= decided_to)
            heard.append(max(dated for offset, dated in read if offset <= first))
        ahead = max(shown) - max(heard) if heard and shown else 0
        if ahead > silence:
            raise Violation(f"{process.name} decided {partition} to {decided_to}, {ahead} ms after the last checkout")

    def _check_unmatched(self, process: SimulatedProcess, partition: int, task: Task) -> None:
        """Nothing is decided behind so many purchased ids in a row that can be of no offer."""
        scenario = self._scenario
        if not scenario.unmatched_limit or scenario.partitions > 1 or not scenario.all_on_time:
            return
        if self._broker.lost_at >= 0:
            return  # how many were counted is lost with the positions
        # A restart may go back behind an id that was of an offer.
        judged_to = max(task.decided_to, task.guard.ids.judged_to)
        # The instance knows of one that a task of before has judged, though it is not read again so far yet.
        place = process.name, partition
        before = self._judged[place] = max(judged_to, self._judged.get(place, MIN_TIME))
        run = min((self._unmatched_to(task, partition, to) for to in (judged_to, before)), key=len)
        if len(run) >= scenario.unmatched_limit:
            raise Violation(f"{process.name} decided {partition}, behind {len(run)} ids of no offer up to {judged_to}")

    def _unmatched_to(self, task: Task, partition: int, judged_to: int) -> set[tuple[str, str]]:
        """The ids in a row that are of no offer, of checkouts up to that time (ms)."""
        scenario, read_to = self._scenario, task.next_offset(Side.CHECKOUTS)
        named: set[tuple[str, str]] = set()
        counted: list[tuple[CheckoutCompleted, set[tuple[str, str]]]] = []
        for checkout in sorted(scenario.checkouts(partition), key=lambda c: c.offset):
            if checkout.session_id in scenario.eaten and checkout.offset >= read_to:
                continue  # a producer that is ahead has eaten its lateness: it is judged when it comes
            ids = {(checkout.session_id, purchased) for purchased in checkout.purchased}
            counted.append((checkout, ids - named))
            named |= ids  # named again further on in the log, it is not counted
        run: set[tuple[str, str]] = set()
        counted_ids = [(c, ids, all("booking" in purchased for purchased in c.purchased)) for c, ids in counted]
        # Those of one time are judged in any order: one that matches may be the last of them.
        for checkout, ids, is_booking in sorted(counted_ids, key=lambda one: (one[0].completed_at, not one[2])):
            if checkout.completed_at > judged_to:
                break
            if is_booking:
                run |= ids
            else:
                run.clear()
        return run

    # --- standing still

    def _check_moving(self, process: SimulatedProcess, partition: int, task: Task, *, full: bool) -> None:
        """A watermark that stands, while nothing is read, has a reason that is stated."""
        now, place = self._broker.clock.now, (process.name, partition)
        before, since = self._moved.get(place, (None, now))
        read_to = [task.next_offset(side) for side in Side]
        state = task, task.watermark, task.restoring, *read_to
        broker = self._broker
        excused = (
            broker.down
            or full
            or process.service.suspension.by is not SuspendedBy.NONE
            or process.service.tasks.runners[partition].late_run.suspended
            or process.skew
            or not process.beats
            or now < process.consumer.unaware_until + PATIENCE
            or not all(broker.fetches((topic, partition)) for topic in (OFFERS, CHECKOUTS))
        )
        if excused or state != before:
            self._moved[place] = state, now
        elif now - since > PATIENCE:
            raise Violation(f"{process.name} stands still in {partition} for {now - since:.1f} s: {process.describe()}")
