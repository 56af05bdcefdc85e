"""What is said of each state, and in which order; and that the runbook has what is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.documents import MANUAL
from support.run_states import (
    GOOD_PULSE,
    HOUR,
    MINUTE,
    NOW,
    STATES,
    TRANSACTION,
    a_partner,
    a_snapshot,
    a_task,
    an_input,
    denied,
    full,
    in_transaction,
    oldest,
    restoring,
    suspended,
)

from consumer import manual, snapshot
from consumer.runtime.standstill import Cause
from consumer.server import problems
from consumer.server.health import HealthStatus
from consumer.server.problems import Problem, Pulse, Urgency, problems_of, urgency_of
from consumer.snapshot import CallsSnapshot, HeldBack, Snapshot, Suspended

ENTRIES = {heading.anchor for heading in manual.headings((MANUAL / "runbook.md").read_text()) if heading.level == 3}


def of(snapshot: Snapshot | None, pulse: Pulse = GOOD_PULSE) -> tuple[Problem, ...]:
    return problems_of(snapshot, pulse, NOW)


def only(snapshot: Snapshot | None, pulse: Pulse = GOOD_PULSE) -> Problem:
    (found,) = of(snapshot, pulse)
    return found


# --- the states


def test_nothing_is_said_of_what_is_well() -> None:
    assert of(a_snapshot()) == ()


def test_a_partner_that_is_denied_says_what_waits_why_since_when_and_where_the_commit_is() -> None:
    assert only(denied()) == Problem(
        sentence="partition 3: oldest unsettled offer is 1 h 16 min old, partner ACME answers 403 since 02:10; "
        "512 calls wait; committed offset held at 88,120",
        since=NOW - 41 * MINUTE - 14_000,
        entry="credentials-refused",
        urgency=Urgency.TODAY,
        partitions=(3,),
        partner="ACME",
    )


def test_tasks_that_restore_are_no_reason_to_act() -> None:
    found = only(restoring())
    assert found.sentence.startswith("partitions 0 and 1: what was read before the start is read again")
    assert (found.urgency, found.partitions) == (Urgency.NOT_URGENT, (0, 1))


def test_a_suspension_is_said_once_and_not_again_for_each_partition_that_it_holds() -> None:
    found = only(suspended())
    assert found.sentence.startswith("decisions are held: offers are presented, but no checkout comes.")
    assert (found.entry, found.since) == ("no-checkouts-come", NOW - 52 * MINUTE)


def test_an_open_transaction_is_said_with_its_topic_and_offset() -> None:
    found = only(in_transaction())
    assert found.sentence == (
        "partition 1: the watermark stands still since 02:44, held by checkout.completed at offset 40,007: "
        + TRANSACTION
    )
    assert (found.entry, found.urgency) == ("the-watermark-stands-still", Urgency.NOT_URGENT)


def test_reading_that_is_paused_and_the_partner_behind_it_are_said_and_not_each_watermark() -> None:
    first, second = of(full())
    assert first.sentence.startswith("offers are read no further, since 1,000,000 offers are decided and not settled")
    assert first.entry == "reading-is-paused"
    assert second.sentence == (
        "partitions 0, 1, 2 and 3: oldest unsettled offer is 9 h 38 min old, partner ACME does not answer since "
        "6 Nov 17:51; 1,000,000 calls wait; committed offsets held at 60,001, 60,002, 60,003 and 60,004"
    )
    assert second.entry == "breaker-opened"


# --- the process


def test_before_the_first_turn_it_says_what_readiness_says() -> None:
    pulse = GOOD_PULSE._replace(ready=HealthStatus(False, "the group has not said yet"))
    found = only(None, pulse)
    assert (found.sentence, found.urgency) == ("the group has not said yet", Urgency.NOT_URGENT)


@pytest.mark.parametrize(("up", "urgent"), [(30, False), (90, True)])
def test_a_group_that_assigns_nothing_is_urgent_after_a_minute(up: int, urgent: bool) -> None:
    found = only(a_snapshot(assigned=False, tasks=(), started_at=NOW - 1000 * up))
    assert found.entry == "the-group-has-assigned-nothing"
    assert (found.urgency is not Urgency.NOT_URGENT) == urgent


def test_a_loop_that_has_stood_for_long_is_said_and_before_that_how_old_all_is() -> None:
    old = a_snapshot(taken_at=NOW - 40_000)
    assert only(old).sentence == "the loop has not turned for 40 s, and what is shown below is as old"
    stuck = GOOD_PULSE._replace(live=HealthStatus(False, "the loop has not turned for 120 s, and is stuck beyond 95 s"))
    found = only(old, stuck)
    assert (found.sentence, found.entry, found.urgency) == (
        stuck.live.reason,
        "an-instance-is-not-live",
        Urgency.NOW,
    )


def test_brokers_that_do_not_answer_are_said_first_and_not_what_follows_from_it() -> None:
    silent = GOOD_PULSE._replace(waiting=("a commit", 412.0))
    stale = a_snapshot(taken_at=NOW - 412_000, tasks=(a_task(committed_at=NOW - 412_000),))
    found = only(stale, silent)
    assert found.sentence.startswith("the brokers have not answered for 6 min 52 s (a commit): nothing is read")
    assert (found.entry, found.since) == ("the-brokers-do-not-answer", NOW - 412_000)
    assert of(a_snapshot(), GOOD_PULSE._replace(waiting=("a commit", 2.0))) == ()


def test_a_stop_and_a_hand_over_are_no_reason_to_act() -> None:
    found = of(a_snapshot(stopping=True, tasks=(a_task(phase="draining"),)))
    assert [problem.urgency for problem in found] == [Urgency.NOT_URGENT] * 2


# --- the calls


def test_a_gate_that_is_closed_says_why_and_no_partner_is_blamed() -> None:
    tasks = (a_task(due_uncalled=512, oldest_unsettled=oldest()),)
    found = only(a_snapshot(tasks=tasks, calls=CallsSnapshot(gate_closed=("writes fail", "the clock is wrong"))))
    assert found.sentence == "no call leaves, and 512 offers wait: writes fail; the clock is wrong"
    assert found.entry == "no-call-leaves"


def test_a_gate_that_lets_calls_leave_singly_is_no_reason_to_act() -> None:
    calls = CallsSnapshot(gate_narrow=("no outcome of this run is known to be written",))
    found = only(a_snapshot(tasks=(a_task(due_uncalled=1),), calls=calls))
    assert found.sentence == "calls leave singly, and 1 offer waits: no outcome of this run is known to be written"
    assert found.urgency is Urgency.NOT_URGENT


def test_a_gate_that_no_call_has_looked_at_for_long_is_not_told_of() -> None:
    calls = CallsSnapshot(gate_closed=("the loop has only just gone on",))
    assert of(a_snapshot(tasks=(a_task(due_uncalled=0),), calls=calls)) == ()


@pytest.mark.parametrize(
    ("by", "status", "words", "entry"),
    [
        ("credentials", 401, "partner ACME answers 401 since 02:51; 6 calls wait", "credentials-refused"),
        (
            "credentials",
            None,
            "partner ACME has no credentials that are taken since 02:51; 6 calls wait",
            "credentials-refused",
        ),
        ("breaker", 503, "partner ACME answers 503 since 02:51; 6 calls wait", "breaker-opened"),
        ("breaker", None, "partner ACME does not answer since 02:51; 6 calls wait", "breaker-opened"),
        (
            "retry_after",
            None,
            "partner ACME answers 429 and has told us to wait since 02:51; 6 calls wait",
            "told-to-wait",
        ),
        ("not_found", 404, "partner ACME answers nothing but 404 since 02:51; 6 calls wait", "nothing-but-404s"),
        ("rejected", 422, "partner ACME refuses requests (422) since 02:51; 6 calls wait", "rejected"),
    ],
)
def test_each_thing_that_stops_a_partner_has_its_words(by: str, status: int | None, words: str, entry: str) -> None:
    partner = a_partner(stopped_by=(by,), stopped_since=NOW, last_status=status)
    found = only(a_snapshot(partners=(partner,)))
    assert (found.sentence, found.entry) == (words, entry)


@pytest.mark.parametrize(("due_ago", "urgency"), [(MINUTE, Urgency.NOT_URGENT), (16 * MINUTE, Urgency.TODAY)])
def test_what_ends_by_itself_is_for_today_when_it_does_not(due_ago: int, urgency: Urgency) -> None:
    partner = a_partner(stopped_by=("breaker",), stopped_since=NOW - due_ago)
    tasks = (a_task(oldest_unsettled=oldest(due_ago=due_ago)),)
    assert only(a_snapshot(partners=(partner,), tasks=tasks)).urgency is urgency


def test_a_transaction_that_lasts_is_for_today() -> None:
    snapshot = in_transaction()
    held = snapshot.tasks[1].held_back
    assert held is not None
    tasks = (replace(snapshot.tasks[1], held_back=replace(held, since=NOW - HOUR)),)
    assert only(replace(snapshot, tasks=tasks)).urgency is Urgency.TODAY


def test_offers_that_wait_long_for_their_turn_are_said_with_the_rate() -> None:
    late = a_task(2, oldest_unsettled=oldest(due_ago=20 * MINUTE))
    tasks = (late, a_task(1, oldest_unsettled=oldest(due_ago=MINUTE)))
    found = only(a_snapshot(tasks=tasks, partners=(a_partner(unsettled=9_000),)))
    assert found.sentence == (
        "partition 2: oldest unsettled offer is 55 min old, calls of partner ACME are made, at most 10 a second, and "
        "wait for their turn; 9,000 calls wait; committed offset held at 90,218"
    )
    assert found.entry == "an-offset-is-stuck"


# --- watermarks and commits


def test_watermarks_that_stand_for_one_cause_are_said_together_and_not_before_the_log_says_so() -> None:
    held = HeldBack(side="offers", cause="silent", what="the broker does not say", since=NOW - 2 * MINUTE, told=True)
    told = [a_task(n, held_back=held) for n in range(9)]
    untold = a_task(9, held_back=replace(held, told=False))
    found = only(a_snapshot(tasks=(*told, untold)))
    assert found.sentence == (
        "partitions 0, 1, 2, 3, 4, 5 and 3 more: the watermarks stand still since 02:49, held by offer.presented: "
        "the broker does not say"
    )
    assert found.partitions == tuple(range(9))


def test_commits_that_are_not_acknowledged_are_said() -> None:
    found = only(a_snapshot(tasks=(a_task(4, committed_at=NOW - 8 * MINUTE), a_task(5))))
    assert found.sentence.startswith("partition 4: no commit has been acknowledged since 02:43")
    assert found.entry == "commit-failed"


def test_retention_that_is_about_to_delete_what_is_needed_is_said() -> None:
    found = only(a_snapshot(tasks=(a_task(checkouts=an_input("checkout.completed", retention_left=1_800.0)),)))
    assert found.sentence.startswith("partition 0: retention deletes in 30 min what the commit of checkout.completed")
    assert found.urgency is urgency_of("a-held-commit-nears-the-retention")


# --- all of them


def test_the_most_urgent_comes_first() -> None:
    snapshot = replace(restoring(), partners=denied().partners)
    stuck = GOOD_PULSE._replace(live=HealthStatus(False, "stuck"))
    urgencies = [problem.urgency for problem in of(snapshot, stuck)]
    assert urgencies == [Urgency.NOW, Urgency.TODAY, Urgency.NOT_URGENT]


def test_every_entry_that_is_named_exists() -> None:
    assert len(problems.ENTRIES) > 15
    assert problems.ENTRIES <= ENTRIES


def test_every_entry_of_a_state_is_one_of_them() -> None:
    assert {problem.entry for make in STATES.values() for problem in of(make())} <= problems.ENTRIES


def test_the_causes_are_those_that_there_are() -> None:
    assert set(problems.CAUSES) <= {cause.name.lower() for cause in Cause}


def test_whatever_suspends_decisions_or_stops_calls_has_an_entry() -> None:
    assert set(problems.SUSPENSIONS) == set(snapshot.SUSPENSIONS)
    assert set(problems.STOPS) == set(snapshot.STOPS)


@pytest.mark.parametrize("reason", snapshot.SUSPENSIONS)
def test_each_suspension_has_its_entry(reason: str) -> None:
    found = only(a_snapshot(suspended=(Suspended(reason=reason, what="w", since=NOW, partitions=(2,)),)))
    assert (found.sentence, found.entry) == ("partition 2: w", problems.SUSPENSIONS[reason])


def test_how_urgent_an_entry_is_stands_in_the_runbook() -> None:
    assert urgency_of("an-instance-is-not-live") is Urgency.NOW
    assert urgency_of("credentials-refused") is Urgency.TODAY
    assert urgency_of("breaker-opened") is Urgency.NOT_URGENT
