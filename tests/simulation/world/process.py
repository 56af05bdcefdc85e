"""One simulated process: the real service, on simulated edges, that may die at any call it makes."""

from __future__ import annotations

import inspect
import queue
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from simulation.world.broker import Broker
from simulation.world.clients import Admin, Producer
from simulation.world.consumer import SimulatedConsumer
from simulation.world.insurer import Insurer
from simulation.world.journal import Journal
from simulation.world.record_reader import InlineRecordReader
from simulation.world.release_file import ReleaseFile
from simulation.world.shared_topics import codec_of
from simulation.world.timeline import Clock, Loop, Waiter

from consumer.calls import CallOwner, CallResult, OptOutCall
from consumer.codecs.plain import PlainCodec
from consumer.delivery.doing import DeliverySnapshot
from consumer.delivery.queue import Delivery
from consumer.errors import OptOutError
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.history import GroupHistory
from consumer.kafka.leader_epochs import CutLogs
from consumer.kafka.producer import OutputProducer
from consumer.kafka.topic_watch import TopicWatch
from consumer.kafka.writes import Writes
from consumer.runtime import loop as runtime
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.conditions import attended, recorded, same_topics
from consumer.runtime.edges import Clock as Clocks
from consumer.runtime.edges import Edges
from consumer.runtime.releases import Releases
from consumer.server.health import Health, bound_of
from consumer.settings import Settings
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials

CODEC = PlainCodec()


class Crash(BaseException):
    """The process dies at this very point; nothing of it is left but what it has sent."""


class Results:
    """The queue of results, as the poll thread sees it. To wait is to let time pass."""

    def __init__(self, process: SimulatedProcess) -> None:
        self._process = process
        self._results: list[CallResult] = []

    def put(self, result: CallResult) -> None:
        self._results.append(result)

    def get_nowait(self) -> CallResult:
        if not self._results:
            raise queue.Empty
        return self._results.pop(0)

    def get(self, timeout: float) -> CallResult:
        self._process.wait(lambda: bool(self._results), timeout)
        return self.get_nowait()


class InlineDelivery:
    """The real delivery and API client on the process's own loop, without the thread between."""

    def __init__(self, settings: Settings, insurer: Insurer, process: SimulatedProcess, writes: Writes) -> None:
        self.results = Results(process)
        self._process = process
        loop = process.loop
        wall = process.wall

        async def make() -> Delivery:
            credentials = Credentials(settings.api, wall)
            clock_check = process.clock_check
            caller = OptOutApi(settings.api, credentials, insurer.transport(process), wall, clock_check.api_told)
            return Delivery(
                caller,
                settings.delivery,
                self.results.put,
                credential_of=credentials.credential_of,
                random=Random(process.random.random()),
                conditions=[
                    recorded(writes),
                    clock_check.gate,
                    attended(process.health),
                    same_topics(process.topic_watch),
                ],
            )

        self.delivery = loop.run_until_complete(make())

    def start(self) -> None: ...

    def stop(self, timeout: float) -> None:
        """What is in flight dies with the process, or ends by itself before."""

    def check(self) -> None:
        self._process.check_loop()

    def snapshot(self) -> DeliverySnapshot:
        return self.delivery.snapshot()

    def submit(self, calls: Iterable[OptOutCall]) -> None:
        self._process.later(self.delivery.submit, list(calls))

    def cancel(self, owners: Collection[CallOwner]) -> None:
        self._process.later(self.delivery.cancel, list(owners))

    def withdraw(self, owner: CallOwner, chain_starts: Collection[int]) -> None:
        self._process.later(self.delivery.withdraw, owner, list(chain_starts))

    def retry_refused(self, call: OptOutCall) -> None:
        self._process.later(lambda: self.delivery.submit([call], retry_refused=True))

    def release(self, offers: Mapping[tuple[str, str], str]) -> None:
        self._process.later(self.delivery.release, offers)

    def set_share(self, fraction: float) -> None:
        self._process.later(self.delivery.set_share, fraction)


