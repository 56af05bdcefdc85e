"""Runs one seed: the scenario's records are written as time passes, processes live and die, faults come and go."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from simulation.checkers.calls import CallChecker
from simulation.checkers.commits import CommitChecker
from simulation.checkers.expected import ExpectedFates
from simulation.checkers.head import HEAD
from simulation.checkers.outputs import OutputChecker
from simulation.checkers.process import ProcessChecker
from simulation.checkers.rows import RowChecker
from simulation.checkers.truth import TruthChecker
from simulation.checkers.violation import Violation
from simulation.workload import changed_mapping
from simulation.workload.drawing import draw
from simulation.workload.faults import Faults
from simulation.workload.kinds import ON, Kind, source_of
from simulation.workload.scenario import CHECKOUTS, OFFERS, START, Scenario, Written
from simulation.world.broker import Broker, Place
from simulation.world.insurer import Call, Insurer
from simulation.world.journal import Journal
from simulation.world.operator import Operator
from simulation.world.process import SimulatedProcess
from simulation.world.release_file import ReleaseFile
from simulation.world.settings import CONCURRENCY, DEAD, OUTCOMES, settings_of
from simulation.world.several import MORE_TEXT
from simulation.world.supervisor import Supervisor
from simulation.world.timeline import Clock, Waiter

from consumer.core import commits
from consumer.core.horizon import Horizon
from consumer.core.rules import DecisionRules
from consumer.errors import (
    ClockError,
    DeadLetterError,
    OffsetGoneError,
    OptOutError,
    PositionsError,
    SettingsError,
    StartError,
    TooManyDeadLettersError,
    TopicMadeAnewError,
)
from consumer.kafka import consumer as source
from consumer.kafka import end_offsets, group
from consumer.runtime.loop import PORTION
from consumer.settings import Settings
from consumer.xcover import api

PATIENCE = 3_600.0
"""Virtual seconds after the last fault in which everything must be settled: refused calls wait for five minutes."""
SESSIONS, NEITHER = "sessions", "by neither"
MASS_FOR = 300.0
"""Virtual seconds after the last fault until a person has a mass of late or misdated offers dead-lettered. It may be
twenty of forty by chance: then nothing disproves it."""
SHORTER = 20
"""So often a process may have metadata refused: it is halved each time, for each assignment anew."""


class World:
    """The world of one seed. `run` raises `Violation` if an invariant breaks."""

    def __init__(self, seed: int, kinds: frozenset[Kind] = ON) -> None:
        self.random, self.kinds = Random(seed * 7_919 + 1), kinds
        self.scenario = self._draw(seed, kinds)
        self.clock = Clock(float(START))
        scenario = self.scenario
        self.trace: deque[str] = deque(maxlen=400)
        self.faults: Counter[str] = Counter(scenario.kinds)
        self._digest = hashlib.sha256()
        self.waiter = Waiter(self.clock)
        self.broker = Broker(
            self.clock, self.random, (OFFERS, CHECKOUTS), (OUTCOMES, DEAD), scenario.partitions, scenario.group_protocol
        )
        self._more_text = MORE_TEXT if Kind.SEVERAL in kinds else 0
        self._more_text += changed_mapping.MORE_TEXT if Kind.CHANGED_MAPPING in kinds else 0
        self.portion = source_of(Kind.IN_PORTIONS, seed).randint(1, 3) if Kind.IN_PORTIONS in kinds else PORTION
        self.broker.metadata_limit = scenario.metadata_limit + self._more_text
        self.broker.on_read = lambda *read: scenario.read(*read, self.clock.ms)
        self.insurer = Insurer(self.clock, self.random, scenario.unknown, scenario.refused)
        self.release_file = ReleaseFile(self.clock)
        self._expected = expected = ExpectedFates(scenario)
        self._outputs = OutputChecker(expected, self.broker, self.insurer, self.release_file.since)
        self.calls = CallChecker(expected, self.broker, self._outputs, CONCURRENCY, self.faults)
        self.commits = CommitChecker(expected, self.broker, self._outputs, self.calls)
        self._inside = ProcessChecker(expected, self.broker, self._outputs, self.faults)
        self.journal = Journal(self.clock)
        self.truth = TruthChecker(scenario, self.broker, self.insurer, self.journal, kinds)
        self.broker.on_commit = self._on_commit
        self.insurer.on_call = partial(self._check, self._on_call)
        self.insurer.on_leave = partial(self._check, self.truth.on_leave)
        self._broken: Violation | None = None
        self.processes: list[SimulatedProcess] = []
        self._too_large: Counter[tuple[str, int]] = Counter()
        self.operator = Operator(self.broker, self.tell)
        self.supervisor = Supervisor(self)
        self._rows = RowChecker(expected, self.broker, self.faults)
        self._refused = self._gives_up_masses = False
        self.in_doubt = False
        """What is committed is not what the service left there; the operator has not said yes to it yet."""
        self.not_to_commit: set[Place] = set()
        """What was committed by another mapping, as long as the operator has not said yes to it."""
        self.started = 0
        self.crashes = 0
        self.turns = 0
        self._records = deque(scenario.records)
        self.plan = Faults.sorted([*Faults(self, kinds).draw(), *changed_mapping.changes_of_mapping(self)])
        self._due_starts = [self.clock.now] * scenario.instances
        self._calm = False

    def _draw(self, seed: int, kinds: frozenset[Kind]) -> Scenario:
        """What the world is told."""
        return draw(seed, kinds)

    @property
    def digest(self) -> str:
        """Of everything that was told: two runs of a seed must agree."""
        return self._digest.hexdigest()[:16]

    def unjudged(self) -> Counter[str]:
        """How many sessions there are, and how many of them which judge has left unjudged for which reason."""
        first, second = self._expected.unjudged(), self.truth.unjudged
        counted = Counter(f"by the first judge: {why}" for why in first.values())
        counted += Counter(f"by the second judge: {why}" for reasons in second.values() for why in reasons)
        counted[NEITHER] = len(first.keys() & second)
        counted[SESSIONS] = len({event.session_id for event in self.scenario.offers()})
        return counted

    def why_called_or_not(self, offer_id: str) -> str:
        """Why two runs over the same logs may differ in whether they call the offer, in words; empty if they may not.

        Between decision and call both fates are right. So is what hangs on when a record was read: by the contract, a
        late one, one without a date, an operator's word.
        """
        session = self._expected.chains[offer_id][0].session_id
        if (unjudged := self._expected.unjudged().get(session)) is not None:
            return unjudged
        if offer_id in self.release_file.since:
            return "it was let go"
        if self._expected.withholdable(offer_id):
            return "a checkout of its session that cannot be read came before its call, or after"
        return "it was bought, before its call or after" if self.truth.was_readable(offer_id) else ""

    def tell(self, what: str) -> None:
        """A line of the trace."""
        line = f"{self.clock.now - START:9.3f}  {what}"
        self._digest.update(line.encode())
        self.trace.append(line)

    def run(self) -> None:
        """Run to the end, checking all the way."""
        real = end_offsets.time, group.time, source.time, api.time, commits.LEAST_METADATA
        # They sleep while something comes up that will not be long.
        end_offsets.time = group.time = source.time = api.time = self.waiter  # type: ignore[assignment]
        # A seed's lists are short, and so are its logs.
        commits.LEAST_METADATA = 190 + self._more_text
        head, Horizon.HEAD = Horizon.HEAD, HEAD
        try:
            with self.journal.listening():
                self._run()
            self._check_end()
        finally:
            for process in self.processes:
                process.kill()
            end_offsets.time, group.time, source.time, api.time, commits.LEAST_METADATA = real
            Horizon.HEAD = head

    def _check_end(self) -> None:
        self._outputs.check_end()
        self.calls.check_end()
        self.truth.check_end()

    def _run(self) -> None:
        end = None
        while True:
            self.turns += 1
            self._start_what_is_due()
            if self._broken is not None:
                raise self._broken
            for process in self._in_some_order():
                if process.frozen_until <= self.clock.now:
                    if not process.step():
                        self._bury(process)
                    self._inside.check(process)
                    self._rows.look(process)
                    self.truth.look(process)
            if self._is_over():
                if self._settled():
                    break
                if end is None:
                    end = self.clock.now + PATIENCE
                elif self.clock.now > end - PATIENCE + MASS_FOR:
                    self._give_up_masses()
                if self.clock.now > end:
                    raise Violation(f"stuck: {self._why_stuck()}")
            self._pass_time(self._next_step())

    def _on_commit(self, offsets: dict[Place, tuple[int, str]]) -> None:
        self.not_to_commit &= self.broker.group.committed.keys()  # what is gone says nothing of a mapping
        if changed := self.not_to_commit & offsets.keys():
            raise Violation(f"{sorted(changed)} were committed by another mapping, and nobody has said yes to this one")
        self.commits.check(offsets)
        self._rows.on_commit(offsets, self.processes, is_raised=self.supervisor.has_raised)

    def _on_call(self, call: Call) -> None:
        self.truth.on_call(call)
        self.calls.check(call)

    def _check(self, check: Callable[..., None], *what: Any) -> None:
        try:
            check(*what)
        except Violation as violation:
            # The delivery would take it for a fault of the network.
            self._broken = self._broken or violation

    # --- time

    def _pass_time(self, seconds: float) -> None:
        """Let time pass: records are written, faults begin and end, the group hears who lives."""
        self.clock.now += seconds
        while self._records and self._records[0].at <= self.clock.ms:
            written = self._records.popleft()
            self.commits.on_written(written)
            self._write(written)
        while self.plan and self.plan[0][0] <= self.clock.now - START:
            _, happen = self.plan.popleft()
            happen()
        for process in self.processes:
            if process.beats:
                self.broker.heartbeat(process.name)
        self.broker.tick()
        if self.broker.down:
            self.broker.last_down = self.clock.now
        if self.broker.refused:
            self.broker.last_refused = self.clock.now

    def _write(self, written: Written) -> None:
        log = self.broker.logs[written.topic, written.partition]
        log.append(written.timestamp, written.key, written.value, gap=written.offset - log.end)

    def _next_step(self) -> float:
        """Seconds until something happens, or a little while."""
        cap = self.random.choice((0.01, 0.1, 0.5, 1.0) if not self._calm else (0.5, 2.0, 5.0))
        now = self.clock.now
        due = [self._records[0].at / 1000 - now + 0.001] if self._records else []
        due += [START + self.plan[0][0] - now] if self.plan else []
        due += [max(START + p.loop.next_timer(), p.frozen_until) - now for p in self.processes if not p.dead]
        return max(0.001, min([cap, *due]))

    # --- processes

    def _start_what_is_due(self) -> None:
        for at in [at for at in self._due_starts if at <= self.clock.now]:
            self._due_starts.remove(at)
            self._start()

    def start_at(self, moment: float) -> None:
        """One more process is to be started then."""
        self._due_starts.append(moment)

    def _start(self) -> None:
        scenario = self.scenario
        rules = scenario.settings[min(self.started, len(scenario.settings) - 1)]
        if self._refused and self.in_doubt:
            self.waiter.sleeps = self._pass_time  # and not the process that slept last, which may be dead
            if not self.operator.answer(self._settings_of(rules), START * 1000):
                self.start_at(self.clock.now + 2.0)
                return
            self.in_doubt = self._refused = False
            self.not_to_commit.clear()
            self.broker.known_at.clear()
            self.faults[f"an operator answers by {'--reset-to' if self.operator.goes_back else '--accept'}"] += 1
            self.commits.on_answer(self.operator.skips)
            self.truth.on_answer(self.operator.named, self.operator.skips)
        self.started += 1
        name = f"p{self.started}"
        self.tell(f"{name} starts" + (f" with {rules}" if len(scenario.settings) > 1 else ""))
        try:
            process = SimulatedProcess(
                name,
                self._settings_of(rules),
                self.broker,
                self.insurer,
                clock=self.clock,
                random=self.random,
                crash_point=None if self._calm else self._draw_crash_point(),
                waiter=self.waiter,
                release_file=self.release_file,
                journal=self.journal,
                pass_time=self._pass_time,
                tell=self.tell,
                on_begin=self._begin,
                on_refusal=self._count_refusal,
                portion=self.portion,
            )
        except SettingsError as error:
            self.tell(f"{name} does not start: {error}")
            self.faults["stopped: SettingsError"] += 1
            self.start_at(self.clock.now + 2.0)
            return
        self.processes.append(process)

    def on_cut(self, topic: str, partition: int, gone: list[int]) -> None:
        """These are gone from the end of a log: no truth any more, but for what was told of them by then."""
        self.broker.cut.update((topic, partition, offset) for offset in gone)
        self._outputs.read()
        self.commits.on_loss()  # by what there was, for what was told of it
        for number, w in enumerate(self.scenario.records):
            if (w.topic, w.partition, w.offset) in self.broker.cut:
                self.scenario.records[number] = w._replace(value=None, event=None, sessions=())
        self._inside.on_cut()
        self.commits.on_cut(topic, partition)

    def _draw_crash_point(self) -> tuple[str, int] | None:
        luck = self.random.random()
        if luck < 0.06:
            # The outcomes are acknowledged, what relies on them is not committed yet.
            return "commit, before", self.random.randint(2, 12)
        if luck < 0.5:
            return "", int(self.random.expovariate(1 / self.random.choice((20, 300, 2_000)))) + 1
        return None

    def _begin(self, partition: int) -> None:
        self.calls.on_begin(partition)
        # Each assignment finds out anew how much metadata the broker takes.
        self._too_large = Counter({place: n for place, n in self._too_large.items() if place[1] != partition})

    def _count_refusal(self, name: str, why: str, partition: int) -> None:
        if why == "OFFSET_METADATA_TOO_LARGE":
            self.faults["metadata too large"] += 1
            self._too_large[name, partition] += 1
            if self._too_large[name, partition] > SHORTER:
                raise Violation(f"{name} commits metadata of {partition} that is too large, again and again")
        owner = self.broker.group.owner(partition)
        if owner is not None and owner != name:
            self.faults["two own a task: the commit of the former is refused"] += 1

    def _bury(self, process: SimulatedProcess) -> None:
        self.processes.remove(process)
        if process.died_at is not None:
            self.crashes += 1
            between = " (between the outcomes' flush and the commit)" if process.died_at == "commit, before" else ""
            self.faults[f"crash: {process.died_at}{between}"] += 1
        elif process.error is not None:
            self._check_stop(process, process.error)
            if self.supervisor.is_told(process.error):
                return
        self.start_at(self.clock.now + self.random.choice((0.0, 1.0, 10.0)))

    def _check_stop(self, process: SimulatedProcess, error: OptOutError) -> None:
        """A process ends by itself only where it cannot go on: that a leader moves is no reason."""
        self.faults[f"stopped: {type(error).__name__}"] += 1
        if isinstance(error, TooManyDeadLettersError):
            self._rows.on_stop(process, error)
            return
        if isinstance(error, TopicMadeAnewError | PositionsError) and self.broker.lost_at >= process.began:
            self._refused = self._refused or (self.in_doubt and isinstance(error, PositionsError))
            return
        if isinstance(error, StartError) and self.in_doubt:
            self._refused = self._refused or isinstance(error, PositionsError)
            return
        if isinstance(error, ClockError) and process.skew < 0:
            return  # what others have decided is in its future
        if isinstance(error, OffsetGoneError) and process.name not in self.broker.group.members:
            return  # held up for long, it reads what others have settled since, and retention has deleted
        known = {StartError: self.broker.last_down, DeadLetterError: self.broker.last_refused}
        if known.get(type(error), -1.0) < process.began:
            raise Violation(f"{process.name} has no reason to stop: {error}")

    def _in_some_order(self) -> list[SimulatedProcess]:
        processes = list(self.processes)
        self.random.shuffle(processes)
        return processes

    # --- the end

    def _is_over(self) -> bool:
        over = not self._records and not self.plan
        if over and not self._calm:
            self._calm = True
            self.tell("from now on nothing fails")
            self.release_file.mend()
            if self.scenario.rejected == "hold":
                # What will be refused for ever takes a person.
                for partner, offer in sorted(self.scenario.refused):
                    self.release_file.release(partner, offer)
            if Kind.WRONG_ROUTE in self.kinds:
                # So does a run of offers that the insurer does not know, with no other to disprove it.
                unknown = {(o.partner_code, o.offer_id) for o in self.scenario.offers()}
                for partner, offer in sorted(o for o in unknown if o[1] in self.scenario.unknown):
                    self.release_file.release(partner, offer)
            for process in self.processes:
                process.end_faults()
        return over

    def _give_up_masses(self) -> None:
        for process in self.processes:
            if any(runner.late_run.suspended for runner in process.service.tasks.runners.values()):
                self.faults["a mass of late offers is given up"] += 1
                self._gives_up_masses = True
                process.service.stop()

    def _settings_of(self, rules: DecisionRules) -> Settings:
        settings = settings_of(self.scenario, rules, self.kinds)
        changed = {"late_run": 0} if self._gives_up_masses else {}
        dead = settings.dead_letter.model_copy(update=changed | self.supervisor.limits())
        return settings.model_copy(update={"dead_letter": dead})

    def _settled(self) -> bool:
        committed = self.broker.group.committed
        return all(
            committed.get((OFFERS, p), (0, ""))[0] >= self.broker.logs[OFFERS, p].end and committed[OFFERS, p][1]
            for p in range(self.scenario.partitions)
        )

    def _why_stuck(self) -> str:
        committed = {p: o for p, (o, _) in sorted(self.broker.group.committed.items())}
        ends = {place: log.end for place, log in self.broker.logs.items() if place[0] in self.broker.topics}
        return f"committed {committed} of {ends}; {[p.describe() for p in self.processes]}"
