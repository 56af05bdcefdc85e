"""Says what a run is doing, for whoever asks from outside: one frozen value, made about once a second.

It reads what the loop has at hand and changes nothing. What takes longer, or goes to the brokers, is looked for less
often; the brokers are asked without waiting, and their answer is taken up later.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import replace
from types import MappingProxyType

from ..core.chain import Chain
from ..core.checkpoint import METADATA_LIMIT
from ..core.commits import CommitPlan
from ..core.rules import MIN_TIME
from ..core.watermark import Side
from ..server.latest import Latest
from ..settings import KafkaSettings, Settings
from ..snapshot import (
    CountsSnapshot,
    InputSnapshot,
    OldestUnsettled,
    PartnerSnapshot,
    Snapshot,
    Suspended,
    TaskSnapshot,
)
from ..telling import Telling
from .back_pressure import BackPressure
from .clock_check import ClockState
from .edges import Edges
from .retention import RetentionWatch
from .runner import TaskRunner
from .standstill import Standstill
from .suspension import Suspension
from .tasks import Tasks

EVERY = 1.0
"""Seconds between two snapshots. Whoever collects metrics asks each 15 s or so, whoever looks at a page each second."""

MEASURE_EVERY = 15.0
"""Seconds between two questions to the brokers where the logs end, and two looks at what takes long."""

MANY_UNSETTLED = 20_000
"""Unsettled chains of a task from which on the first of them is looked for each `MEASURE_EVERY` only: of so many it
takes half a millisecond."""


NEW = 60_000
"""ms: what is found so soon after a start, or after a task has come, may have begun before."""


class Since:
    """Remembers since when something is so."""

    def __init__(self) -> None:
        self._since: dict[str, int | None] = {}

    def look(self, what: Collection[str], now: int, *, known: bool = True) -> dict[str, int | None]:
        """Since when each of these is so (ms), which are so `now`; None: that cannot be told.

        `known`: what is found now and was not before has begun now.
        """
        self._since = {one: self._since.get(one, now if known else None) for one in what}
        return self._since


class Snapshots:
    """Makes them, and swaps each in. Owned by the poll thread.

    Args:
        settings: of the run.
        edges: for its clocks, its calls and what is known of the clock.
        latest: holds the newest.
        tasks, suspension, back_pressure, standstill, retention: what it tells of.
    """

    def __init__(
        self,
        settings: Settings,
        edges: Edges,
        latest: Latest,
        *,
        tasks: Tasks,
        suspension: Suspension,
        back_pressure: BackPressure,
        standstill: Standstill,
        retention: RetentionWatch,
    ) -> None:
        self._edges = edges
        self._latest = latest
        self._tasks = tasks
        self._suspension = suspension
        self._back_pressure = back_pressure
        self._standstill = standstill
        self._retention = retention
        self._lateness = settings.join.lateness.total_seconds()
        self._group, self._instance = settings.kafka.group_id, instance_of(settings.kafka)
        self._started_at = self._now()
        self._suspended, self._stopped = Since(), Since()
        self._phases: dict[TaskRunner, tuple[str, int]] = {}
        self._moved_at = self._started_at
        """When a task came, went or was restoring last (ms)."""
        self._oldest: dict[TaskRunner, Chain | None] = {}
        self._next = self._next_measure = 0.0
        self._telling = Telling()

    def look(self, *, stopping: bool) -> None:
        """Make one, if it is time. To be called once a turn. `stopping`: the run was asked to stop.

        A mistake of ours in telling what is done must not end what is done: it is said, and the last one stays.

        Raises:
            StopError: the calls have failed.
        """
        if self._edges.clock.monotonic() < self._next:
            return
        with self._telling:
            self.take(stopping=stopping)

    def take(self, *, stopping: bool) -> None:
        """Make one now."""
        moment = self._edges.clock.monotonic()
        self._next = moment + EVERY
        runners = self._tasks.runners
        if measures := moment >= self._next_measure:
            self._next_measure = moment + MEASURE_EVERY
            self._retention.measure(runners, self._tasks.committed)
        self._look_for_oldest(list(runners.values()), all_of_them=measures)
        self._latest.swap_in(self._made(stopping=stopping))

    # --- inside

    def _made(self, *, stopping: bool) -> Snapshot:
        now, finding = self._now(), self._edges.clock_check.finding
        ends, paused = self._retention.ends, self._tasks.consumer.paused
        self._look_at_phases(now)
        delivery, counts = self._edges.delivery.snapshot(), self._tasks.counts
        return Snapshot(
            taken_at=now,
            started_at=self._started_at,
            group=self._group,
            instance=self._instance,
            assigned=self._tasks.consumer.assigned,
            stopping=stopping,
            tasks=tuple(self._task(runner, ends, paused) for _, runner in sorted(self._tasks.runners.items())),
            halves=self._tasks.consumer.halves,
            suspended=self._suspensions(now),
            lateness=self._lateness,
            offers_stopped=tuple(
                partition
                for partition, runner in sorted(self._tasks.runners.items())
                if runner.task in self._back_pressure.stops_offers
            ),
            full=self._back_pressure.full,
            clock_ahead=None if finding.state in {ClockState.UNKNOWN, ClockState.BELIEVED} else finding.ahead,
            partners=self._with_since(delivery.partners, now),
            calls=delivery.calls,
            counts=self._counts(),
            outcomes=counts.recent_outcomes(),
            dead_letters=counts.recent_dead_letters(),
        )

    def _task(
        self, runner: TaskRunner, ends: dict[tuple[str, int], int], paused: frozenset[tuple[str, int]]
    ) -> TaskSnapshot:
        task, partition, tasks = runner.task, runner.partition, self._tasks
        plan = tasks.committed.get(partition)
        offers, checkouts = (self._input(runner, side, plan, ends, paused) for side in Side)
        return TaskSnapshot(
            partition=partition,
            phase=self._phases[runner][0],
            phase_since=self._phases[runner][1],
            watermark=_known(task.watermark),
            offers=offers,
            checkouts=checkouts,
            held_back=self._standstill.held_back(runner),
            sessions=task.sessions,
            open_presentations=task.undecided,
            kept_checkouts=task.kept_checkouts,
            due_uncalled=runner.outstanding + runner.first_calls.waiting,
            first_calls=runner.first_calls.waiting,
            unsettled=task.unsettled,
            oldest_unsettled=_told(self._oldest.get(runner)),
            committed_at=tasks.committed_at.get(partition),
            metadata_characters=0 if plan is None else max(len(plan.offers.metadata), len(plan.checkouts.metadata)),
            metadata_limit=tasks.metadata_limits.get(partition, METADATA_LIMIT),
        )

    def _input(
        self,
        runner: TaskRunner,
        side: Side,
        plan: CommitPlan | None,
        ends: dict[tuple[str, int], int],
        paused: frozenset[tuple[str, int]],
    ) -> InputSnapshot:
        place = topic, _ = self._tasks.consumer.topic(side), runner.partition
        committed = None if plan is None else plan.offers if side is Side.OFFERS else plan.checkouts
        return InputSnapshot(
            topic=topic,
            watermark=_known(runner.task.watermarks.of(side).value),
            position=runner.task.next_offset(side),
            committed=None if committed is None else committed.offset,
            log_end=ends.get(place),
            retention_left=self._retention.left.get(place),
            retention=self._retention.whole.get(topic),
            paused=place in paused,
        )

    def _look_at_phases(self, now: int) -> None:
        phases = {}
        for runner in self._tasks.runners.values():
            phase = "draining" if runner.draining else "restoring" if runner.task.restoring else "running"
            before, since = self._phases.get(runner, ("", now))
            phases[runner] = phase, since if phase == before else now
        if phases.keys() != self._phases.keys() or any(phase == "restoring" for phase, _ in phases.values()):
            self._moved_at = now
        self._phases = phases

    def _look_for_oldest(self, runners: Collection[TaskRunner], *, all_of_them: bool) -> None:
        self._oldest = {
            runner: runner.task.oldest_unsettled()
            if all_of_them or runner.task.unsettled < MANY_UNSETTLED
            else self._oldest.get(runner)
            for runner in runners
        }

    def _suspensions(self, now: int) -> tuple[Suspended, ...]:
        partition_of = {runner.task: partition for partition, runner in self._tasks.runners.items()}
        words = self._suspension.words(list(partition_of))
        since = self._suspended.look(words, now, known=now - self._moved_at >= NEW)
        begun = self._suspension.begun(list(partition_of))
        return tuple(
            Suspended(
                reason=reason,
                what=what,
                since=_earlier(since[reason], begun.get(reason)),
                partitions=tuple(sorted(partition_of[task] for task in held if task in partition_of))
                if len(held) < len(partition_of)
                else (),
            )
            for reason, (what, held) in words.items()
        )

    def _with_since(self, partners: tuple[PartnerSnapshot, ...], now: int) -> tuple[PartnerSnapshot, ...]:
        stops = [_stop(partner.code, by) for partner in partners for by in partner.stopped_by]
        since = self._stopped.look(stops, now, known=now - self._started_at >= NEW)
        return tuple(
            replace(partner, stopped_since=since[_stop(partner.code, partner.stopped_by[0])])
            if partner.stopped_by
            else partner
            for partner in partners
        )

    def _counts(self) -> CountsSnapshot:
        tasks, counts = self._tasks, self._tasks.counts
        skipped = sum(runner.task.repeats_skipped for runner in tasks.runners.values())
        return CountsSnapshot(
            records=MappingProxyType(
                {side.name.lower(): tasks.bad_records[side].read + tasks.counts.left_out[side] for side in Side}
            ),
            left_out=MappingProxyType({side.name.lower(): counts.left_out[side] for side in Side}),
            decisions=MappingProxyType(dict(counts.decisions)),
            outcomes=MappingProxyType(dict(counts.outcomes)),
            dead_letters=MappingProxyType(dict(counts.dead_letters)),
            repeats_skipped=counts.repeats_skipped + skipped,
            purchases_after_opt_out=counts.purchases_after_opt_out,
        )

    def _now(self) -> int:
        return int(self._edges.clock.wall() * 1000)


def instance_of(kafka: KafkaSettings) -> str:
    """What this member is called: by the group, else by its client, else its host."""
    return kafka.group_instance_id or str(kafka.properties.get("client.id") or socket.gethostname())


def _known(time: int) -> int | None:
    return None if time == MIN_TIME else time


def _told(chain: Chain | None) -> OldestUnsettled | None:
    if chain is None:
        return None
    return OldestUnsettled(
        partner_code=chain.partner_code,
        offer_id=chain.offer_id,
        session_id=chain.session_id,
        offset=chain.last.record_offset,
        presented_at=chain.last.presented_at,
        due_at=chain.decide_at,
        decided_at=chain.decided_at,
    )


def _stop(partner_code: str, by: str) -> str:
    return f"{by} {partner_code}"


def _earlier(one: int | None, other: int | None) -> int | None:
    return min((time for time in (one, other) if time is not None), default=None)
