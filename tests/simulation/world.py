"""Runs one seed: the scenario's records are written as time passes, processes live and die, faults come and go."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from datetime import timedelta
from random import Random

from broker import Broker, CommitFault
from drawing import draw
from insurer import MODES, Call, Insurer, Partner
from judge import Judge
from process import SimulatedProcess
from scenario import CHECKOUTS, OFFERS, START, Scenario
from timeline import Clock
from truth import Violation

from consumer.core.rules import Rules
from consumer.settings import ApiSettings, DeliverySettings, JoinSettings, KafkaSettings, Settings

CONCURRENCY = 4
OUTCOMES, DEAD = "outcomes", "dead"
PATIENCE = 3_600.0
"""Virtual seconds after the last fault in which everything must be settled: refused calls wait for five minutes."""


class World:
    """The world of one seed. `run` raises `Violation` if an invariant breaks."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed * 7_919 + 1)
        self.scenario: Scenario = draw(seed)
        self.clock = Clock(float(START))
        scenario = self.scenario
        self.trace: deque[str] = deque(maxlen=400)
        self.faults: Counter[str] = Counter(scenario.kinds)
        self._digest = hashlib.sha256()
        self.broker = Broker(self.clock, self.random, (OFFERS, CHECKOUTS), (OUTCOMES, DEAD), scenario.partitions)
        self.insurer = Insurer(self.clock, self.random, scenario.unknown)
        self.judge = Judge(scenario, self.broker, self.insurer, frozenset(), CONCURRENCY)
        self.insurer.on_call = self._judge_call
        self._broken: Violation | None = None
        self.processes: list[SimulatedProcess] = []
        self.started = 0
        self.crashes = 0
        self.turns = 0
        self._records = deque(scenario.records)
        self._plan = deque(sorted(self._draw_faults(), key=lambda f: f[0]))
        self._faults_until = max([at for at, _ in self._plan], default=0.0)
        self._due_starts: list[float] = [0.0] * scenario.instances
        self._calm = False

    @property
    def digest(self) -> str:
        """Of everything that was told: two runs of a seed must agree."""
        return self._digest.hexdigest()[:16]

    def tell(self, what: str) -> None:
        """A line of the trace."""
        line = f"{self.clock.now - START:9.3f}  {what}"
        self._digest.update(line.encode())
        self.trace.append(line)

    def run(self) -> None:
        """Run to the end, judging all the way."""
        try:
            self._run()
            self.judge.check_end()
        finally:
            for process in self.processes:
                process.kill()

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
                    self._check_bounds(process)
            if self._is_over():
                if self._settled():
                    break
                if end is None:
                    end = self.clock.now + PATIENCE
                elif self.clock.now > end:
                    raise Violation(f"stuck: {self._why_stuck()}")
            self._pass_time(self._next_step())

    def _judge_call(self, call: Call) -> None:
        try:
            self.judge.on_call(call)
        except Violation as violation:
            # The delivery would take it for a fault of the network.
            self._broken = self._broken or violation

    # --- time

    def _pass_time(self, seconds: float) -> None:
        """Let time pass: records are written, faults begin and end, the group hears who lives."""
        self.clock.now += seconds
        while self._records and self._records[0].at <= self.clock.ms:
            written = self._records.popleft()
            self.judge.on_written(written)
            log = self.broker.logs[written.topic, written.partition]
            log.append(written.timestamp, written.key, written.value, gap=written.offset - log.end)
        while self._plan and self._plan[0][0] <= self.clock.now - START:
            _, happen = self._plan.popleft()
            happen()
        for process in self.processes:
            if process.frozen_until <= self.clock.now:
                self.broker.heartbeat(process.name)
        self.broker.tick()

    def _next_step(self) -> float:
        """Seconds until something happens, or a little while."""
        cap = self.random.choice((0.01, 0.1, 0.5, 1.0) if not self._calm else (0.5, 2.0, 5.0))
        now = self.clock.now
        due = [self._records[0].at / 1000 - now + 0.001] if self._records else []
        due += [START + self._plan[0][0] - now] if self._plan else []
        due += [p.loop.next_timer() - p.loop.time() for p in self.processes if not p.dead]
        return max(0.001, min([cap, *due]))

    # --- processes

    def _start_what_is_due(self) -> None:
        for at in [at for at in self._due_starts if at <= self.clock.now - START]:
            self._due_starts.remove(at)
            self._start()

    def _start(self) -> None:
        scenario = self.scenario
        rules = scenario.settings[min(self.started, len(scenario.settings) - 1)]
        fuse = None
        if not self._calm and self.random.random() < 0.5:
            fuse = int(self.random.expovariate(1 / self.random.choice((20, 300, 2_000)))) + 1
        self.started += 1
        name = f"p{self.started}"
        self.tell(f"{name} starts" + (f" with {rules}" if len(scenario.settings) > 1 else ""))
        process = SimulatedProcess(
            name,
            settings_of(scenario, rules),
            self.broker,
            self.insurer,
            clock=self.clock,
            random=self.random,
            fuse=fuse,
            pass_time=self._pass_time,
            tell=self.tell,
            on_begin=self.judge.on_begin,
        )
        self.processes.append(process)

    def _bury(self, process: SimulatedProcess) -> None:
        self.processes.remove(process)
        if process.died_at is not None:
            self.crashes += 1
            self.faults[f"crash: {process.died_at}"] += 1
        elif process.error is not None:
            self.faults[f"stopped: {type(process.error).__name__}"] += 1
        self._due_starts.append(self.clock.now - START + self.random.choice((0.0, 1.0, 10.0)))

    def _in_some_order(self) -> list[SimulatedProcess]:
        processes = list(self.processes)
        self.random.shuffle(processes)
        return processes

    # --- the end

    def _is_over(self) -> bool:
        over = not self._records and not self._plan
        if over and not self._calm:
            self._calm = True
            self.tell("from now on nothing fails")
            for process in self.processes:
                process.defuse()
        return over

    def _settled(self) -> bool:
        committed = self.broker.group.committed
        return all(
            committed.get((OFFERS, p), (0, ""))[0] >= self.broker.logs[OFFERS, p].end
            for p in range(self.scenario.partitions)
        )

    def _why_stuck(self) -> str:
        committed = {p: o for p, (o, _) in sorted(self.broker.group.committed.items())}
        ends = {place: log.end for place, log in self.broker.logs.items() if place[0] in self.broker.topics}
        return f"committed {committed} of {ends}; {[p.describe() for p in self.processes]}"

    def _check_bounds(self, process: SimulatedProcess) -> None:
        if process.dead:
            return
        most = self.scenario.max_unsettled
        unsettled = sum(r.task.unsettled for r in process.service._runners.values())
        read = sum(r.task.undecided for r in process.service._runners.values())
        total = sum(len(self.broker.logs[OFFERS, p].records) for p in range(self.scenario.partitions))
        if unsettled > most + total or read > total:
            raise Violation(f"{process.name} holds {unsettled} unsettled and {read} undecided, of {total} presented")

    # --- faults

    def _draw_faults(self) -> list[tuple[float, Callable[[], None]]]:
        random, span = self.random, self.scenario.span / 1000 + 20
        plan: list[tuple[float, Callable[[], None]]] = []

        def during(name: str, seconds: float, begin: Callable[[], None], end: Callable[[], None]) -> None:
            at = random.uniform(0, span)
            plan.append((at, self._told(name, begin)))
            plan.append((at + seconds, self._told(f"no longer {name}", end)))

        for _ in range(random.choice((0, 2, 5, 10))):
            match random.randrange(11):
                case 0:
                    plan.append((random.uniform(0, span), self._kill))
                case 1:
                    plan.append((random.uniform(0, span), self._stop))
                case 2:
                    plan.append((random.uniform(0, span), self._freeze))
                case 3:
                    during("broker down", random.uniform(0.5, 8), self._down, self._up)
                case 4:
                    fault = random.choice(list(CommitFault)[1:])
                    during(
                        f"a commit {fault.value}",
                        random.uniform(0.5, 10),
                        lambda fault=fault: setattr(self.broker, "commit_fault", fault),
                        lambda: setattr(self.broker, "commit_fault", CommitFault.NONE),
                    )
                case 5:
                    during(
                        "outputs refused",
                        random.uniform(0.5, 5),
                        lambda: setattr(self.broker, "refuses_writes", True),
                        lambda: setattr(self.broker, "refuses_writes", False),
                    )
                case 6:
                    plan.append((random.uniform(0, span), self._jump))
                case 7:
                    plan.append((random.uniform(0, span), self._delete))
                case 8:
                    plan.append((random.uniform(0, span), self._scale))
                case _:
                    self._draw_partner_fault(during)
        return plan

    def _draw_partner_fault(self, during: Callable[..., None]) -> None:
        mode, code = self.random.choice(MODES), self.random.choice(("ada", "bob", "eve"))
        partner = self.insurer.partners.setdefault(code, Partner())
        during(
            f"{code} answers {mode}",
            self.random.choice((1, 10, 60)),
            lambda: setattr(partner, "mode", mode),
            lambda: setattr(partner, "mode", "ok"),
        )

    def _told(self, name: str, happen: Callable[[], None]) -> Callable[[], None]:
        def told() -> None:
            self.tell(name)
            if not name.startswith("no longer"):
                self.faults[name] += 1
            happen()

        return told

    def _some(self) -> SimulatedProcess | None:
        return self.random.choice(self.processes) if self.processes else None

    def _kill(self) -> None:
        if (process := self._some()) is not None:
            self.tell(f"kill -9 of {process.name}")
            process.kill()

    def _stop(self) -> None:
        if (process := self._some()) is not None:
            self.tell(f"SIGTERM to {process.name}")
            self.faults["SIGTERM"] += 1
            process.service.stop()

    def _freeze(self) -> None:
        if (process := self._some()) is not None:
            seconds = self.random.choice((0.5, 3.0, 12.0))
            self.tell(f"{process.name} is frozen for {seconds} s")
            self.faults["frozen"] += 1
            process.frozen_until = self.clock.now + seconds

    def _jump(self) -> None:
        if (process := self._some()) is not None:
            lateness = self.scenario.rules.lateness / 1000
            process.skew = self.random.choice((-1.4, 1.5, 30.0, 86_400.0))
            self.tell(f"the clock of {process.name} jumps by {process.skew} s")
            self.faults["clock jumps"] += 1
            back = self.clock.now - START + self.random.uniform(0, 0.9 * lateness)
            self._plan.append((back, lambda: self._set_right(process)))
            self._plan = deque(sorted(self._plan, key=lambda f: f[0]))

    def _set_right(self, process: SimulatedProcess) -> None:
        self.tell(f"the clock of {process.name} is right again")
        process.skew = 0.0

    def _delete(self) -> None:
        """Retention, as far as it may go: what is committed is not needed any more."""
        self.faults["retention"] += 1
        for place, (offset, _) in self.broker.group.committed.items():
            self.broker.logs[place].delete_below(offset)

    def _scale(self) -> None:
        self.faults["one more instance"] += 1
        self._due_starts.append(self.clock.now - START)

    def _down(self) -> None:
        self.broker.down = True

    def _up(self) -> None:
        self.broker.down = False
        for log in self.broker.logs.values():
            log.epoch += 1


