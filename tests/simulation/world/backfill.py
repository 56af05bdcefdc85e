"""The processes of `opt-out backfill`, and of its dry run, on the simulated edges."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from simulation.workload.scenario import CODEC, OFFERS, TOPICS
from simulation.world.broker import Broker
from simulation.world.consumer import SimulatedConsumer
from simulation.world.process import SimulatedProcess
from simulation.world.shared_topics import codec_of

from consumer.backfill.end import End, Left
from consumer.backfill.mode import BackfillMode, RehearsalMode
from consumer.backfill.plan import Log, Missing
from consumer.backfill.rehearsal import NoGroup, NothingWritten, RehearsedCalls
from consumer.backfill.run import BackfillReport, check_gaps, is_new, settings_of, starting_at
from consumer.backfill.scope import BackfillScope, EventTimeRange, Offsets
from consumer.backfill.tally import FateTally
from consumer.backfill.told import Told, ToldReader
from consumer.events import OfferOutcome
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Edges
from consumer.runtime.tasks import rules_of
from consumer.settings import Settings

Bounds = tuple[int | Offsets, int | Offsets]
"""Two times (ms), or two offsets for each partition."""


@dataclass(frozen=True)
class BackfillPlan:
    """What a process of a backfill has found before it joins its group.

    Attributes:
        began: when it was found (ms).
        starts: by partition, the first offer that a new group reads.
        has_gaps: retention has deleted some of what the range needs.
    """

    settings: Settings
    scope: BackfillScope
    told: Told
    began: int
    starts: dict[int, int]
    has_gaps: bool


class Terminal:
    """Who gives the command: the `Process` of the clients that look at the logs before. It never dies."""

    name = "terminal"

    def __init__(self, broker: Broker, pass_time: Callable[[float], None]) -> None:
        self._broker, self._pass_time = broker, pass_time

    def plan(
        self, settings: Settings, name: str, rate: float, bounds: Bounds, *, force: bool, allow_gaps: bool
    ) -> BackfillPlan:
        """What `run.run` finds before it makes its loop.

        Raises:
            KafkaException, StartError: the broker does not answer.
            RangeError, GapError: it refuses the range.
        """
        broker, settings = self._broker, settings_of(settings, name, rate)
        rules, began = rules_of(settings.join), broker.clock.ms
        consumer: Any = SimulatedConsumer(broker, self, lambda _: None)
        there = Log(consumer, TOPICS, broker.count, rules, codec_of(settings.input))
        begin, end = bounds
        if isinstance(begin, int) and isinstance(end, int):
            scope = BackfillScope(EventTimeRange(begin, end), rules, force)
        else:
            assert not isinstance(begin, int)
            assert not isinstance(end, int)
            scope = BackfillScope(there.offset_range(begin, end), rules, force)
        missing: list[Missing] = []
        clients: Any = SimpleNamespace(member=lambda on_error: consumer)
        if is_new(clients, settings, broker.count, replace(broker.provenance, scope=scope.text())):
            missing = there.missing(scope)
        told = ToldReader(consumer, CODEC.decode_outcome).read(settings.kafka, scope.range, rules.lookback)
        check_gaps(missing, [] if force else told.unknown, allowed=allow_gaps)
        there.ends_for(scope)
        since, starts = there.reads_from(scope), dict[int, int]()
        for partition in range(broker.count):
            log = broker.logs[OFFERS, partition]
            starts[partition] = next((r.offset for r in log.read(log.start, 10**6) if r.timestamp >= since), log.end)
        return BackfillPlan(starting_at(settings, since), scope, told, began, starts, bool(missing))

    def touch(self, what: str) -> None: ...

    def wall(self) -> float:
        return self._broker.clock.now

    def wait(self, until: Callable[[], bool], timeout: float) -> bool:
        self._pass_time(timeout)
        return until()

    def begins(self, partition: int) -> None: ...

    def tell(self, what: str) -> None: ...

    def refused(self, why: str, partitions: list[int]) -> None: ...

    def wrote(self, topic: str, *, taken: bool) -> None: ...


class BackfillProcess(SimulatedProcess):
    """A process of `opt-out backfill`.

    Attributes:
        left: what was left when its end was reached; None: it was not.
    """

    def __init__(self, planned: BackfillPlan, broker: Broker, **more: Any) -> None:
        self.planned = planned
        self.left: Left | None = None
        self._held = False
        self._count = broker.count
        super().__init__(settings=planned.settings, broker=broker, **more)

    @property
    def is_finished(self) -> bool:
        """It has ended by itself, and would tell its report."""
        return self.dead and self.left is not None and self.died_at is None and self.error is None

    @property
    def is_held(self) -> bool:
        """A mass of late offers was kept back when it ended, until a person acts."""
        return self._held

    @property
    def report(self) -> BackfillReport:
        """What it tells at its end."""
        assert self.left is not None
        told = self.planned.told
        return BackfillReport(self.tally, self.mode.skipped, len(told.cut_off), self.left, False)

    def _arranged(self, edges: Edges) -> Edges:
        scope = self.planned.scope
        self.mode = BackfillMode(TOPICS, scope, self.planned.told)
        self.tally = FateTally(edges.outputs)
        whose = replace(edges.provenance, scope=scope.text())
        return replace(edges, outputs=self.tally, mode=self.mode, provenance=whose, history=None)

    def _drive(self) -> Generator[None]:
        planned = self.planned
        end = End(
            self.service.tasks,
            self.mode,
            partitions=self._count,
            began=planned.began,
            lateness=planned.scope.rules.lateness,
            flush=self.tally.flush,
            monotonic=self.loop.time,
            random=self.random.random,
        )
        with closing(self.service.steps()) as steps:  # type: ignore[type-var]  # it is a generator
            for _ in steps:
                if end.is_reached():
                    self.left = end.left()
                    self._held = any(runner.late_run.suspended for runner in self.service.tasks.runners.values())
                    self.service.stop()
                yield


class RehearsalProcess(BackfillProcess):
    """A process of `opt-out backfill --dry-run`. `outcomes`: what would be written."""

    def _arranged(self, edges: Edges) -> Edges:
        self.outcomes: list[OfferOutcome] = []
        self.mode = RehearsalMode(TOPICS, self.planned.scope, None)
        self.tally = FateTally(NothingWritten(), self.outcomes.append)
        clock = edges.clock
        return Edges(
            consumer=NoGroup(edges.consumer, self._count).member,
            ends=edges.ends,
            outputs=self.tally,
            delivery=RehearsedCalls(),
            codec=edges.codec,
            record_reader=edges.record_reader,
            clock=clock,
            clock_check=ClockCheck(clock.wall, clock.monotonic, max_skew=0.0),
            mode=self.mode,
        )
