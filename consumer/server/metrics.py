"""Every metric of a running instance: its name, kind, labels, unit and meaning, and what it is read from.

The page `metrics` of the manual is written from this list, and the endpoint answers by it (`collector`). Names and
units are those of OpenMetrics. No label holds an id, or anything else of a customer's; partner codes and status codes
are told apart up to a bound (`delivery.counts`), and the rest count as `(other)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from ..events import Outcome, Reason
from ..snapshot import STOPS, SUSPENSIONS, InputSnapshot, Snapshot, TaskSnapshot

Sample: TypeAlias = tuple[tuple[str, ...], float]
"""The values of the labels, and the figure."""

Samples: TypeAlias = Iterable[Sample]

DECIDED = (Reason.PURCHASED, Reason.DECLINED, Reason.ABANDONED, Reason.CHECKOUT_UNREADABLE)
"""The reasons that a decision may have."""

DEAD_LETTERS = (
    *(
        (side, why)
        for side in ("offers", "checkouts")
        for why in ("undecodable", "key_mismatch", "empty_id", "too_large")
    ),
    *(("offers", why) for why in ("late", "implausible_time", "rejected")),
)
"""Each input with the reasons for which a record of it may be dead-lettered. A counter that is there from the start as
0 has a first increase that a query sees."""

PHASES = ("restoring", "running", "draining")
"""What a task may be doing."""


class MetricKind(StrEnum):
    """The kind of a metric, as OpenMetrics has it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        name: as a query has it: that of a counter ends in `_total`.
        unit: as OpenMetrics has it; empty: it has none.
        meaning: for people, in a sentence or two; where it helps, with what to look at.
        read: finds its samples in a snapshot, `now` in ms. A histogram has the bounds in its one label, and is summed
            by the collector.
    """

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    unit: str
    meaning: str
    read: Callable[[Snapshot, int], Samples]


def _gauge(name: str, labels: str, meaning: str, read: Callable[[Snapshot, int], Samples], unit: str = "") -> Metric:
    return Metric(name=name, kind=MetricKind.GAUGE, labels=tuple(labels.split()), unit=unit, meaning=meaning, read=read)


def _counter(name: str, labels: str, meaning: str, read: Callable[[Snapshot], Samples], unit: str = "") -> Metric:
    return Metric(
        name=name,
        kind=MetricKind.COUNTER,
        labels=tuple(labels.split()),
        unit=unit,
        meaning=meaning,
        read=lambda snapshot, _: read(snapshot),
    )


def _of_task(figure: Callable[[TaskSnapshot, int], float | None]) -> Callable[[Snapshot, int], Samples]:
    """A figure of each task, where it is known."""

    def read(snapshot: Snapshot, now: int) -> Iterator[Sample]:
        for task in snapshot.tasks:
            if (value := figure(task, now)) is not None:
                yield (str(task.partition),), value

    return read


def _of_input(figure: Callable[[InputSnapshot], float | None]) -> Callable[[Snapshot, int], Samples]:
    """A figure of each input of each task, where it is known."""

    def read(snapshot: Snapshot, _: int) -> Iterator[Sample]:
        for task in snapshot.tasks:
            for side in (task.offers, task.checkouts):
                if (value := figure(side)) is not None:
                    yield (side.topic, str(task.partition)), value

    return read


def _of_run(figure: Callable[[Snapshot, int], float | None]) -> Callable[[Snapshot, int], Samples]:
    """One figure, where it is known."""

    def read(snapshot: Snapshot, now: int) -> Iterator[Sample]:
        if (value := figure(snapshot, now)) is not None:
            yield (), value

    return read


def _ago(time: int | None, now: int) -> float | None:
    """Seconds since a time (ms); none if it lies ahead of our clock."""
    return None if time is None else max(0.0, (now - time) / 1000)


def _phases(snapshot: Snapshot, _: int) -> Iterator[Sample]:
    for task in snapshot.tasks:
        for phase in PHASES:
            yield (str(task.partition), phase), task.phase == phase


def _held_back(snapshot: Snapshot, _: int) -> Iterator[Sample]:
    for task in snapshot.tasks:
        if (held := task.held_back) is not None:
            yield (str(task.partition), held.side, held.cause), 1


def _suspended(snapshot: Snapshot, _: int) -> Iterator[Sample]:
    active = {one.reason for one in snapshot.suspended}
    for reason in SUSPENSIONS:
        yield (reason,), reason in active


def _stopped(snapshot: Snapshot, _: int) -> Iterator[Sample]:
    for partner, stops in snapshot.calls.stopped.items():
        for stop in STOPS:
            yield (partner, stop), stop in stops


METRICS: tuple[Metric, ...] = (
    _gauge(
        "opt_out_task_phase",
        "partition phase",
        "1 for what the task is doing: `restoring` reads again what was read before the start, `running` decides, "
        "`draining` is about to go.",
        _phases,
    ),
    _gauge(
        "opt_out_watermark_delay_seconds",
        "partition",
        "By how much the watermark is behind the clock. What is due later than that is not decided yet; in a quiet "
        "topic it is `join.lateness` and some seconds.",
        _of_task(lambda task, now: _ago(task.watermark, now)),
        "seconds",
    ),
    _gauge(
        "opt_out_held_back",
        "partition input cause",
        "1 for the input that holds the watermark back now, and why; absent while the watermark moves. The runbook has "
        "each cause under 'the watermark stands still'.",
        _held_back,
    ),
    _gauge(
        "opt_out_watermark_standing_seconds",
        "partition",
        "For how long the watermark has not moved; 0 while it moves.",
        _of_task(lambda task, now: 0.0 if task.held_back is None else _ago(task.held_back.since, now)),
        "seconds",
    ),
    _gauge(
        "opt_out_input_position",
        "topic partition",
        "The first offset that has not been applied.",
        _of_input(lambda side: side.position),
    ),
    _gauge(
        "opt_out_input_log_end",
        "topic partition",
        "Where the partition ends, as the brokers said within the last half minute; absent while they do not say.",
        _of_input(lambda side: side.log_end),
    ),
    _gauge(
        "opt_out_input_lag_records",
        "topic partition",
        "Offsets from the position to the end of the log, whether the input is read or paused; absent while the "
        "brokers do not say where it ends. The group's own lag is a window of offers by design.",
        _of_input(lambda side: side.lag),
        "records",
    ),
    _gauge(
        "opt_out_committed_offset",
        "topic partition",
        "What the brokers have acknowledged last; absent before the first commit of this assignment.",
        _of_input(lambda side: side.committed),
    ),
    _gauge(
        "opt_out_input_paused",
        "topic partition",
        "1 while the input is read no further for now: it is ahead of the other one, or too much waits.",
        _of_input(lambda side: side.paused),
    ),
    _gauge(
        "opt_out_open_presentations",
        "partition",
        "Presentations that are read and not decided.",
        _of_task(lambda task, _: task.open_presentations),
    ),
    _gauge(
        "opt_out_kept_checkouts",
        "partition",
        "Checkouts in memory that an offer may still need, and purchased ids that are not judged yet.",
        _of_task(lambda task, _: task.kept_checkouts),
    ),
    _gauge(
        "opt_out_sessions",
        "partition",
        "Sessions in memory.",
        _of_task(lambda task, _: task.sessions),
    ),
    _gauge(
        "opt_out_due_uncalled",
        "partition",
        "Offers that are decided to be called, and whose call is not settled.",
        _of_task(lambda task, _: task.due_uncalled),
    ),
    _gauge(
        "opt_out_unsettled",
        "partition",
        "Offers that are decided and not settled. They hold the commit.",
        _of_task(lambda task, _: task.unsettled),
    ),
    _gauge(
        "opt_out_oldest_unsettled_age_seconds",
        "partition",
        "For how long the first offer in the log that is decided and not settled could have been: since it was due, or "
        "was decided if that came later, as in a backlog; 0 if there is none. The log's line `progress` names it.",
        _of_task(lambda t, now: 0.0 if t.oldest_unsettled is None else _ago(t.oldest_unsettled.waits_since, now)),
        "seconds",
    ),
    _gauge(
        "opt_out_commit_age_seconds",
        "partition",
        "For how long nothing has been committed, though there was something to commit; before the first commit of "
        "this assignment, since the task runs.",
        _of_task(lambda task, now: _ago(task.uncommitted_since, now)),
        "seconds",
    ),
    _gauge(
        "opt_out_commit_metadata_characters",
        "partition",
        "The length of the last commit's metadata, of the longer of its two texts. At the limit, a restart repeats "
        "more calls.",
        _of_task(lambda task, _: task.metadata_characters),
        "characters",
    ),
    _gauge(
        "opt_out_commit_metadata_limit_characters",
        "partition",
        "What the brokers take; less than usual after they refused one.",
        _of_task(lambda task, _: task.metadata_limit),
        "characters",
    ),
    _gauge(
        "opt_out_retention_left_seconds",
        "topic partition",
        "Until retention may delete what a restart would have to read; absent where the topic is kept for ever or "
        "bounded by bytes alone, or the brokers do not say. At 0 the next start is refused.",
        _of_input(lambda side: side.retention_left),
        "seconds",
    ),
    _counter(
        "opt_out_records_total",
        "input",
        "Records applied, those included that a restart reads again.",
        lambda snapshot: (((side,), count) for side, count in snapshot.counts.records.items()),
        "records",
    ),
    _counter(
        "opt_out_left_out_records_total",
        "input",
        "Those of them that are of another kind, by `input.….when`, or present nothing.",
        lambda snapshot: (((side,), count) for side, count in snapshot.counts.left_out.items()),
        "records",
    ),
    _counter(
        "opt_out_decisions_total",
        "reason",
        "Offers decided, by reason. What was decided before a restart and not settled counts once more.",
        lambda snapshot: (((reason.value,), snapshot.counts.decisions.get(reason, 0)) for reason in DECIDED),
    ),
    _counter(
        "opt_out_outcomes_total",
        "outcome",
        "Offers settled, by outcome; what came late or dated implausibly is among them as DEAD_LETTERED.",
        lambda snapshot: (((outcome.value,), snapshot.counts.outcomes.get(outcome, 0)) for outcome in Outcome),
    ),
    _counter(
        "opt_out_calls_total",
        "partner status",
        "Tries, by status code; `none`: no answer came.",
        lambda snapshot: snapshot.calls.answers.items(),
    ),
    _counter(
        "opt_out_call_retries_total",
        "partner",
        "Tries beyond the first of each call.",
        lambda snapshot: (((partner,), snapshot.calls.retries.get(partner, 0)) for partner in snapshot.calls.unsettled),
    ),
    Metric(
        name="opt_out_call_duration_seconds",
        kind=MetricKind.HISTOGRAM,
        labels=(),
        unit="seconds",
        meaning="How long tries took, those without an answer included.",
        read=lambda snapshot, _: (((str(bound),), count) for bound, count in snapshot.calls.duration_buckets),
    ),
    _gauge(
        "opt_out_calls_in_flight",
        "",
        "Calls being made now.",
        _of_run(lambda snapshot, _: snapshot.calls.in_flight),
    ),
    _gauge(
        "opt_out_calls_queued",
        "",
        "Calls that wait for their turn or for another try.",
        _of_run(lambda snapshot, _: snapshot.calls.queued),
    ),
    _gauge(
        "opt_out_partner_stopped",
        "partner by",
        "1 while calls of the partner are stopped or put off by this: `credentials` are refused, the `breaker` is "
        "open, `retry_after` was told, `not_found` is all that is answered, requests are `rejected`. 0 for partners "
        "that had calls and are not stopped.",
        _stopped,
    ),
    _gauge(
        "opt_out_partner_unsettled",
        "partner",
        "Calls of the partner that wait or are made.",
        lambda snapshot, _: (((partner,), count) for partner, count in snapshot.calls.unsettled.items()),
    ),
    _gauge(
        "opt_out_calls_gate_closed",
        "",
        "1 while calls wait and none leaves: outcomes or commits cannot be written, our clock is not believed, the "
        "loop stands, or the topics are in doubt.",
        _of_run(lambda snapshot, _: bool(snapshot.gate_closed)),
    ),
    _counter(
        "opt_out_repeats_skipped_total",
        "",
        "Offers that were found called before a restart, and so were not called again.",
        lambda snapshot: (((), snapshot.counts.repeats_skipped),),
    ),
    _counter(
        "opt_out_purchases_after_opt_out_total",
        "",
        "Offers that the insurer was told of and that were bought afterwards.",
        lambda snapshot: (((), snapshot.counts.purchases_after_opt_out),),
    ),
    _counter(
        "opt_out_dead_letters_total",
        "input reason",
        "Records dead-lettered, by reason.",
        lambda snapshot: (dict.fromkeys(DEAD_LETTERS, 0) | dict(snapshot.counts.dead_letters)).items(),
    ),
    _gauge(
        "opt_out_suspended",
        "reason",
        "1 while decisions are suspended by this guard; `gap`: for some partitions, behind a gap in their checkouts.",
        _suspended,
    ),
    _gauge(
        "opt_out_reading_paused",
        "",
        "1 while no offers are read, since `delivery.max_unsettled` are decided and not settled.",
        _of_run(lambda snapshot, _: snapshot.full),
    ),
    _gauge(
        "opt_out_clock_ahead_seconds",
        "",
        "By how much the clock of this machine is ahead of a witness's, the API's or a broker's; negative: behind. "
        "Absent if nobody told the time.",
        _of_run(lambda snapshot, _: snapshot.clock_ahead),
        "seconds",
    ),
    _gauge(
        "opt_out_assigned",
        "",
        "1 once the group has said which partitions are this member's, be it none.",
        _of_run(lambda snapshot, _: snapshot.assigned),
    ),
    _gauge(
        "opt_out_tasks",
        "",
        "Tasks that run here.",
        _of_run(lambda snapshot, _: len(snapshot.tasks)),
    ),
    _gauge(
        "opt_out_snapshot_age_seconds",
        "",
        "How old the other figures are: a second or so. It grows while the loop stands.",
        _of_run(lambda snapshot, now: _ago(snapshot.taken_at, now)),
        "seconds",
    ),
    _gauge(
        "opt_out_started_time_seconds",
        "",
        "When the run began, as a Unix time.",
        _of_run(lambda snapshot, _: snapshot.started_at / 1000),
        "seconds",
    ),
)
"""All that are read from a snapshot."""

BUILD_INFO = ("opt_out_build_info", ("version", "python", "librdkafka"), "1, with the versions of what runs.")
"""The one metric that is read from nothing; name, labels and meaning."""
