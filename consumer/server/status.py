"""The state of a run as people and programs are shown it: a pure function of the newest snapshot.

What customers' data may hold is taken out here, before the page or the JSON is made from it, so that neither can show
it: ids of offers and sessions, and texts of others that may quote them. Such a text is not looked through for ids. An
insurer's answer may quote one in any form, and a record that cannot be decoded is quoted as it came; a filter would
only be right most of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from .. import __version__, runbook
from ..snapshot import InputSnapshot, PartnerSnapshot, Snapshot, TaskSnapshot
from .history import Hour
from .problem import Problem, Urgency
from .problems import Pulse, problems_of
from .words import iso


class Verdict(Enum):
    """Whether it is well."""

    WELL = "well"
    WAITING = "waiting"
    """Something waits that ends by itself."""
    TROUBLE = "trouble"
    """Somebody has to do something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that is shown.

    Attributes:
        at: when it was asked for (ms).
        pulse: whether it is live and ready.
        snapshot: of the run, without customers' data unless they are shown; None: the loop has not turned yet.
        problems: the most urgent first.
        hour: the last one.
        shows_ids: as `server.show_ids`.
    """

    at: int
    pulse: Pulse
    snapshot: Snapshot | None
    problems: tuple[Problem, ...] = ()
    hour: Hour = field(default_factory=Hour)
    shows_ids: bool = False

    @property
    def verdict(self) -> Verdict:
        """Of all problems together."""
        if not self.problems:
            return Verdict.WELL
        urgent = any(problem.urgency is not Urgency.NOT_URGENT for problem in self.problems)
        return Verdict.TROUBLE if urgent else Verdict.WAITING


def status_of(snapshot: Snapshot | None, pulse: Pulse, hour: Hour, now: int, *, show_ids: bool) -> Status:
    """What is shown at this time (ms)."""
    if snapshot is not None and not show_ids:
        snapshot = without_ids(snapshot)
    problems = problems_of(snapshot, pulse, now, hour)
    return Status(at=now, pulse=pulse, snapshot=snapshot, problems=problems, hour=hour, shows_ids=show_ids)


def without_ids(snapshot: Snapshot) -> Snapshot:
    """The same without ids of offers and sessions, and without others' texts; empty texts stand for them."""
    return replace(
        snapshot,
        tasks=tuple(
            replace(task, oldest_unsettled=replace(task.oldest_unsettled, offer_id="", session_id=""))
            if task.oldest_unsettled is not None
            else task
            for task in snapshot.tasks
        ),
        partners=tuple(replace(partner, last_note=None) for partner in snapshot.partners),
        outcomes=tuple(replace(one, offer_id="", session_id="", note=None) for one in snapshot.outcomes),
        dead_letters=tuple(replace(one, error="") for one in snapshot.dead_letters),
    )


def delay(task: TaskSnapshot, now: int) -> float | None:
    """Seconds by which a task's watermark is behind the clock; None: it has none."""
    return None if task.watermark is None else (now - task.watermark) / 1000


def document(status: Status) -> dict[str, Any]:
    """The JSON of `/status`: times are ISO 8601 in UTC, lengths are seconds, null is what is not known or not shown."""
    snapshot = status.snapshot
    known = {} if snapshot is None else _of_the_run(snapshot, status)
    return {
        "verdict": status.verdict.value,
        "version": __version__,
        "at": iso(status.at),
        "ids_shown": status.shows_ids,
        "live": {"ok": status.pulse.live.ok, "reason": status.pulse.live.reason},
        "ready": {"ok": status.pulse.ready.ok, "reason": status.pulse.ready.reason},
        "problems": [
            {
                "sentence": problem.sentence,
                "since": iso(problem.since),
                "urgency": problem.urgency.value,
                "partitions": list(problem.partitions),
                "partner": problem.partner,
                "runbook": f"manual/runbook#{problem.entry}",
                "command": runbook.command_for(problem.entry),
            }
            for problem in status.problems
        ],
        "run": known or None,
        "last_hour": [
            {"minute": iso(one.begin), "answered": one.answered, "failed": one.failed, "decided": one.decided}
            for one in status.hour.minutes
        ],
    }


