"""Whoever is woken by an alert opens the page of the instance: it must not say that all is well.

So for each alert there is a run here in which it fires by what this instance tells, and the page says trouble of it,
with the entry that the alert leads to. And what the runbook calls urgent is on the page or has an alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from support.prometheus import ALERTS
from support.run_states import GOOD_PULSE, HOUR, MINUTE, NOW, a_partner, a_snapshot, a_task, an_input, oldest

from consumer import runbook
from consumer.events import Outcome
from consumer.server.health import HealthStatus
from consumer.server.history import History
from consumer.server.problem import Urgency, urgency_of
from consumer.server.problems import ENTRIES, Pulse
from consumer.server.status import Status, Verdict, status_of
from consumer.snapshot import CallsSnapshot, CountsSnapshot, HeldBack, Snapshot, Suspended

SEEN_FROM_OUTSIDE = {
    "OptOutNotSeen": "there is no instance",
    "OptOutPartitionsUnattended": "no instance has them",
    "OptOutInstanceDown": "it does not answer",
    "OptOutRestarts": "each process knows of itself alone",
}
"""Alerts of which no page can tell."""

ONLY_BY_HISTORY = {
    "OptOutToldToWait",
    "OptOutCallsFail",
    "OptOutManyNotFound",
    "OptOutPurchaseAfterOptOut",
    "OptOutDeadLetters",
    "OptOutDeadLettersAddUp",
    "OptOutForeignCheckoutKeys",
}
"""Those of what has risen."""


def lasting(of: int = HOUR, **changes: Any) -> list[Snapshot]:
    """It has been so for that long (ms); before that all was well."""
    begin = NOW - of
    return [
        a_snapshot(taken_at=begin - MINUTE),
        *(a_snapshot(taken_at=at, **changes) for at in range(begin, NOW, 5 * MINUTE)),
        a_snapshot(taken_at=NOW - 400, **changes),
    ]


def risen(over: int, before: dict[str, Any], after: dict[str, Any]) -> list[Snapshot]:
    """It has risen within that time (ms)."""
    return [a_snapshot(taken_at=NOW - over + 5_000, **before), a_snapshot(**after)]


def stopped(by: str) -> list[Snapshot]:
    partner = a_partner(stopped_by=(by,), stopped_since=NOW - HOUR, last_status=503)
    return lasting(partners=(partner,), calls=CallsSnapshot(stopped={"ACME": (by,)}, unsettled={"ACME": 6}))


def suspended(reason: str) -> list[Snapshot]:
    return lasting(suspended=(Suspended(reason=reason, what="why", since=NOW - HOUR),))


def told_to_wait() -> list[Snapshot]:
    calls = CallsSnapshot(stopped={"ACME": ("retry_after",)}, unsettled={"ACME": 6})
    waits = [a_snapshot(taken_at=NOW - 1_000 * ago, calls=calls, partners=()) for ago in range(1_800, 0, -1)]
    return [*waits, a_snapshot(partners=(), calls=replace(calls, stopped={"ACME": ()}))]


def dead(count: int, side: str = "offers", reason: str = "late") -> dict[str, Any]:
    return {"counts": CountsSnapshot(dead_letters={(side, reason): count})}


def bought(count: int) -> dict[str, Any]:
    return {"counts": CountsSnapshot(purchases_after_opt_out=count, outcomes={Outcome.OPTED_OUT: 10 * count})}


def answered(**statuses: int) -> dict[str, Any]:
    answers = {("ACME", status[1:]): count for status, count in statuses.items()}
    return {"calls": CallsSnapshot(answers=MappingProxyType(answers))}


HELD = HeldBack(side="checkouts", cause="unread", what="they do not come", since=NOW - HOUR, told=True)

RUNS: dict[str, Sequence[Snapshot]] = {
    "OptOutLoopStands": [a_snapshot(taken_at=NOW - 125_000)],
    "OptOutNotAssigned": lasting(assigned=False, tasks=()),
    "OptOutRestoringLong": lasting(tasks=(a_task(phase="restoring", watermark=None, phase_since=NOW - 20 * MINUTE),)),
    "OptOutDecisionsLate": lasting(tasks=(a_task(watermark=NOW - HOUR),)),
    "OptOutDecisionsVeryLate": lasting(tasks=(a_task(watermark=NOW - 30 * HOUR),)),
    "OptOutWatermarkStands": lasting(tasks=(a_task(held_back=HELD),)),
    "OptOutNoCheckouts": suspended("checkout_silence"),
    "OptOutPurchasesMatchNothing": suspended("unmatched"),
    "OptOutCheckoutsMisdated": suspended("misdated"),
    "OptOutClockWrong": suspended("clock"),
    "OptOutDecisionsWait": suspended("gap"),
    "OptOutClockAhead": lasting(clock_ahead=-2.5),
    "OptOutReadingPaused": lasting(full=True),
    "OptOutCredentialsRefused": stopped("credentials"),
    "OptOutBreakerOpen": stopped("breaker"),
    "OptOutNothingButNotFound": stopped("not_found"),
    "OptOutRejected": stopped("rejected"),
    "OptOutToldToWait": told_to_wait(),
    "OptOutNoCallLeaves": lasting(calls=CallsSnapshot(gate_closed=("outcomes cannot be written",))),
    "OptOutCallsFail": risen(10 * MINUTE, answered(s204=0, s503=0), answered(s204=100, s503=900)),
    "OptOutManyNotFound": risen(HOUR, answered(s204=0, s404=0), answered(s204=60, s404=540)),
    "OptOutOldestUnsettled": lasting(tasks=(a_task(oldest_unsettled=oldest(due_ago=65 * MINUTE)),)),
    "OptOutPurchaseAfterOptOut": risen(HOUR, bought(0), bought(6)),
    "OptOutCommitOld": lasting(tasks=(a_task(committed_at=None, phase_since=NOW - 15 * MINUTE),)),
    "OptOutRetentionEnds": lasting(tasks=(a_task(offers=an_input(retention_left=11 * 3_600.0)),)),
    "OptOutRetentionHalfUsed": lasting(
        tasks=(a_task(offers=an_input(retention_left=3 * 86_400.0, retention=7 * 86_400.0)),)
    ),
    "OptOutCommitMetadataFull": lasting(tasks=(a_task(metadata_characters=3_700, metadata_limit=4_095),)),
    "OptOutDeadLetters": risen(15 * MINUTE, dead(0), dead(11)),
    "OptOutDeadLettersAddUp": [
        *(a_snapshot(taken_at=NOW - (23 - hour) * HOUR, **dead(5 * hour)) for hour in range(23)),
        a_snapshot(taken_at=NOW, **dead(120)),
    ],
    "OptOutForeignCheckoutKeys": risen(
        15 * MINUTE, dead(0, "checkouts", "key_mismatch"), dead(1, "checkouts", "key_mismatch")
    ),
}


def status(run: Sequence[Snapshot], pulse: Pulse = GOOD_PULSE) -> Status:
    history = History()
    for one in run:
        history.note(one)
    return status_of(run[-1], pulse, history.hour(NOW), NOW, show_ids=False)


def test_each_alert_has_a_run_here_or_no_page_could_tell() -> None:
    assert ALERTS.keys() <= RUNS.keys() | SEEN_FROM_OUTSIDE.keys()
    assert not RUNS.keys() & SEEN_FROM_OUTSIDE.keys()


@pytest.mark.parametrize("alert", [name for name in RUNS if name in ALERTS])
def test_what_an_alert_fires_for_is_trouble_and_leads_to_the_same_entry(alert: str) -> None:
    found = status(RUNS[alert])
    assert found.verdict is Verdict.TROUBLE
    entry = ALERTS[alert]["annotations"]["runbook"].partition("#")[2]
    assert entry in {problem.entry for problem in found.problems}


@pytest.mark.parametrize("alert", RUNS)
def test_no_run_of_these_is_said_to_be_well(alert: str) -> None:
    assert status(RUNS[alert]).verdict is Verdict.TROUBLE


@pytest.mark.parametrize("alert", sorted(RUNS.keys() - ONLY_BY_HISTORY))
def test_what_is_so_is_said_at_once(alert: str) -> None:
    """A process that has just begun has no history, and an alert that fires goes on firing."""
    assert status(RUNS[alert][-1:]).problems


def test_a_run_in_which_none_fires_is_well() -> None:
    assert status(lasting()).verdict is Verdict.WELL


ENDS_THE_PROCESS = {"write-failed", "the-loop-stands-still"}
"""Told by what is missing then."""

SAID_ONCE = {
    "a-new-group-starts": "at the start, to who starts it",
    "found-at-the-start-of-the-task": "at the start, and now only for metadata that nobody can read",
    "some-keys-are-in-a-wrong-partition": "when they are sampled; more of it stops the service",
}
"""Entries that are urgent, and of which the log alone tells."""


def test_what_the_runbook_calls_now_is_on_the_page_or_has_an_alert() -> None:
    told = {rule["annotations"]["runbook"].partition("#")[2] for rule in ALERTS.values()} | ENTRIES | ENDS_THE_PROCESS
    now = {entry for entry in runbook.LINES.values() if urgency_of(entry) is Urgency.NOW}
    assert now - told == SAID_ONCE.keys()


def test_a_loop_that_is_stuck_is_said_though_its_last_snapshot_was_well() -> None:
    stuck = GOOD_PULSE._replace(live=HealthStatus(False, "the loop has not turned for 120 s"))
    assert status(lasting(), stuck).verdict is Verdict.TROUBLE
