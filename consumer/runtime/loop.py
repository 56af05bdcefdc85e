"""The deployment: one loop that reads, decides, settles and commits; the calls are made by another thread.

The order within a turn is what the promises rest on:

1. read a batch and hand each record to its task,
2. settle what came back from the API, writing its outcome,
3. decide what the watermark now allows,
4. at an interval: flush the outcomes, then commit what is settled.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
from confluent_kafka import Consumer

from ..calls import CallResult
from ..codecs.plain import Codec
from ..core.guards import SuspendedBy
from ..core.rules import MIN_TIME, DecisionRules
from ..core.task import CommitPlan, PartitionsMoved, Side, Task
from ..delivery.thread import DeliveryThread
from ..errors import StartError
from ..kafka.consumer import GroupConsumer
from ..kafka.end_offsets import EndOffsets
from ..kafka.key_check import KeyCheck
from ..kafka.producer import OutputProducer
from ..kafka.reader import RecordReader
from ..kafka.start_offsets import StartOffsets, TaskStart
from ..server.health import Health, bound_of
from ..settings import JoinSettings, Settings
from .bad_records import BadRecordLimit
from .idleness import Idleness
from .releases import Releases
from .runner import TaskRunner
from .suspension import Suspension

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


def rules_of(join: JoinSettings) -> DecisionRules:
    """The numbers of the decision, in milliseconds."""

    def ms(seconds: float) -> int:
        return round(seconds * 1000)

    return DecisionRules(
        window=ms(join.window.total_seconds()),
        checkout_grace=ms(join.checkout_grace.total_seconds()),
        lookback=ms(join.lookback.total_seconds()),
        lateness=ms(join.lateness.total_seconds()),
        max_skew=ms(join.max_skew.total_seconds()),
        call_abandoned=join.abandoned == "opt-out",
    )


class Loop:
    """Ties tasks, source, sink and delivery together. All of it runs on the thread that calls `run`.

    Args:
        settings: validated.
        partitions: how many partitions each of the two input topics has.
        consumer: makes a Kafka consumer, given its error handler, and for a look at keys settings of its own.
        ends: makes the asker for end offsets, given what to tell of trouble.
        sink: where outcomes and dead letters go.
        delivery: makes the calls; started and stopped here.
        releases: the offers that an operator lets go.
        rereader: reads the records of refused offers, which are to be dead-lettered; stopped here.
        health: is told of each turn.
        is_spare: see `GroupConsumer`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        partitions: int,
        consumer: Callable[..., Consumer],
        ends: Callable[[Callable[[str], None]], EndOffsets],
        sink: OutputProducer,
        delivery: DeliveryThread,
        codec: Codec,
        clock: Clock | None = None,
        releases: Releases | None = None,
        rereader: RecordReader[CallResult] | None = None,
        health: Health | None = None,
        is_spare: Callable[[str], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._count = partitions
        self._rules = rules_of(settings.join)
        self._clock = clock or Clock()
        self._health = health or Health(bound_of(settings), self._clock.monotonic)
        self._codec = codec
        self._sink = sink
        self._delivery = delivery
        self._releases = releases or Releases(None)
        self._rereader = rereader
        self._runners: dict[int, TaskRunner] = {}
        self._routes: dict[tuple[str | None, int | None], tuple[TaskRunner, Side]] = {}
        self._stopping = False
        self._wound_up = False
        self._failed = False
        self._full = False
        self._next_commit = 0.0
        self._next_progress = 0.0
        self._committed: dict[int, CommitPlan] = {}
        self._nothing_to_commit: set[int] = set()
        kafka = settings.kafka
        self._topics = kafka.offer_topic, kafka.checkout_topic
        self._keys = KeyCheck(kafka, partitions, self._clock.monotonic)
        self._new_consumer = consumer
        dead = settings.dead_letter
        self._intakes = (
            BadRecordLimit(kafka.offer_topic, dead.max_run, dead.max_ratio),
            BadRecordLimit(kafka.checkout_topic, dead.max_run, dead.max_ratio),
        )
        self._idleness = Idleness(
            ends,
            idle_after=settings.join.idle_after.total_seconds(),
            lateness=settings.join.lateness.total_seconds(),
            wall=self._clock.wall,
            monotonic=self._clock.monotonic,
        )
        self._guarding = Suspension(settings.join, settings.delivery.max_unsettled)
        self._source = GroupConsumer(
            consumer,
            kafka,
            StartOffsets(kafka, self._rules, partitions),
            self,
            self._idleness.trouble,
            self._clock.monotonic,
            is_spare,
        )

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
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """`run`, one turn at a time, for whoever has more to do in between, such as a simulation."""
        self._delivery.start()
        try:
            with self._health.waiting("joining the group"):
                self._source.subscribe(self._now(), lambda: self._keys.at_start(self._new_consumer))
            while not self._stopping:
                self.turn()
                yield
            self._finish()
        except BaseException:
            self._failed = True
            raise
        finally:
            with self._health.waiting("leaving the group"):
                self._source.close()
            self._delivery.stop(timeout=0)
            if self._rereader is not None:
                self._rereader.stop()
            self._sink.flush(FLUSH)

    def turn(self) -> None:
        """One turn of the loop."""
        messages = self._source.poll(BATCH, TURN)
        self._keys.look(messages)
        now = self._now()
        heard: set[tuple[TaskRunner, Side]] = set()
        for message in messages:
            route = self._routes.get((message.topic(), message.partition()))
            if route is not None:
                route[0].on_message(route[1], message, now)
                if message.error() is None:
                    heard.add(route)
        for runner, source in heard:
            self._idleness.heard(source, runner.partition)
        self._idleness.turn({runner.partition: runner.task for runner in self._runners.values()}, self._topics)
        self._heed_releases()
        self._settle_results()
        for runner in self._runners.values():
            runner.drain_buffer(now)
        if taken_back := [chain for runner in self._runners.values() for chain in runner.withdrawn]:
            self._delivery.withdraw(taken_back)
            for runner in self._runners.values():
                runner.withdrawn.clear()
        self._guarding.turn(self._tasks)
        for runner in self._runners.values():
            if calls := runner.decide(held=not self._guarding.lets_decide(runner.task)):
                self._delivery.submit(calls)
        self._pause()
        self._sink.poll()
        self._sink.check()
        self._delivery.check()
        if self._rereader is not None:
            self._rereader.check()
        moment = self._clock.monotonic()
        if moment >= self._next_commit:
            self._next_commit = moment + self._settings.kafka.commit_interval.total_seconds()
            self._commit(list(self._runners), FLUSH)
        if moment >= self._next_progress:
            self._next_progress = moment + PROGRESS
            self._report()
        self._tell_health()

    # --- the tasks, told by the source

    def begin(self, partition: int, start: TaskStart) -> None:
        """See `kafka.consumer.RebalanceListener`."""
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
            releases=self._releases,
            read_again=self._read_again,
        )
        self._runners[partition] = runner
        for side in Side:
            self._routes[self._topics[side], partition] = runner, side
            self._idleness.begin(side, partition)
        self._delivery.set_share(len(self._runners) / self._count)
        log.info(
            "task begins",
            partition=partition,
            offers=start.offers.offset,
            checkouts=start.checkouts.offset,
            rebuild_to=[task.read_before(side) if task.restoring else None for side in Side],
        )

    def revoked(self, partitions: list[int]) -> None:
        """See `kafka.consumer.RebalanceListener`.

        No new calls, wait for those in flight, flush, commit, drop, in one budget.
        """
        if self._failed:
            # Or a restart loop would put one more stretch of what it cannot read behind it each time.
            self.lost(partitions)
            return
        budget = 0.0 if self._wound_up else self._settings.kafka.revoke_timeout.total_seconds()
        self._wind_up(partitions, budget)
        self._drop(partitions)

    def lost(self, partitions: list[int]) -> None:
        """See `kafka.consumer.RebalanceListener`: drop, commit nothing."""
        for partition in partitions:
            if partition in self._runners:
                self._delivery.cancel(self._runners[partition])
        self._drop(partitions)

    def metadata_refused(self, partition: int) -> None:
        """See `kafka.consumer.RebalanceListener`. A broker's offset.metadata.max.bytes may be below its default."""
        if partition in self._runners:
            limit = self._runners[partition].task.shorten_metadata()
            log.warning("commit metadata is kept shorter from now on", partition=partition, characters=limit)

    # --- inside

    @property
    def _tasks(self) -> list[Task]:
        return [runner.task for runner in self._runners.values()]

    def _now(self) -> int:
        return int(self._clock.wall() * 1000)

    def _settle_results(self, wait: float = 0.0) -> None:
        """Settle all that came back; wait up to `wait` seconds for the first."""
        try:
            result = self._delivery.results.get(timeout=wait) if wait > 0 else self._delivery.results.get_nowait()
            while True:
                owner = result.call.owner
                assert isinstance(owner, TaskRunner)  # noqa: S101 - put there by the runner
                owner.on_result(result)
                result = self._delivery.results.get_nowait()
        except queue.Empty:
            self._take_records()

    def _read_again(self, result: CallResult) -> None:
        assert self._rereader is not None  # noqa: S101 - or nothing would be reported as to be dead-lettered
        self._rereader.ask(result.call.source, result)

    def _take_records(self) -> None:
        """Dead-letter the records of refused calls that were read again."""
        while self._rereader is not None and not self._rereader.results.empty():
            result, record = self._rereader.results.get_nowait()
            owner = result.call.owner
            assert isinstance(owner, TaskRunner)  # noqa: S101 - put there by the runner
            call = owner.on_record_fetched(result, record)
            if call is not None:
                self._delivery.hold(call)

    def _heed_releases(self) -> None:
        """If the release file has changed, let go what it names; what is decided later asks for itself."""
        if not self._releases.changed(self._clock.monotonic()):
            return
        notes = self._releases.notes
        waiting = {
            offer
            for runner in self._runners.values()
            for chain in runner.task.unsettled_chains()
            if (offer := (chain.partner_code, chain.offer_id)) in notes
        }
        log.info(
            "release file read",
            entries=len(notes),
            waiting_here=len(waiting),
            not_waiting_here=["/".join(offer) for offer in notes if offer not in waiting][:10],
        )
        self._delivery.release(notes)

    def _pause(self) -> None:
        wanted: set[tuple[str, int]] = set()
        unsettled = sum(runner.task.unsettled for runner in self._runners.values())
        most = self._settings.delivery.max_unsettled
        # A tenth of slack: each pause throws away what the client had fetched.
        full = unsettled >= (0.9 * most if self._full else most)
        if full != self._full:
            self._full = full
            log.warning("reading is paused" if full else "reading goes on", unsettled=unsettled, max_unsettled=most)
        stops_offers = self._guarding.stops_offers(self._tasks)
        for runner in self._runners.values():
            sources = runner.pauses()
            if (full or stops_offers) and not runner.task.restoring:
                # What ends a hold are checkouts: reading them must not wait for offers that are not read.
                sources = set(Side) if self._guarding.hold is SuspendedBy.NONE else {Side.OFFERS}
            wanted.update((self._topics[source], runner.partition) for source in sources)
        self._source.pause(wanted)

    def _commit(self, partitions: list[int], flush: float) -> None:
        if not self._sink.flush(flush):
            log.warning("commit put off: outcomes are not acknowledged yet", partitions=partitions)
            return
        self._sink.check()
        plans: dict[int, CommitPlan] = {}
        for partition in partitions:
            plan = self._runners[partition].task.prepare_commit()
            if plan is None and not self._runners[partition].task.restoring:
                self._nothing_to_commit.add(partition)
            if plan is not None and plan != self._committed.get(partition):
                plans[partition] = plan
        with self._health.waiting("a commit"):
            acknowledged = self._source.commit(plans)
        for partition in acknowledged:
            self._runners[partition].task.commit_acknowledged(plans[partition])
            self._committed[partition] = plans[partition]

    def _wind_up(self, partitions: list[int], budget: float) -> None:
        """No new calls for these tasks, wait up to `budget` seconds for those in flight, then commit."""
        deadline = self._clock.monotonic() + budget
        partitions = [partition for partition in partitions if partition in self._runners]
        runners = [self._runners[partition] for partition in partitions]
        for runner in runners:
            runner.ending = True
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
            runner.close()
            self._committed.pop(partition, None)
            for side in Side:
                self._routes.pop((self._topics[side], partition))
                self._idleness.drop(side, partition)
        self._delivery.set_share(len(self._runners) / self._count)

    def _finish(self) -> None:
        log.info("stopping", tasks=sorted(self._runners))
        self._tell_health()
        self._wind_up(list(self._runners), self._settings.delivery.shutdown_timeout.total_seconds())
        self._wound_up = True

    def _tell_health(self) -> None:
        self._health.turned(
            assigned=self._source.assigned,
            tasks=tuple(self._runners),
            restoring=tuple(p for p, runner in self._runners.items() if runner.task.restoring),
            stopping=self._stopping,
        )

    def _report(self) -> None:
        if self._nothing_to_commit:
            log.warning(
                "some commits were put off since the last report: their metadata would not fit, or D would fall; "
                "a restart repeats more calls",
                partitions=sorted(self._nothing_to_commit),
            )
            self._nothing_to_commit.clear()
        self._guarding.report(self._tasks)
        for partition, runner in sorted(self._runners.items()):
            task = runner.task
            oldest = task.oldest_unsettled()
            log.info(
                "progress",
                partition=partition,
                watermark=None if task.watermark == MIN_TIME else task.watermark,
                rebuilding=task.restoring,
                sessions=task.sessions,
                unsettled=task.unsettled,
                oldest_unsettled=None if oldest is None else f"{oldest.partner_code}/{oldest.offer_id}",
                next_offer=task.next_offset(Side.OFFERS),
                next_checkout=task.next_offset(Side.CHECKOUTS),
            )