class SimulatedProcess:
    """A process of the deployment.

    Args:
        crash_point: a call's name and a number: the process dies at its call of that number to the outside whose name
            begins so, "" being any; None: it does not.
        pass_time: lets so many seconds pass in the world.
        portion: see `consumer.runtime.loop.PORTION`.

    Attributes:
        frozen_until: all of it stands still.
        begun: by partition, how often it was given the task.
        limits: how many records in a row, and of 1,000, it may find unusable.
        has_copies: to it a record holds its offer several times.
        is_refused, has_recorded: it heard that a write was refused, that an outcome was taken.
        stuck_until: its poll thread does, and is not heard of by the group; calls go on.

    Raises:
        SettingsError: the release file is wrong.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        broker: Broker,
        insurer: Insurer,
        *,
        clock: Clock,
        random: Random,
        crash_point: tuple[str, int] | None,
        waiter: Waiter,
        release_file: ReleaseFile,
        journal: Journal,
        pass_time: Callable[[float], None],
        tell: Callable[[str], None],
        on_begin: Callable[[int], None],
        on_refusal: Callable[[str, str, int], None],
        portion: int,
    ) -> None:
        journal.speaker = name
        releases = Releases(release_file)  # type: ignore[arg-type]  # it is read as a path is
        self.name = name
        self.random = random
        self.loop = Loop(clock)
        self.skew = 0.0
        self.dead = self.is_refused = self.has_recorded = False
        self.died_at: str | None = None
        self.error: OptOutError | None = None
        self.began = clock.now
        self.codec = codec_of(settings.input)
        self.begun: Counter[int] = Counter()
        self.limits = settings.dead_letter
        self.has_copies = settings.input.offers.each is not None
        self.frozen_until = 0.0
        self.stuck_until = 0.0
        self._broker, self._clock = broker, clock
        self._crash_point = crash_point
        self._pass_time = pass_time
        self._tell = tell
        self._on_begin, self._on_refusal = on_begin, on_refusal
        self._waiter, self._journal = waiter, journal
        self._consumers: list[SimulatedConsumer] = []
        self._producer = Producer(broker, self)
        admin = Admin(broker, self)
        writes = Writes(broker.outcome_topic, settings.kafka.commit_interval.total_seconds(), self.loop.time)
        self.clock_check = ClockCheck(
            self.wall,
            self.loop.time,
            max_skew=settings.join.max_skew.total_seconds(),
            ask=lambda: insurer.ask_time(self.loop, self.clock_check.api_told),
        )
        self.topic_watch = TopicWatch(admin, broker.topic_ids, self.loop.time)  # type: ignore[arg-type]
        self.health = Health(bound_of(settings), self.loop.time)
        self.delivery = InlineDelivery(settings, insurer, self, writes)
        edges = self._arranged(
            Edges(
                consumer=self._read,  # type: ignore[arg-type]
                ends=lambda on_trouble: EndOffsets(admin, self.wall, on_trouble),  # type: ignore[arg-type]
                outputs=OutputProducer(self._producer, broker.outcome_topic, broker.dead_letter_topic, CODEC, writes),  # type: ignore[arg-type]
                writes=writes,
                delivery=self.delivery,  # type: ignore[arg-type]
                codec=self.codec,
                clock=Clocks(wall=self.wall, monotonic=self.loop.time),
                clock_check=self.clock_check,
                releases=releases,
                record_reader=InlineRecordReader(broker, self),  # type: ignore[arg-type]
                topic_watch=self.topic_watch,
                provenance=broker.provenance,
                cut_logs=CutLogs(self._epoch_reader, monotonic=self.loop.time),  # type: ignore[arg-type]
                history=GroupHistory(admin, lambda: self._read(None), settings.kafka, CODEC.decode_outcome),  # type: ignore[arg-type,return-value]
            )
        )
        self.service = runtime.Loop(settings, edges, partitions=broker.count, health=self.health, portion=portion)
        self._steps = self._drive()

    def _arranged(self, edges: Edges) -> Edges:
        """What the service is given of its edges."""
        return edges

    def _drive(self) -> Generator[None]:
        """The service, one turn at a time."""
        yield from self.service.steps()

    @property
    def consumer(self) -> SimulatedConsumer:
        """Its member of the group."""
        return self._consumers[0]

    @property
    def is_asked_to_end(self) -> bool:
        """Somebody has asked it to end, and it goes in good order."""
        return self.service._stopping and any(runner.draining for runner in self.service.tasks.runners.values())

    def is_full(self, partition: int) -> bool:
        """Whether the task reads no checkouts until something is called, or until an operator acts."""
        runner = self.service.tasks.runners.get(partition)
        return self.service._back_pressure.full or (runner is not None and runner.late_run.suspended)

    @property
    def beats(self) -> bool:
        """Whether the group hears of it."""
        return max(self.frozen_until, self.stuck_until) <= self._clock.now

    def wall(self) -> float:
        """This machine's clock, which may be wrong."""
        return self._clock.now + self.skew

    # --- what the world does with it

    def step(self) -> bool:
        """One turn. False: it has ended, in whatever way."""
        if self.dead:
            return False
        self._waiter.sleeps = lambda seconds: self.wait(lambda: False, seconds)
        self._journal.speaker = self.name
        try:
            self.loop.advance()
            self.check_loop()
            if self.stuck_until <= self._clock.now:
                next(self._steps)
        except StopIteration:
            self._end()
        except OptOutError as error:
            self.error = error
            self.tell(f"stops: {error}")
            self._journal.note(self.name, str(error), kind=type(error).__name__)
            self._end()
        except Crash:
            self._end()
        return not self.dead

    def end_faults(self) -> None:
        """From now on it lives, and its clock is right."""
        self._crash_point = None
        self.skew = 0.0
        self.frozen_until = self.stuck_until = 0.0

    def hold_up(self, seconds: float, *, calls_too: bool) -> None:
        """Its poll thread stands still, or all of it does; it hears what the group made of that a little later."""
        until = self._clock.now + seconds
        if calls_too:
            self.frozen_until = until
        else:
            self.stuck_until = until
        self.consumer.unaware_until = until + self.random.choice((0.0, 0.5, 3.0))

    def describe(self) -> str:
        """How far it has come, for a failure."""
        tasks = {
            runner.partition: (runner.task.watermark, runner.task.unsettled, runner.task.undecided, runner.outstanding)
            for runner in self.service.tasks.runners.values()
        }
        return f"{self.name}: {self.service.suspension.by}, {tasks}, {self.delivery.delivery.snapshot()}"

    def kill(self) -> None:
        """kill -9."""
        self.died_at = self.died_at or "kill -9"
        self.dead = True
        if inspect.getgeneratorstate(self._steps) != inspect.GEN_RUNNING:  # else its next call of a client ends it
            self._end()

    def _end(self) -> None:
        self.dead = True
        self._producer.abandon()
        with suppress(Crash):
            self._steps.close()
        self.loop.abandon()

    # --- what its clients ask

    def touch(self, what: str) -> None:
        if self.dead:
            raise Crash
        if self._crash_point is not None and what.startswith(self._crash_point[0]):
            name, left = self._crash_point
            self._crash_point = name, left - 1
            if left <= 1:
                self.died_at = what
                self.tell(f"crashes at: {what}")
                self.dead = True
                raise Crash

    def wait(self, until: Callable[[], bool], timeout: float) -> bool:
        deadline = self._clock.now + timeout
        while not until():
            left = deadline - self._clock.now
            if left <= 0:
                return False
            self._pass_time(min(left, 0.05))
            self.loop.advance()
            self.check_loop()
        return True

    def later(self, function: Callable[..., None], *args: Any) -> None:
        """Hand something to the loop."""
        if self.dead:
            raise Crash
        self.loop.call_soon(function, *args)

    def begins(self, partition: int) -> None:
        """It was given a task."""
        self.begun[partition] += 1
        self._on_begin(partition)

    def wrote(self, topic: str, *, taken: bool) -> None:
        """It heard what became of a record."""
        self.is_refused = self.is_refused or not taken
        self.has_recorded = self.has_recorded or (taken and topic == self._broker.outcome_topic)

    def refused(self, why: str, partitions: list[int]) -> None:
        """A commit of these tasks was."""
        for partition in partitions:
            self._on_refusal(self.name, why, partition)

    def _read(self, on_error: Any, **_: Any) -> SimulatedConsumer:
        self._consumers.append(SimulatedConsumer(self._broker, self, on_error))
        return self._consumers[-1]

    def _epoch_reader(self) -> SimulatedConsumer:
        reader = self._read(lambda _: None)
        reader.begins_anew = True
        return reader

    def tell(self, what: str) -> None:
        self._tell(f"{self.name} {what}")

    def check_loop(self) -> None:
        """A crash within a call shows here; any other error there is a fault of the service."""
        if self.dead:
            raise Crash
        if self.loop.errors:
            raise AssertionError(f"an error on the loop: {self.loop.errors}")
