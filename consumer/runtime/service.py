"""The deployment: one loop that reads, decides, settles and commits; the calls are made by another thread.

The order within a turn is what the promises rest on:

1. read a batch and hand each record to its task,
2. settle what came back from the API, writing its outcome,
3. decide what the watermark now allows,
4. at an interval: flush the outcomes, then commit what is settled.
"""

from __future__ import annotations

import gc
import queue
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

import structlog
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from ..core.rules import MIN_TIME, Rules
from ..core.task import Input, PartitionsMoved, Plan, Task
from ..errors import StartError
from ..kafka.codec import Codec, PlainCodec
from ..kafka.ends import EndOffsets
from ..kafka.sampling import KeyCheck
from ..kafka.sink import Sink, producer_config
from ..kafka.source import Source, consumer_config
from ..kafka.starts import Start, Starts
from ..kafka.topics import check_topics
from ..settings import JoinSettings, Settings
from ..xcover.thread import DeliveryThread
from .idleness import Idleness
from .intake import Intake
from .runner import TaskRunner

log = structlog.get_logger(__name__)

BATCH = 5_000
"""Records a turn at the most: at 100,000 a second the loop still comes round twenty times a second."""

TURN = 0.02
"""Seconds that a turn waits for records: bounds how late a decision, a settled call or a signal is noticed."""

FLUSH = 2.0
"""Seconds that a commit waits for outcomes to be acknowledged before it is put off."""

