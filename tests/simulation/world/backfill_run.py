"""After a seed's live run: two adjoining ranges of its logs are backfilled, each under a name of its own.

The logs are long over, or still being written. All, none or some of what the live run told is there. Each range is
rehearsed first, then run by one to three processes that may die at any call of a client, while brokers and the insurer
fail for a while.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise
from random import Random

from confluent_kafka import KafkaException
from simulation.checkers.backfill import BackfillChecker, BackfillTruth
from simulation.checkers.violation import Violation
from simulation.workload.faults import Faults
from simulation.workload.kinds import Kind
from simulation.workload.scenario import CHECKOUTS, OFFERS, START, Scenario
from simulation.world.backfill import BackfillPlan, BackfillProcess, Bounds, RehearsalProcess, Terminal
from simulation.world.broker import CommitFault
from simulation.world.group import ClassicGroup, ConsumerGroup
from simulation.world.insurer import MODES, Partner
from simulation.world.late_run import LATER, read_late
from simulation.world.process import SimulatedProcess
from simulation.world.world import PATIENCE, World

from consumer.backfill import plan as plan_module
from consumer.backfill import told as told_module
from consumer.backfill.scope import Offsets
from consumer.errors import GapError, RangeError, StartError

FAULTY = 40.0
"""Seconds of a run in which something may fail."""


class BackfillWorld(World):
    """The logs of a world that has been run, in another one, in which nothing but backfills runs."""

    def __init__(self, live: World) -> None:
        super().__init__(live.scenario.seed, live.kinds)
        self._draws = draws = Random(f"{live.scenario.seed} backfill")
        self._due_starts.clear()
        self.plan.clear()
        self.supervisor.has_raised = True  # the live run has shown what the logs hold
        self.broker.metadata_limit = max(self.broker.metadata_limit, 360)
        self.broker.on_commit = lambda _: None
        self.insurer.refused = frozenset()
        self.insurer.on_call = lambda call: self._check(self.truth.on_call, call)
        self.truth = BackfillTruth(self.scenario, self.broker, self.insurer, self.journal, live.kinds)
        self.insurer.on_leave = partial(self._check, self.truth.on_leave)
        span = self.scenario.span / 1000
        is_over = draws.random() < 0.6
        now = self.scenario.records[-1].at / 1000 + LATER if is_over else START + draws.uniform(5, span + 25)
        self.faults["backfills of logs that are over" if is_over else "backfills of logs that go on"] += 1
        self.clock.now = now
        self._write_what_is_due()
        if draws.random() < 0.35:
            self._retain()
        self._keep_told(live, draws.choice((0.0, 0.5, 1.0)))
        self._order: Bounds = (0, 1)
        self._force = self._allow_gaps = False
        self._rate = 0.0
        self._checker: BackfillChecker | None = None
        self._finished: list[BackfillProcess] = []
        self._begun: Counter[int] = Counter()

    def _draw(self, seed: int, kinds: frozenset[Kind]) -> Scenario:
        scenario = read_late(super()._draw(seed, kinds))
        del scenario.settings[1:]
        scenario.not_found_limit = 20
        return scenario

    def _write_what_is_due(self) -> None:
        while self._records and self._records[0].at <= self.clock.ms:
            self._write(self._records.popleft())

    def _retain(self) -> None:
        """Retention has deleted the beginnings of some logs."""
        for (topic, _), log in self.broker.logs.items():
            if topic in self.broker.topics and self._draws.random() < 0.6 and log.records:
                log.delete_below(self._draws.choice(log.records[: 1 + len(log.records) // 2]).offset)
        self.faults["backfills of logs that retention has cut"] += 1

    def _keep_told(self, live: World, share: float) -> None:
        """What the live run has told by now, as far as it is kept: of an offer all or nothing."""
        kept: dict[bytes, bool] = {}
        for place, log in live.broker.logs.items():
            if place[0] in live.broker.topics:
                continue
            for record in log.records:
                key = record.key or b""
                if record.timestamp <= self.clock.ms and kept.setdefault(key, self._draws.random() < share):
                    self.broker.logs[place].append(record.timestamp, record.key, record.value, record.headers)

    def _run(self) -> None:
        plan_module.time = told_module.time = self.waiter  # type: ignore[assignment]
        draws = self._draws
        cuts: list[int] | list[Offsets] = self._draw_offsets() if draws.random() < 0.25 else self._draw_times()
        for number, bounds in enumerate(pairwise(cuts)):
            self._rate = draws.choice((0.0, 0.5, 2.0, 20.0))
            self._force = draws.random() < 0.2
            self._order = bounds
            self._backfill(f"n{number}")

    def _draw_times(self) -> list[int]:
        draws, now = self._draws, self.clock.ms
        times = sorted(w.happened for w in self.scenario.records if w.topic == OFFERS and w.happened < now)
        times = times or [START * 1000]
        cuts = sorted({min(now, draws.choice(times) + draws.choice((0, 1, 500, -3_000))) for _ in range(3)})
        return cuts if len(cuts) > 1 else [cuts[0] - 5_000, cuts[0]]

    def _draw_offsets(self) -> list[Offsets]:
        """Of some partitions: those that are not named have no part in it."""
        draws, cuts = self._draws, list[Offsets]([{}, {}, {}])
        for partition in range(self.broker.count):
            log = self.broker.logs[OFFERS, partition]
            if partition and draws.random() < 0.3:
                continue
            for cut, offset in zip(cuts, sorted(draws.randint(0, log.end) for _ in cuts), strict=True):
                cut[partition] = offset
        self.faults["backfills of offsets"] += 1
        return cuts

    def _check_end(self) -> None:
        """Each run was checked at its end."""

    # --- one name

    def _backfill(self, name: str) -> None:
        self.tell(f"backfill {name} of {self._order}{' by force' if self._force else ''}, {self._rate:g}/s")
        self._name = name
        self._calm = True
        self._new_group()
        self._allow_gaps = False
        try:
            self._planned()
        except GapError as error:
            self.tell(f"refused: {error}")
            self.faults["a backfill is refused for a gap, and goes on by --allow-gaps"] += 1
            self._allow_gaps = True
        except RangeError as error:
            if not any(why in str(error) for why in ("there is nothing to settle", "is no range of them")):
                raise
            self.tell(f"refused: {error}")
            return
        if self._draws.random() < 0.7:
            self._rehearse()
            self._new_group()
        self._calm = False
        self._finished.clear()
        self._checker = None
        self._begun.clear()
        self._draw_faults()
        self._due_starts = [self.clock.now]
        for _ in range(self._draws.choice((0, 0, 1, 2))):
            self._due_starts.append(self.clock.now + self._draws.choice((0.0, 2.0, 10.0)))
        self._until_all_have_ended(self._start)
        assert self._checker is not None
        self._checker.check_run(self._finished, is_repeated=max(self._begun.values(), default=0) > 1)

    def _rehearse(self) -> None:
        planned = self._planned()
        if planned is None:
            raise Violation("a rehearsal finds nothing to read, and nothing fails")
        checker = self._checker_of(planned)
        self._finished.clear()
        self.processes.append(self._process(RehearsalProcess, planned, None))
        self._until_all_have_ended(lambda: None)
        (process,) = self._finished
        assert isinstance(process, RehearsalProcess)
        checker.check_rehearsal(process)
        self.faults["rehearsals"] += 1

    def _new_group(self) -> None:
        protocol = ConsumerGroup if self.scenario.group_protocol == "consumer" else ClassicGroup
        self.broker.group = protocol(self.clock, self.random, (OFFERS, CHECKOUTS), self.broker.count)

    def _until_all_have_ended(self, start: object) -> None:
        until = self.clock.now + PATIENCE
        while self.processes or self._due_starts or self.plan:
            self.turns += 1
            self._start_what_is_due()
            if self._broken is not None:
                raise self._broken
            for process in self._in_some_order():
                if not process.step():
                    self._bury(process)
                self.truth.look(process)
            if not self._calm and not self.plan and self.clock.now > self._calm_at:
                self._calm = True
                self.tell("from now on nothing fails")
                for process in self.processes:
                    process.end_faults()
            if self.clock.now > until:
                raise Violation(f"it does not end: {[p.describe() for p in self.processes]}")
            self._pass_time(self._next_step())

    def _planned(self) -> BackfillPlan | None:
        self.waiter.sleeps = self._pass_time
        terminal = Terminal(self.broker, self._pass_time)
        settings = self._settings_of(self.scenario.rules)
        try:
            return terminal.plan(
                settings, self._name, self._rate, self._order, force=self._force, allow_gaps=self._allow_gaps
            )
        except (GapError, RangeError):
            raise
        except (KafkaException, StartError) as error:
            if self._calm:
                raise Violation(f"{self._name} cannot begin, and nothing fails: {error}") from error
            return None

    def _start(self) -> None:
        planned = self._planned()
        if planned is None:
            self.start_at(self.clock.now + 2.0)
            return
        if self._checker is None:
            self._checker = self._checker_of(planned)
        self.processes.append(self._process(BackfillProcess, planned, None if self._calm else self._draw_crash_point()))

    def _checker_of(self, planned: BackfillPlan) -> BackfillChecker:
        return BackfillChecker(self.scenario, self.broker, self.insurer, planned, self.faults)

    def _process(
        self, kind: type[BackfillProcess], planned: BackfillPlan, crash_point: tuple[str, int] | None
    ) -> BackfillProcess:
        self.started += 1
        name = f"b{self.started}"
        self.tell(f"{name} starts")
        return kind(
            planned,
            self.broker,
            name=name,
            insurer=self.insurer,
            clock=self.clock,
            random=self.random,
            crash_point=crash_point,
            waiter=self.waiter,
            release_file=self.release_file,
            journal=self.journal,
            pass_time=self._pass_time,
            tell=self.tell,
            on_begin=self._count_begin,
            on_refusal=self._count_refusal,
            portion=self.portion,
        )

    def _count_begin(self, partition: int) -> None:
        self._begun[partition] += 1

    def _bury(self, process: SimulatedProcess) -> None:
        assert isinstance(process, BackfillProcess)
        if process.is_finished:
            self.processes.remove(process)
            self._finished.append(process)
            self.tell(f"{process.name} ends: {process.left}, complete: {process.report.is_complete}")
            return
        super()._bury(process)

    # --- what fails

    def _draw_faults(self) -> None:
        draws, broker, faults = self._draws, self.broker, Faults(self)
        for _ in range(draws.choice((0, 1, 3))):
            at, lasts = self.clock.now - START + draws.uniform(0, FAULTY - 12), draws.uniform(0.5, 10)
            what = draws.choice(("down", "commits", "outputs", "partner", "kill", "kill"))
            if what == "down":
                faults.during(what, lasts, partial(faults.set_down, True), partial(faults.set_down, False), at)
            elif what == "commits":
                fault = draws.choice([f for f in CommitFault if f is not CommitFault.NONE])
                begin, end = (partial(setattr, broker, "commit_fault", f) for f in (fault, CommitFault.NONE))
                faults.during(f"a commit {fault.value}", lasts, begin, end, at)
            elif what == "outputs":
                topic = draws.choice((broker.outcome_topic, broker.dead_letter_topic))
                begin, end = partial(broker.stalled.add, topic), partial(broker.stalled.discard, topic)
                faults.during(f"{topic} takes nothing", lasts, begin, end, at)
            elif what == "partner":
                partner = self.insurer.partners.setdefault(draws.choice(("ada", "bob", "eve")), Partner())
                mode = draws.choice(MODES)
                begin, end = (partial(setattr, partner, "mode", m) for m in (mode, "ok"))
                faults.during(f"calls: {mode}", lasts, begin, end, at)
            else:
                faults.plan.append((at, self._kill_one))
        self.plan = faults.sorted(faults.plan)
        self._calm_at = self.clock.now + FAULTY

    def _kill_one(self) -> None:
        if self.processes:
            process = self._draws.choice(self.processes)
            self.tell(f"{process.name} is killed")
            process.kill()


def backfill(live: World) -> Counter[str]:
    """Backfill two ranges of the logs of a world that has been run.

    Raises:
        Violation: an invariant breaks.
    """
    world = BackfillWorld(live)
    try:
        world.run()
    except Violation as violation:
        live.trace.extend(world.trace)
        raise Violation(f"in a backfill: {violation}") from violation
    except BaseException:
        live.trace.extend(world.trace)
        raise
    return world.faults
