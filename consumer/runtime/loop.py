"""The loop of a run: it reads, decides, settles and commits; the calls are made by another thread.

The order within a turn (`Loop.run_once`) is what the promises rest on:

1. read a batch, judge our clock, and hand each record to its task; and what was kept back behind late ones, once they
   are judged,
2. move the watermark of inputs that are read to their end and are idle,
3. let go what the release file names,
4. settle what came back from the API, writing its outcome,
5. apply what was buffered while a task was restoring, and take back the calls of what was bought meanwhile,
6. ask the guards, then decide what the watermark allows, and hand over the calls; where much is due, a portion of it,
   and the next turn comes without waiting for records,
7. pause the inputs that are to be read no further for now,
8. see whether outcomes were written, and whether the other threads live; and say which watermarks stand still, and why,
9. at an interval: flush the outcomes, then commit what is settled,
10. at another: say for those outside what is going on, as one frozen snapshot.

Steps 5 to 7 are functions of what was read, of the watermarks, of what was found of our clock, and of the tasks that
are here. A turn in which none of
these has changed leaves them out: there are fifty a second, and most of a quiet night's are such.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack

import structlog
from confluent_kafka import Message

from ..core.rules import MIN_TIME
from ..core.task import Task
from ..core.watermark import Side
from ..kafka.key_check import KeyCheck
from ..server.health import Health, bound_of
from ..server.latest import Latest
from ..settings import Settings
from .back_pressure import BackPressure
from .edges import Edges
from .idleness import Idleness
from .retention import RetentionWatch
from .runner import TaskRunner
from .snapshots import Snapshots
from .standstill import InputFacts, Standstill
from .suspension import Suspension
from .tasks import Tasks, rules_of

log = structlog.get_logger(__name__)

BATCH = 5_000
"""Records a turn at the most: at 100,000 a second the loop still comes round twenty times a second."""

LEAST_BATCH = 100
"""The same at the least, where they take long: one may hold 64 offers."""

LONG = 0.5
"""Seconds that the records of a turn may take. Fewer are read at a time where they take longer."""

TURN = 0.02
"""Seconds that a turn waits for records: bounds how late a decision, a settled call or a signal is noticed."""

BUSY_TURN = 0.005
"""The same while records come: the client gives out what has come only when the wait is over, and by each record an
offer may be due. When nothing comes so many turns would be in vain."""

BUSY = 0.1
"""Seconds after a record for which others are awaited so."""

PORTION = 5_000
"""Chains that the tasks of a turn decide together beyond as many as are read. The calls of what is decided leave while
the rest is. A chain takes some 20 us: a tenth of a second."""

FLUSH = 2.0
"""Seconds that a commit waits for outcomes to be acknowledged before it is put off."""

FOR_CALLS = 0.8
"""Of `delivery.shutdown_timeout`, the part that calls in flight get at a stop. The rest is for the last commit and the
leaving: past the whole of it the process ends (`watchdog`)."""

PROGRESS = 60.0
"""Seconds between two reports of progress in the log."""


class Loop:
    """Ties the tasks to their edges. All of it runs on the thread that calls `run`.

    Args:
        settings: validated.
        edges: the clients and clocks.
        partitions: how many partitions each of the two input topics has.
        health: is told of each turn.
        latest: holds what is told to those outside.
        portion: see `PORTION`.
        on_end: is told that the loop has ended, by an error as well, before the group is left.

    Attributes:
        tasks: those that run here.
        suspension: whether decisions are suspended, and why.
    """

    def __init__(
        self,
        settings: Settings,
        edges: Edges,
        *,
        partitions: int,
        health: Health | None = None,
        latest: Latest | None = None,
        portion: int = PORTION,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        kafka, join, clock = settings.kafka, settings.join, edges.clock
        self._settings = settings
        self._edges = edges
        self._on_end = on_end
        self._health = health or Health(bound_of(settings), clock.monotonic)
        self._topics = kafka.offer_topic, kafka.checkout_topic
        self._keys = KeyCheck(kafka, partitions, clock.monotonic, edges.causes)
        self._clock_check, self._lateness = edges.clock_check, join.lateness.total_seconds()
        self._idleness = Idleness(
            edges.ends,
            self._clock_check,
            idle_after=join.idle_after.total_seconds(),
            lateness=self._lateness,
            wall=clock.wall,
            monotonic=clock.monotonic,
            trusts_at_once=edges.mode.trusts_idleness_at_once,
        )
        self.suspension = Suspension(
            rules_of(join), join.unmatched_limit, settings.delivery.max_unsettled, self._partitions_of
        )
        self.tasks = Tasks(settings, edges, partitions=partitions, idleness=self._idleness, health=self._health)
        self._back_pressure = BackPressure(self._topics, settings.delivery.max_unsettled)
        self._retention = RetentionWatch(edges.retention, self._topics, clock.wall)
        self._standstill = Standstill(
            self._topics,
            self._known_of,
            idle_after=join.idle_after.total_seconds(),
            wall=clock.wall,
            monotonic=clock.monotonic,
        )
        self._snapshots = Snapshots(
            settings,
            edges,
            latest or Latest(),
            tasks=self.tasks,
            suspension=self.suspension,
            back_pressure=self._back_pressure,
            standstill=self._standstill,
            retention=self._retention,
        )
        self._portion, self._has_more_due = portion, False
        self._batch = BATCH
        self._restoring: tuple[int, ...] = ()
        self._stopping = False
        self._busy_until = 0.0
        self._next_commit = 0.0
        self._next_progress = 0.0

    @property
    def sessions(self) -> int:
        """How many sessions are in memory, over all tasks."""
        return sum(task.sessions for task in self._all_tasks())

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
        edges, consumer = self._edges, self.tasks.consumer
        edges.delivery.start()
        try:
            with self._health.waiting("joining the group"):
                consumer.subscribe(self._now(), lambda: self._keys.at_start(edges.consumer))
            while not self._stopping:
                self.run_once()
                yield
            self._finish()
        except BaseException:
            self.tasks.abandon()
            raise
        finally:
            with ExitStack() as ends:  # each of them, in the order opposite to this, though one before it fails
                ends.callback(edges.outputs.flush, FLUSH)
                ends.callback(edges.record_reader.stop)
                ends.callback(edges.delivery.stop, timeout=0)
                self._on_end()
                with self._health.waiting("leaving the group"):
                    consumer.close()

    def run_once(self) -> None:
        """One turn, in the order that the head of the module says."""
        moment = self._edges.clock.monotonic()
        wait = BUSY_TURN if moment < self._busy_until else TURN
        messages = self.tasks.consumer.poll(self._batch, 0.0 if self._has_more_due else wait)
        begun_at = self._edges.clock.monotonic()
        if messages:
            self._busy_until = moment + BUSY
        with self._health.applying():
            self._keys.look(messages)
            self._clock_check.read(messages)
            clock_changed = self._clock_check.look()
            ahead = int(1000 * self._clock_check.finding.ahead_of_any)
            for runner in self.tasks.runners.values():
                runner.task.watermarks.allow_for_clock(ahead)
            now = self._now()
            withdrawn = self._apply(messages, now) if messages else {}
            self.tasks.judge_late_runs(now)
            moved = self._idleness.look(
                {partition: runner.task for partition, runner in self.tasks.runners.items()}, self._topics
            )
            self._let_go()
            self.tasks.settle_results()
            changed, was_full = bool(messages) or moved or clock_changed or self.tasks.changed, self._back_pressure.full
            if changed:
                self._decide(withdrawn, now)
        self._adapt_batch(len(messages), self._edges.clock.monotonic() - begun_at)
        if changed or was_full:
            self.tasks.consumer.pause(self._back_pressure.wanted(self.tasks.runners.values(), self.suspension))
            # First calls that wait for checkouts wait no longer: nothing is read on before calls are made.
            self.tasks.changed = self.tasks.changed or (self._back_pressure.full and not was_full)
        self._check_edges()
        at_work = [runner for runner in self.tasks.runners.values() if not runner.is_done]
        self._standstill.look(at_work, assigned=self.tasks.consumer.assigned)
        self._commit_and_report_at_intervals()
        self._tell_health()
        self._snapshots.look(stopping=self._stopping)

    # --- the steps of a turn

    def _adapt_batch(self, records: int, took: float) -> None:
        """Read fewer at a time where they take long, such as records of sixty offers each: results are settled and
        calls are allowed between two batches."""
        if took > LONG:
            self._batch = max(LEAST_BATCH, self._batch // 2)
        elif records == self._batch and took < LONG / 4:
            self._batch = min(BATCH, 2 * self._batch)

    def _apply(self, messages: Sequence[Message], now: int) -> dict[TaskRunner, list[int]]:
        """Hand each record to its task. Returns the starts of the chains whose calls are to be taken back."""
        withdrawn: dict[TaskRunner, list[int]] = {}
        watermarks: dict[tuple[TaskRunner, Side], int] = {}
        routes = self.tasks.routes
        for message in messages:
            route = routes.get((message.topic(), message.partition()))
            if route is None:
                continue
            runner, side = route
            if message.error() is not None:
                self._standstill.partition_end(runner, side, message.offset() or 0)
            elif route not in watermarks:
                watermarks[route] = runner.task.watermarks.of(side).value
                self._retention.read(runner, side, message)
            if starts := runner.on_message(side, message, now):
                withdrawn.setdefault(runner, []).extend(starts)
        for (runner, side), before in watermarks.items():
            # What moves no watermark is no traffic: tombstones in a quiet partition must not keep it undecided.
            if runner.task.watermarks.of(side).value > before:
                self._idleness.heard(side, runner.partition)
        return withdrawn

    def _let_go(self) -> None:
        """If the release file has changed, let go what it names; what is decided later asks for itself."""
        releases = self._edges.releases
        if not releases.changed(self._edges.clock.monotonic()):
            return
        notes, self.tasks.changed = releases.notes, True
        waiting = {
            offer
            for task in self._all_tasks()
            for chain in task.unsettled_chains()
            if (offer := (chain.partner_code, chain.offer_id)) in notes
        }
        log.info(
            "release file read",
            entries=len(notes),
            waiting_here=len(waiting),
            not_waiting_here=["/".join(offer) for offer in notes if offer not in waiting][:10],
        )
        self._edges.delivery.release(notes)

    def _decide(self, withdrawn: dict[TaskRunner, list[int]], now: int) -> None:
        """Apply what waited, take back calls, ask the guards, and hand over the calls of what is due."""
        runners, delivery = self.tasks.runners.values(), self._edges.delivery
        for runner in runners:
            if runner.waiting and (starts := runner.drain_waiting(now)):
                withdrawn.setdefault(runner, []).extend(starts)
        for runner, starts in withdrawn.items():
            delivery.withdraw(runner, starts)
        self.suspension.judge(self._all_tasks(), self._clock_check.finding)
        share = max(1, self._portion // max(1, len(runners)))
        for runner in runners:
            suspended = not self.suspension.lets_decide(runner.task)
            if calls := runner.decide(suspended=suspended, at_once=self._back_pressure.full, most=share):
                self._clock_check.decided(runner.task.watermark / 1000 + self._lateness)
                delivery.submit(calls)
        self._has_more_due = any(runner.task.due.has_more for runner in runners)
        # What still waits, or is due, is tried again in the next turn, whatever comes.
        self.tasks.changed = self._has_more_due or any(runner.waiting for runner in runners)
        self._restoring = tuple(partition for partition, runner in self.tasks.runners.items() if runner.task.restoring)

    def _check_edges(self) -> None:
        """Take in what was acknowledged, and see that nothing has failed that must not."""
        edges = self._edges
        edges.causes.look()
        if edges.clients is not None and edges.clients.look():
            self.stop()
        edges.outputs.poll()
        edges.outputs.check()
        for limit in self.tasks.bad_records:
            limit.settle()
        edges.delivery.check()
        edges.record_reader.check()

    def _commit_and_report_at_intervals(self) -> None:
        moment = self._edges.clock.monotonic()
        if moment >= self._next_commit:
            self._next_commit = moment + self._settings.kafka.commit_interval.total_seconds()
            self.tasks.commit(list(self.tasks.runners), FLUSH)
        if moment >= self._next_progress:
            self._next_progress = moment + PROGRESS
            self._report()

    def _tell_health(self) -> None:
        self._health.turned(
            assigned=self.tasks.consumer.assigned,
            tasks=tuple(self.tasks.runners),
            restoring=self._restoring,
            stopping=self._stopping,
            standing=self._standstill.words,
            halves=self.tasks.consumer.halves,
        )

    # --- inside

    def _partitions_of(self, tasks: Collection[Task]) -> list[int]:
        return sorted(partition for partition, runner in self.tasks.runners.items() if runner.task in tasks)

    def _all_tasks(self) -> list[Task]:
        return [runner.task for runner in self.tasks.runners.values()]

    def _known_of(self, runner: TaskRunner, side: Side, read_ago: float, partition_end: int | None) -> InputFacts:
        """What is known of an input whose watermark stands still."""
        task, watch = runner.task, self._edges.topic_watch
        return InputFacts(
            watermark=task.watermarks.of(side).value,
            next_offset=task.next_offset(side),
            read_ago=read_ago,
            partition_end=partition_end,
            idle=self._idleness.facts(side, runner.partition),
            clock_confirmed=self._clock_check.finding.confirmed,
            in_doubt=watch is not None and not watch.certain,
            schema=runner.waiting.schemas.get(side),
            waits_for_clock=not task.restoring and side in runner.waiting.sides,
            kept_back=side is Side.OFFERS and runner.late_run.suspended,
            full=side is Side.OFFERS and self._back_pressure.full and not task.restoring,
            offers_stopped=side is Side.OFFERS and task in self._back_pressure.stops_offers and not task.restoring,
            checkouts_stopped=side is Side.CHECKOUTS and task in self._back_pressure.kept_checkouts.stopped,
        )

    def _now(self) -> int:
        return int(self._edges.clock.wall() * 1000)

    def _finish(self) -> None:
        log.info("stopping", tasks=sorted(self.tasks.runners))
        self._tell_health()
        self._snapshots.take(stopping=True)
        self.tasks.drain(FOR_CALLS * self._settings.delivery.shutdown_timeout.total_seconds())

    def _report(self) -> None:
        if put_off := self.tasks.take_put_off():
            log.warning(
                "some commits were put off since the last report: their metadata would not fit, or D would fall; "
                "a restart repeats more calls",
                partitions=put_off,
            )
        self.suspension.report(self._all_tasks())
        self.tasks.misdated.report()
        runners = self.tasks.runners
        self._retention.look(runners, self.tasks.committed)
        for partition, runner in sorted(runners.items()):
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
                left_out=runner.left_out,
                next_offer=task.next_offset(Side.OFFERS),
                next_checkout=task.next_offset(Side.CHECKOUTS),
            )