PROGRESS = 60.0
"""Seconds between two reports of progress in the log."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The two clocks, in seconds; replaced in tests."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


def rules_of(join: JoinSettings) -> Rules:
    """The numbers of the decision, in milliseconds."""

    def ms(seconds: float) -> int:
        return round(seconds * 1000)

    return Rules(
        window=ms(join.window.total_seconds()),
        checkout_grace=ms(join.checkout_grace.total_seconds()),
        lookback=ms(join.lookback.total_seconds()),
        lateness=ms(join.lateness.total_seconds()),
        max_skew=ms(join.max_skew.total_seconds()),
        call_abandoned=join.abandoned == "opt-out",
    )


class Service:
    """Ties tasks, source, sink and delivery together. All of it runs on the thread that calls `run`.

    Args:
        settings: validated.
        partitions: how many partitions each of the two input topics has.
        consumer: makes a Kafka consumer, given its error handler, and for a look at keys settings of its own.
        ends: makes the asker for end offsets, given what to tell of trouble.
        sink: where outcomes and dead letters go.
        delivery: makes the calls; started and stopped here.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        partitions: int,
        consumer: Callable[..., Consumer],
        ends: Callable[[Callable[[str], None]], EndOffsets],
        sink: Sink,
        delivery: DeliveryThread,
        codec: Codec,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._count = partitions
        self._rules = rules_of(settings.join)
        self._clock = clock or Clock()
        self._codec = codec
        self._sink = sink
        self._delivery = delivery
        self._runners: dict[int, TaskRunner] = {}
        self._routes: dict[tuple[str | None, int | None], tuple[TaskRunner, Input]] = {}
        self._stopping = False
        self._wound_up = False
        self._failed = False
        self._full = False
        self._next_commit = 0.0
        self._next_progress = 0.0
        self._committed: dict[int, Plan] = {}
        self._nothing_to_commit: set[int] = set()
        kafka = settings.kafka
        self._topics = kafka.offer_topic, kafka.checkout_topic
        self._keys = KeyCheck(kafka, partitions, self._clock.monotonic)
        self._new_consumer = consumer
        dead = settings.dead_letter
        self._intakes = (
            Intake(kafka.offer_topic, dead.max_run, dead.max_ratio),
            Intake(kafka.checkout_topic, dead.max_run, dead.max_ratio),
        )
        self._idleness = Idleness(
            ends,
            idle_after=settings.join.idle_after.total_seconds(),
            lateness=settings.join.lateness.total_seconds(),
            wall=self._clock.wall,
            monotonic=self._clock.monotonic,
        )
        self._source = Source(consumer, kafka, Starts(kafka, self._rules, partitions), self, self._idleness.trouble)

    @property
    def sessions(self) -> int:
        """How many sessions are in memory, over all tasks."""
        return sum(runner.task.sessions for runner in self._runners.values())

    def stop(self) -> None:
        """Stop after this turn: let calls in flight end, commit, leave the group. A signal handler may call it."""
        self._stopping = True

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            OptOutError: something must not be guessed or lost; nothing was committed because of it.
        """
        self._delivery.start()
        try:
            self._source.subscribe(self._now(), lambda: self._keys.at_start(self._new_consumer))
            while not self._stopping:
                self.turn()
            self._finish()
        except BaseException:
            self._failed = True
            raise
        finally:
            self._wound_up = True
            self._source.close()
            self._delivery.stop(timeout=0)
            self._sink.flush(FLUSH)

    def turn(self) -> None:
        """One turn of the loop."""
        messages = self._source.poll(BATCH, TURN)
        self._keys.look(messages)
        now = self._now()
        heard: set[tuple[TaskRunner, Input]] = set()
        for message in messages:
            route = self._routes.get((message.topic(), message.partition()))
            if route is not None:
                route[0].take(route[1], message, now)
                if message.error() is None:
                    heard.add(route)
        for runner, source in heard:
            self._idleness.heard(source, runner.partition)
        self._idleness.turn({runner.partition: runner.task for runner in self._runners.values()}, self._topics)
        self._settle_results()
        for runner in self._runners.values():
            runner.go_on(now)
            calls = runner.decide()
            if calls:
                self._delivery.submit(calls)
        self._pause()
        self._sink.poll()
        self._sink.check()
        self._delivery.check()
        moment = self._clock.monotonic()
        if moment >= self._next_commit:
            self._next_commit = moment + self._settings.kafka.commit_interval.total_seconds()
            self._commit(list(self._runners), FLUSH)
        if moment >= self._next_progress:
            self._next_progress = moment + PROGRESS
            self._report()

    # --- the tasks, told by the source

    def begin(self, partition: int, start: Start) -> None:
        """See `kafka.source.Tasks`."""
        try:
            task = Task(
                self._rules,
                partitions=self._count,
                offers=start.offers,
                checkouts=start.checkouts,
                horizon=start.horizon,
            )
        except PartitionsMoved as error:
            raise StartError(
                f"partition {partition}: {error}: keys have moved between partitions, so offers and checkouts that "
                "belong together may no longer meet. Drain the topics with the old count, or start a new group."
            ) from error
        runner = TaskRunner(
            partition,
            task,
            topics=self._topics,
            codec=self._codec,
            sink=self._sink,
            intakes=self._intakes,
            wall=self._clock.wall,
        )
        self._runners[partition] = runner
        for source in Input:
            self._routes[self._topics[source], partition] = runner, source
            self._idleness.heard(source, partition)
        self._delivery.set_share(len(self._runners) / self._count)
        log.info(
            "task begins",
            partition=partition,
            offers=start.offers.offset,
            checkouts=start.checkouts.offset,
            rebuild_to=[task.stop_offset(source) for source in Input],
        )

    def revoked(self, partitions: list[int]) -> None:
        """See `kafka.source.Tasks`: no new calls, wait for those in flight, flush, commit, drop, in one budget."""
        if self._failed:
            # Or a restart loop would put one more stretch of what it cannot read behind it each time.
            self.lost(partitions)
            return
        budget = 0.0 if self._wound_up else self._settings.kafka.revoke_timeout.total_seconds()
        self._wind_up(partitions, budget)
        self._drop(partitions)

    def lost(self, partitions: list[int]) -> None:
        """See `kafka.source.Tasks`: drop, commit nothing."""
        for partition in partitions:
            if partition in self._runners:
                self._delivery.cancel(self._runners[partition])
        self._drop(partitions)

    # --- inside

    def _now(self) -> int:
        return int(self._clock.wall() * 1000)

    def _settle_results(self, wait: float = 0.0) -> None:
        """Settle all that came back; wait up to `wait` seconds for the first."""
        try:
            result = self._delivery.results.get(timeout=wait) if wait > 0 else self._delivery.results.get_nowait()
            while True:
                owner = result.call.owner
                assert isinstance(owner, TaskRunner)  # noqa: S101 - put there by the runner
                owner.come_back(result)
                result = self._delivery.results.get_nowait()
        except queue.Empty:
            return

    def _pause(self) -> None:
        wanted: set[tuple[str, int]] = set()
        unsettled = sum(runner.task.unsettled for runner in self._runners.values())
        most = self._settings.delivery.max_unsettled
        # A tenth of slack: each pause throws away what the client had fetched.
        full = unsettled >= (0.9 * most if self._full else most)
        if full != self._full:
            self._full = full
            log.warning("reading is paused" if full else "reading goes on", unsettled=unsettled, max_unsettled=most)
        for runner in self._runners.values():
            sources = set(Input) if full and not runner.task.rebuilding else runner.pauses()
            wanted.update((self._topics[source], runner.partition) for source in sources)
        self._source.pause(wanted)

    def _commit(self, partitions: list[int], flush: float) -> None:
        if not self._sink.flush(flush):
            log.warning("commit put off: outcomes are not acknowledged yet", partitions=partitions)
            return
        self._sink.check()
        plans: dict[int, Plan] = {}
        for partition in partitions:
            plan = self._runners[partition].task.plan()
            if plan is None and not self._runners[partition].task.rebuilding:
                self._nothing_to_commit.add(partition)
            if plan is not None and plan != self._committed.get(partition):
                plans[partition] = plan
        for partition in self._source.commit(plans):
            self._runners[partition].task.committed(plans[partition])
            self._committed[partition] = plans[partition]

    def _wind_up(self, partitions: list[int], budget: float) -> None:
        """No new calls for these tasks, wait up to `budget` seconds for those in flight, then commit."""
        deadline = self._clock.monotonic() + budget
        partitions = [partition for partition in partitions if partition in self._runners]
        runners = [self._runners[partition] for partition in partitions]
        for runner in runners:
            self._delivery.cancel(runner)
        self._settle_results()
        while any(runner.outstanding for runner in runners) and (left := deadline - self._clock.monotonic()) > 0:
            self._settle_results(wait=min(left, 0.1))
            self._delivery.check()
        in_flight = sum(runner.outstanding for runner in runners)
        if in_flight:
            log.warning("calls still in flight: they are repeated by whoever reads on", calls=in_flight)
        self._commit(partitions, max(0.5, deadline - self._clock.monotonic()))

    def _drop(self, partitions: list[int]) -> None:
        for partition in partitions:
            runner = self._runners.pop(partition, None)
            if runner is None:
                continue  # it never began
            runner.fence()
            self._committed.pop(partition, None)
            for source in Input:
                self._routes.pop((self._topics[source], partition))
                self._idleness.drop(source, partition)
        self._delivery.set_share(len(self._runners) / self._count)

    def _finish(self) -> None:
        log.info("stopping", tasks=sorted(self._runners))
        self._wind_up(list(self._runners), self._settings.delivery.shutdown_timeout.total_seconds())
        self._wound_up = True

    def _report(self) -> None:
        if self._nothing_to_commit:
            log.warning(
                "some commits were put off since the last report: their metadata would not fit, or D would fall; "
                "a restart repeats more calls",
                partitions=sorted(self._nothing_to_commit),
            )
            self._nothing_to_commit.clear()
        for partition, runner in sorted(self._runners.items()):
            task = runner.task
            log.info(
                "progress",
                partition=partition,
                watermark=None if task.watermark == MIN_TIME else task.watermark,
                rebuilding=task.rebuilding,
                sessions=task.sessions,
                unsettled=task.unsettled,
                next_offer=task.next_offset(Input.OFFERS),
                next_checkout=task.next_offset(Input.CHECKOUTS),
            )


def spare_the_collector() -> None:
    """Let Python look for reference cycles less often.

    A million open offers are a million objects that are no garbage, and looking through them took 40 % of the time of
    joining (`tests/benchmarks/bench_join.py`). The join makes no cycles; what libraries make is still found.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def run(settings: Settings) -> int:
    """`opt-out run`: start, work until SIGTERM or SIGINT, return the exit code.

    Raises:
        OptOutError: it must not start, or not go on.
    """
    kafka = settings.kafka
    # What it cannot reach, its answers say; its own log lines would go past the log.
    client = {
        **kafka.properties,
        "bootstrap.servers": kafka.bootstrap_servers,
        "log_level": 2,
        # A broker that was restarted refuses the leader epoch that the client remembers until it asks anew: by
        # default after 15 minutes, in which no quiet topic's watermark would move.
        "metadata.max.age.ms": 5_000,
    }
    admin = AdminClient(client)
    topics = check_topics(admin, settings)
    codec = PlainCodec(settings.api.metadata_keys)
    service = Service(
        settings,
        partitions=topics.partitions,
        consumer=lambda on_error, **more: Consumer(consumer_config(kafka, on_error=on_error) | more),
        ends=lambda on_trouble: EndOffsets(admin, time.time, on_trouble),
        sink=Sink(Producer(producer_config(kafka)), kafka.outcome_topic, kafka.dead_letter_topic, codec),
        delivery=DeliveryThread(settings.api, settings.delivery),
        codec=codec,
    )

    def on_signal(number: int, _: FrameType | None) -> None:
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    log.info("starting", group=kafka.group_id, partitions=topics.partitions)
    spare_the_collector()
    service.run()
    log.info("stopped")
    return 0
