"""What a run is doing, as one frozen value: what metrics and the status page are made from.

The poll thread makes one about once a second and swaps it in; any other thread reads whichever is there. So nothing
that somebody asks from outside takes a lock, or waits for the loop, or costs a record anything. Counts are of this
process since its start and never fall. Times are Unix times in milliseconds, durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .events import Outcome, Reason

NOTHING: Mapping[str, int] = MappingProxyType({})

MOST_PARTNERS = 100
"""Partner codes that are told apart, those that came first. Each costs some thirty series of who stores the metrics,
and a producer may write any number of codes."""

MOST_STATUSES = 30
"""Status codes that are told apart: the insurer has a dozen, and what stands between may answer any."""

OTHER = "(other)"
"""Stands for those beyond."""

NO_ANSWER = "none"
"""Stands for the status of a try without an answer."""

STOPS = ("credentials", "breaker", "retry_after", "not_found", "rejected")
"""What stops the calls of a partner."""

SUSPENSIONS = ("clock", "checkout_silence", "unmatched", "misdated", "landing", "gap")
"""The guards that suspend decisions, by their short names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSnapshot:
    """One input of a task.

    Attributes:
        topic: its name.
        watermark: its own (ms); None while nothing is known.
        position: the first offset that has not been applied.
        committed: what the broker has acknowledged last, of this assignment; None: nothing yet.
        log_end: where the brokers said that the partition ends, which is asked for every some seconds, whether it is
            read or paused; None: not told yet.
        retention_left: seconds until retention may delete what the commit points to; None: it is kept for ever, or
            that is not known.
        retention: seconds that the topic keeps a record; None: for ever, or that is not known.
        paused: it is read no further for now.
    """

    topic: str
    watermark: int | None
    position: int
    committed: int | None = None
    log_end: int | None = None
    retention_left: float | None = None
    retention: float | None = None
    paused: bool = False

    @property
    def lag(self) -> int | None:
        """Records that are not applied yet; not what is not committed, which is a window of offers by design."""
        return None if self.log_end is None else max(0, self.log_end - self.position)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """What holds a watermark back now.

    Attributes:
        side: `offers` or `checkouts`.
        cause: its short name, one of `runtime.standstill.Cause`, in lower case.
        what: in words, with what to do.
        since: when the watermark moved last (ms).
        told: it has stood still for so long that the log says so.
    """

    side: str
    cause: str
    what: str
    since: int
    told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OldestUnsettled:
    """The offer that holds the commit of its partition: of those decided and not settled the first in the log.

    Attributes:
        partner_code, offer_id, session_id: whose it is. The last two are customers' data.
        offset: of its chain's last presentation.
        presented_at, due_at: when that was shown, and when it was due to be decided (ms).
        decided_at: when this process decided it, by its clock (ms): of a backlog that is days after it was due. As
            `due_at` if it was decided before the start; None: that is not known.
    """

    partner_code: str
    offer_id: str
    session_id: str
    offset: int
    presented_at: int
    due_at: int
    decided_at: int | None = None

    @property
    def waits_since(self) -> int:
        """Since when it is not settled though it could be (ms)."""
        return self.due_at if self.decided_at is None else max(self.due_at, self.decided_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSnapshot:
    """One task.

    Attributes:
        partition: its number.
        phase: `restoring`, `running` or `draining`.
        phase_since: since when (ms), or since this instance has it; None: that is not known.
        watermark: W (ms); None while nothing is known.
        offers, checkouts: its inputs.
        held_back: what holds the watermark; None: it has moved within the last seconds.
        sessions: in memory.
        open_presentations: read and not decided.
        kept_checkouts: in memory.
        due_uncalled: decided to be called, and not settled.
        first_calls: those of them that wait until the checkouts are read that were there when the task began.
        unsettled: decided and not settled.
        oldest_unsettled: the first of these in the log. Where tens of thousands wait, that of some seconds ago.
        committed_at: when the broker last acknowledged a commit of it, or had nothing better to acknowledge (ms); None:
            not yet.
        metadata_characters, metadata_limit: of the last commit, of the longer of its two texts, and what the broker
            takes.
    """

    partition: int
    phase: str
    watermark: int | None
    offers: InputSnapshot
    checkouts: InputSnapshot
    held_back: HeldBack | None = None
    sessions: int = 0
    open_presentations: int = 0
    kept_checkouts: int = 0
    due_uncalled: int = 0
    first_calls: int = 0
    unsettled: int = 0
    oldest_unsettled: OldestUnsettled | None = None
    committed_at: int | None = None
    metadata_characters: int = 0
    metadata_limit: int = 0
    phase_since: int | None = None

    @property
    def uncommitted_since(self) -> int | None:
        """Since when no commit of it was acknowledged (ms), where one could be; before the first, since it runs."""
        if self.committed_at is not None:
            return self.committed_at
        return self.phase_since if self.phase == "running" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerSnapshot:
    """One partner that has calls, or had some lately.

    Attributes:
        code: its partner code.
        unsettled, in_flight: calls that wait or are made.
        words: why its calls are not made, or `calling`.
        stopped_by: of `STOPS`, in this order; empty: nothing.
        stopped_since: since when (ms) it is, by the first of them; None: it is not, or since before anybody looked.
        last_status, last_note: of its last answer that was none of the contract's good ones, if there was one.
        rate_limit: calls a second that this instance may make with its credential; None: no limit.
        answered: calls by status code, `none` where there was no answer.
    """

    code: str
    unsettled: int = 0
    in_flight: int = 0
    words: str = "calling"
    stopped_by: tuple[str, ...] = ()
    stopped_since: int | None = None
    last_status: int | None = None
    last_note: str | None = None
    rate_limit: float | None = None
    answered: Mapping[str, int] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsSnapshot:
    """The calls of this process. Only so many partners are told apart here; the rest count as `(other)`.

    Attributes:
        queued, in_flight: now.
        retried: tries beyond the first of each call.
        gate_closed: why no call may leave, in words; empty: some may. By the last look, which each call has before it.
        gate_narrow: why calls leave one at a time, in words.
        unsettled: calls that wait or are made, by partner code.
        stopped: what stops calls, by partner code, of all partners that had calls.
        answers: tries by partner code and status code (`none`: no answer).
        retries: tries beyond the first of each call, by partner code.
        duration_buckets: how many tries took up to so many seconds, by rising bound, each with those below; the last
            bound is infinite.
        duration_sum: seconds of all tries.
    """

    queued: int = 0
    in_flight: int = 0
    retried: int = 0
    gate_closed: tuple[str, ...] = ()
    gate_narrow: tuple[str, ...] = ()
    unsettled: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    stopped: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    answers: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    retries: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    duration_buckets: tuple[tuple[float, int], ...] = ()
    duration_sum: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CountsSnapshot:
    """What this process has counted.

    Attributes:
        records: applied, by input (`offers`, `checkouts`), those included that a restart reads again.
        left_out: those of them that are of another kind.
        decisions: chains decided, by reason, those included that were decided before a restart and not settled.
        outcomes: chains settled, by outcome.
        dead_letters: by input and reason.
        repeats_skipped: chains that were found called before a restart, and so were not called again.
        purchases_after_opt_out: told to the insurer and bought afterwards.
    """

    records: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    left_out: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    decisions: Mapping[Reason, int] = field(default_factory=lambda: MappingProxyType({}))
    outcomes: Mapping[Outcome, int] = field(default_factory=lambda: MappingProxyType({}))
    dead_letters: Mapping[tuple[str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    repeats_skipped: int = 0
    purchases_after_opt_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """Decisions are suspended.

    Attributes:
        reason: of `SUSPENSIONS`.
        what: in words, with what to do.
        since: ms; None: since before this instance looked.
        partitions: those that decide nothing for it; empty: all.
    """

    reason: str
    what: str
    since: int | None
    partitions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentOutcome:
    """One of the last outcomes.

    Attributes:
        settled_at: ms.
        outcome, reason, status_code, note: as in the outcome topic.
        partner_code, offer_id, session_id: whose it is. The last two are customers' data.
        partition, offset: of the presentation.
    """

    settled_at: int
    outcome: str
    reason: str
    partner_code: str
    offer_id: str
    session_id: str
    partition: int
    offset: int
    status_code: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentDeadLetter:
    """One of the last dead letters: where its record stands, why, when it was written (ms). `error` may quote it."""

    written_at: int
    topic: str
    partition: int
    offset: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A run, at one moment.

    Attributes:
        taken_at: ms.
        started_at: when the process began (ms).
        group, instance: the consumer group, and this member of it: its `kafka.group_instance_id`, else its client.id,
            else the name of its host.
        assigned, stopping: see `Heartbeat`.
        tasks: that run here, by rising partition.
        halves: partitions of which one topic's is here and the other's is not, so that nothing of them is decided here.
        suspended: why decisions are suspended; empty: they are not.
        lateness: `join.lateness`, by which a watermark is behind the clock where all is well (seconds).
        offers_stopped: partitions of which no more offers are read while decisions are suspended.
        full: reading offers is paused, since too many are decided and not settled.
        clock_ahead: seconds by which our clock is at least ahead of a witness's (negative: behind), 0 within what
            their answers tell; None: nobody told.
        partners: those with calls first.
        outcomes, dead_letters: the last ones, newest first.
    """

    taken_at: int
    started_at: int
    group: str
    instance: str
    assigned: bool = False
    stopping: bool = False
    tasks: tuple[TaskSnapshot, ...] = ()
    halves: tuple[int, ...] = ()
    suspended: tuple[Suspended, ...] = ()
    lateness: float = 300.0
    offers_stopped: tuple[int, ...] = ()
    full: bool = False
    clock_ahead: float | None = None
    partners: tuple[PartnerSnapshot, ...] = ()
    calls: CallsSnapshot = field(default_factory=CallsSnapshot)
    counts: CountsSnapshot = field(default_factory=CountsSnapshot)
    outcomes: tuple[RecentOutcome, ...] = ()
    dead_letters: tuple[RecentDeadLetter, ...] = ()

    @property
    def gate_closed(self) -> tuple[str, ...]:
        """Why no call leaves, in words, while some wait. If none does, who knows when the gate was looked at."""
        return self.calls.gate_closed if any(task.due_uncalled for task in self.tasks) else ()