def settings_of(scenario: Scenario, rules: Rules) -> Settings:
    """The settings of a process, by rules in ms."""

    def ms(number: int) -> timedelta:
        return timedelta(milliseconds=number)

    return Settings(
        kafka=KafkaSettings(
            bootstrap_servers="simulated",
            offer_topic=OFFERS,
            checkout_topic=CHECKOUTS,
            outcome_topic=OUTCOMES,
            dead_letter_topic=DEAD,
            commit_interval=timedelta(seconds=scenario.commit_interval),
            revoke_timeout=timedelta(seconds=2),
        ),
        join=JoinSettings(
            window=ms(rules.window),
            checkout_grace=ms(rules.checkout_grace),
            lookback=ms(rules.lookback),
            lateness=ms(rules.lateness),
            max_skew=ms(rules.max_skew),
            abandoned="opt-out" if rules.call_abandoned else "ignore",
            checkout_silence=ms(scenario.checkout_silence),
            unmatched_limit=scenario.unmatched_limit,
            idle_after=ms(500),
        ),
        api=ApiSettings(base_url="http://simulated", auth="none"),
        delivery=DeliverySettings(
            concurrency=CONCURRENCY,
            rate_limit=0,
            max_unsettled=scenario.max_unsettled,
            shutdown_timeout=timedelta(seconds=5),
        ),
    )
