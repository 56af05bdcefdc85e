"""The tasks that run here: they begin and end as the group says, are committed, and are drained before they go."""

from __future__ import annotations

import queue

import structlog

from ..core.checkpoint import each_of, losing
from ..core.commits import CommitPlan
from ..core.guards import silence_may_begin
from ..core.restore import PartitionsMoved
from ..core.rules import MIN_TIME, DecisionRules
from ..core.task import Task
from ..core.watermark import Side
from ..errors import ClockError, StartError
from ..kafka.consumer import GroupConsumer
from ..kafka.start_offsets import StartOffsets, TaskStart, readable
from ..server.health import Health
from ..settings import JoinSettings, Settings
from .bad_record_limit import BadRecordLimit
from .counts import Counts
from .edges import Edges
from .idleness import MOST_UNWATCHED, Idleness
from .misdated import Misdated
from .runner import TaskRunner

log = structlog.get_logger(__name__)

LEAST_FLUSH = 0.5
"""Seconds that the commit of a task that goes may wait for outcomes, though its budget is used up."""

WAIT = 0.1
"""Seconds that a drain waits for a result at a time: bounds how late an error of the delivery is noticed."""


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
        checkout_silence=ms(join.checkout_silence.total_seconds()),
    )


class Tasks:
    """The tasks of this member, and the consumer that they are read with: the `RebalanceListener` of that consumer.

    Owned by the poll thread.

    Args:
        partitions: how many partitions each of the two input topics has.
        idleness: is told which inputs are assigned.
        health: is told of commits, which wait for the brokers.

    Attributes:
        consumer: the member of the group.
        runners: by partition.
        bad_records: of each input, which count what is read as well.
        routes: the same, by topic and partition, with the input that it is.
        misdated: what is dated implausibly.
        changed: a task came or went, or has records buffered: guards and decisions are to be asked once more.
        counts: what became of records and offers, those of tasks included that have gone.
        committed: by partition, what the broker has acknowledged last, of this assignment.
        committed_at: by partition, when it last did, or there was nothing better to commit (wall clock, ms).
        metadata_limits: by partition, characters that the broker takes, where that is less than usual.
        failed: the run ends by an error: tasks that go commit nothing. Or a restart loop would put one more stretch
            of what it cannot read behind it each time.
    """

    def __init__(
        self, settings: Settings, edges: Edges, *, partitions: int, idleness: Idleness, health: Health
    ) -> None:
        kafka, dead = settings.kafka, settings.dead_letter
        self.runners: dict[int, TaskRunner] = {}
        self.routes: dict[tuple[str | None, int | None], tuple[TaskRunner, Side]] = {}
        self.changed = False
        self.failed = False
        self._drained = False
        self._edges = edges
        self._partitions = partitions
        self._idleness = idleness
        self._health = health
        self._rules = rules_of(settings.join)
        self._each = each_of(settings.input.offers.each)
        self._topics = kafka.offer_topic, kafka.checkout_topic
        self._revoke_timeout = kafka.revoke_timeout.total_seconds()
        self.bad_records = (
            BadRecordLimit(kafka.offer_topic, dead.max_run, dead.max_ratio, edges.clock.monotonic),
            BadRecordLimit(kafka.checkout_topic, dead.max_run, dead.max_ratio, edges.clock.monotonic, by_row=True),
        )
        self._late_limit = dead.late_run
        self.misdated = Misdated(edges.clock.wall)
        self.counts = Counts(edges.clock.wall)
        self.committed: dict[int, CommitPlan] = {}
        self.committed_at: dict[int, int] = {}
        self.metadata_limits: dict[int, int] = {}
        self._put_off: set[int] = set()
        self.consumer = GroupConsumer(
            edges.consumer,
            kafka,
            StartOffsets(kafka, self._rules, partitions, edges.provenance, edges.history, self._each, edges.cut_logs),
            self,
            idleness.trouble,
            edges.clock.monotonic,
            edges.is_spare,
            edges.topic_watch,
            edges.causes,
            health.records_wait,
        )

    # --- told by the consumer

    def begin(self, partition: int, start: TaskStart) -> None:
        """See `kafka.consumer.RebalanceListener`."""
        try:
            task = Task(
                self._rules,
                partitions=self._partitions,
                offers=losing(start.offers, self._edges.mode.lost_below(partition)),
                checkouts=start.checkouts,
                horizon=start.horizon,
                provenance=self._edges.provenance,
                each=self._each,
            )
        except PartitionsMoved as error:
            raise StartError(
                f"partition {partition}: {error}: keys have moved between partitions, so offers and checkouts that "
                "belong together may no longer meet. Drain the topics with the old count, or start a new group."
            ) from error
        self._check_decided_to(partition, task)
        self._edges.mode.begin(task)
        runner = TaskRunner(
            partition,
            task,
            topics=self._topics,
            edges=self._edges,
            bad_records=self.bad_records,
            late_limit=self._late_limit,
            checkouts_end=start.checkouts_end,
            misdated=self.misdated,
            counts=self.counts,
        )
        self.runners[partition] = runner
        for side in Side:
            self.routes[self._topics[side], partition] = runner, side
        self._idleness.begin(partition, start.offers)
        self._come_or_gone()
        log.info(
            "task begins",
            partition=partition,
            offers=start.offers.offset,
            checkouts=start.checkouts.offset,
            rebuild_to=[task.read_before_restart(side) if task.restoring else None for side in Side],
        )

    def _check_decided_to(self, partition: int, task: Task) -> None:
        """Raises:
        ClockError: what was committed says that offers are decided up to a time that is still to come.
        """
        now = self._edges.clock.wall()
        ahead = task.watermark / 1000 - now
        if ahead <= 0:
            return
        told = readable(int(now * 1000))
        raise ClockError(
            f"partition {partition}: what is committed was decided up to a time that is {ahead:.0f} s ahead of the "
            f"clock of this machine, which says {told}. Either that clock is behind, or that of the machine that "
            "committed was ahead; every offer presented until then would be dead-lettered as late. If this clock is "
            "wrong, have it set right and start again. If it is right, go back to before the other one went wrong: "
            "opt-out positions --reset-to TIME. Nothing was read."
        )

    def revoked(self, partitions: list[int]) -> None:
        """See `kafka.consumer.RebalanceListener`.

        No new calls, wait for those in flight, flush, commit, drop, in one budget.
        """
        if self.failed:
            self.lost(partitions)
            return
        self._drain(partitions, 0.0 if self._drained else self._revoke_timeout)
        self._drop(partitions)

    def lost(self, partitions: list[int]) -> None:
        """See `kafka.consumer.RebalanceListener`: drop, commit nothing."""
        self._edges.delivery.cancel([self.runners[partition] for partition in partitions if partition in self.runners])
        self._drop(partitions)

    def abandon(self) -> None:
        """The run ends by an error: nothing more is committed, and no further call leaves."""
        self.failed = True
        for runner in self.runners.values():
            runner.draining = True  # the gate is told by this at once, and by what is cancelled a moment later
        self._edges.delivery.cancel(list(self.runners.values()))

    def metadata_refused(self, partition: int) -> None:
        """See `kafka.consumer.RebalanceListener`. A broker's offset.metadata.max.bytes may be below its default."""
        if partition in self.runners:
            limit = self.metadata_limits[partition] = self.runners[partition].task.lower_metadata_limit()
            log.warning("commit metadata is kept shorter from now on", partition=partition, characters=limit)

    def judge_late_runs(self, now: int) -> None:
        """Let go on what was kept back behind late presentations, where it is told what they are. `now` in ms."""
        for runner in self.runners.values():
            self.changed |= runner.judge_late_run(now)

    # --- results and commits

    def settle_results(self, wait: float = 0.0) -> None:
        """Settle all that came back; wait up to `wait` seconds for the first."""
        results = self._edges.delivery.results
        try:
            result = results.get(timeout=wait) if wait > 0 else results.get_nowait()
            while True:
                result.call.owner.on_result(result)
                result = results.get_nowait()
        except queue.Empty:
            pass
        self.changed = self.changed or any(runner.first_calls.fresh for runner in self.runners.values())
        fetched = self._edges.record_reader.results
        while not fetched.empty():
            on_fetched, record = fetched.get_nowait()
            call = on_fetched(record)
            if call is not None:
                self._edges.delivery.retry_refused(call)

    def commit(self, partitions: list[int], flush: float, *, at_end: bool = False) -> None:
        """Commit what is settled of these tasks, once all outcomes are acknowledged; waits `flush` seconds for that.

        `at_end`: they are about to go.
        """
        if not self._edges.outputs.flush(flush):
            log.warning("commit put off: outcomes are not acknowledged yet", partitions=partitions)
            return
        self._edges.outputs.check()
        if at_end and self._drained:
            # A hand-over is no reason: another instance that stops for bad records, and starts again, makes us do so.
            for limit in self.bad_records:
                limit.settle(at_once=True)
        plans: dict[int, CommitPlan] = {}
        now = int(self._edges.clock.wall() * 1000)
        trusted = not self._silence_may_be_missed(now)
        for partition in partitions:
            task = self.runners[partition].task
            plan = task.prepare_commit(now, self._idleness.trusted_since(partition) if trusted else MIN_TIME)
            if plan is None and not task.restoring:
                self._put_off.add(partition)
            if plan is not None and plan != self.committed.get(partition):
                plans[partition] = plan
            elif plan is not None:
                self.committed_at[partition] = now
        with self._health.waiting("a commit"):
            acknowledged = self.consumer.commit(plans)
        self._edges.writes.committed(plans, acknowledged)
        self._edges.writes.forget(set(partitions) - plans.keys())
        for partition in acknowledged:
            self.runners[partition].task.commit_acknowledged(plans[partition])
            self.committed[partition], self.committed_at[partition] = plans[partition], now

    def _silence_may_be_missed(self, now: int) -> bool:
        """Whether one may begin and end after a commit of `now`, and before the trust of that is taken over."""
        rules = self._rules
        until = now + round(MOST_UNWATCHED * rules.lateness) + rules.max_skew
        guards = [runner.task.guard for runner in self.runners.values()]
        return silence_may_begin(guards, until=until, silence=rules.checkout_silence)

    def take_put_off(self) -> list[int]:
        """The tasks that could commit nothing better than before, since this was last asked."""
        partitions = sorted(self._put_off)
        self._put_off.clear()
        return partitions

    # --- the end

    def drain(self, budget: float) -> None:
        """Drain all tasks before the group is left: wait up to `budget` seconds for calls in flight, then commit."""
        self._drained = True
        self._drain(list(self.runners), budget)

    def _drain(self, partitions: list[int], budget: float) -> None:
        """No new calls for these tasks, wait up to `budget` seconds for those in flight, then commit."""
        monotonic, delivery = self._edges.clock.monotonic, self._edges.delivery
        deadline = monotonic() + budget
        partitions = [partition for partition in partitions if partition in self.runners]
        runners = [self.runners[partition] for partition in partitions]
        for runner in runners:
            runner.draining = True
        delivery.cancel(runners)
        self.settle_results()
        while any(runner.outstanding for runner in runners) and (left := deadline - monotonic()) > 0:
            self.settle_results(wait=min(left, WAIT))
            delivery.check()
        in_flight = sum(runner.outstanding for runner in runners)
        if in_flight:
            log.warning("calls still in flight: they are repeated by whoever reads on", calls=in_flight)
        self.commit(partitions, max(LEAST_FLUSH, deadline - monotonic()), at_end=True)

    def _drop(self, partitions: list[int]) -> None:
        for partition in partitions:
            runner = self.runners.pop(partition, None)
            if runner is None:
                continue  # it never began
            runner.close()
            self.counts.repeats_skipped += runner.task.repeats_skipped
            for of_partition in (self.committed, self.committed_at, self.metadata_limits):
                of_partition.pop(partition, None)
            self._edges.writes.forget([partition])
            for side in Side:
                self.routes.pop((self._topics[side], partition))
            self._idleness.drop(partition)
            for limit in self.bad_records:
                limit.task_gone(partition)
        self._come_or_gone()

    def _come_or_gone(self) -> None:
        self.changed = True
        self._edges.delivery.set_share(len(self.runners) / self._partitions)