def _of_the_run(snapshot: Snapshot, status: Status) -> dict[str, Any]:
    calls, counts = snapshot.calls, snapshot.counts
    return {
        "taken_at": iso(snapshot.taken_at),
        "started_at": iso(snapshot.started_at),
        "group": snapshot.group,
        "instance": snapshot.instance,
        "assigned": snapshot.assigned,
        "stopping": snapshot.stopping,
        "reading_paused": snapshot.full,
        "offers_stopped": list(snapshot.offers_stopped),
        "clock_ahead_seconds": snapshot.clock_ahead,
        "waiting_for_their_pair": list(snapshot.halves),
        "suspended": [
            {"reason": one.reason, "what": one.what, "since": iso(one.since), "partitions": list(one.partitions)}
            for one in snapshot.suspended
        ],
        "tasks": [_task(task, status.at) for task in snapshot.tasks],
        "partners": [_partner(partner, status.hour.rates) for partner in snapshot.partners],
        "calls": {
            "queued": calls.queued,
            "in_flight": calls.in_flight,
            "retried": calls.retried,
            "gate_closed": list(snapshot.gate_closed),
        },
        "counts": {
            "records": dict(counts.records),
            "left_out": dict(counts.left_out),
            "decisions": {reason.value: count for reason, count in counts.decisions.items()},
            "outcomes": {outcome.value: count for outcome, count in counts.outcomes.items()},
            "dead_letters": [
                {"input": side, "reason": reason, "count": count}
                for (side, reason), count in counts.dead_letters.items()
            ],
            "repeats_skipped": counts.repeats_skipped,
            "purchases_after_opt_out": counts.purchases_after_opt_out,
        },
        "outcomes": [
            {
                "settled_at": iso(one.settled_at),
                "outcome": one.outcome,
                "reason": one.reason,
                "status_code": one.status_code,
                "partner_code": one.partner_code,
                "partition": one.partition,
                "offset": one.offset,
                "offer_id": one.offer_id or None,
                "session_id": one.session_id or None,
                "note": one.note,
            }
            for one in snapshot.outcomes
        ],
        "dead_letters": [
            {
                "written_at": iso(one.written_at),
                "reason": one.reason,
                "topic": one.topic,
                "partition": one.partition,
                "offset": one.offset,
                "error": one.error or None,
            }
            for one in snapshot.dead_letters
        ],
    }


def _task(task: TaskSnapshot, now: int) -> dict[str, Any]:
    held, oldest = task.held_back, task.oldest_unsettled
    return {
        "partition": task.partition,
        "phase": task.phase,
        "phase_since": iso(task.phase_since),
        "watermark": iso(task.watermark),
        "delay_seconds": delay(task, now),
        "held_back": held
        and {"input": held.side, "cause": held.cause, "what": held.what, "since": iso(held.since), "told": held.told},
        "offers": _input(task.offers),
        "checkouts": _input(task.checkouts),
        "sessions": task.sessions,
        "open_presentations": task.open_presentations,
        "kept_checkouts": task.kept_checkouts,
        "due_uncalled": task.due_uncalled,
        "first_calls": task.first_calls,
        "unsettled": task.unsettled,
        "oldest_unsettled": oldest
        and {
            "partner_code": oldest.partner_code,
            "offset": oldest.offset,
            "presented_at": iso(oldest.presented_at),
            "due_at": iso(oldest.due_at),
            "decided_at": iso(oldest.decided_at),
            "offer_id": oldest.offer_id or None,
            "session_id": oldest.session_id or None,
        },
        "committed_at": iso(task.committed_at),
        "metadata_characters": task.metadata_characters,
        "metadata_limit": task.metadata_limit,
    }


def _input(one: InputSnapshot) -> dict[str, Any]:
    return {
        "topic": one.topic,
        "watermark": iso(one.watermark),
        "position": one.position,
        "committed": one.committed,
        "log_end": one.log_end,
        "lag": one.lag,
        "retention_left_seconds": one.retention_left,
        "retention_seconds": one.retention,
        "paused": one.paused,
    }


def _partner(partner: PartnerSnapshot, rates: Mapping[str, float]) -> dict[str, Any]:
    rate = rates.get(partner.code)
    return {
        "partner_code": partner.code,
        "state": partner.words,
        "stopped_by": list(partner.stopped_by),
        "stopped_since": iso(partner.stopped_since),
        "unsettled": partner.unsettled,
        "in_flight": partner.in_flight,
        "answers": dict(partner.answered),
        "tries_a_second": None if rate is None else round(rate, 3),
        "rate_limit": partner.rate_limit,
        "last_status": partner.last_status,
        "last_note": partner.last_note,
    }
