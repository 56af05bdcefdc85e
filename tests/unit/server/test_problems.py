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
    a_snapshot,
    a_task,
    an_input,
    denied,
    full,
    in_transaction,
    restoring,
    suspended,
)

from consumer import manual, snapshot
from consumer.runtime.standstill import Cause
from consumer.server import call_problems, problems
from consumer.server.health import HealthStatus
from consumer.server.history import History
from consumer.server.problem import Problem, Urgency
from consumer.server.problems import Pulse, problems_of
from consumer.snapshot import HeldBack, Snapshot, Suspended

ENTRIES = {heading.anchor for heading in manual.headings((MANUAL / "runbook.md").read_text()) if heading.level == 3}


def of(*snapshots: Snapshot | None, pulse: Pulse = GOOD_PULSE) -> tuple[Problem, ...]:
    """What is said of the last one, after the others. One alone has no history."""
    history = History()
    for one in snapshots if len(snapshots) > 1 else ():
        assert one is not None
        history.note(one)
    return problems_of(snapshots[-1], pulse, NOW, history.hour(NOW))


def only(*snapshots: Snapshot | None, pulse: Pulse = GOOD_PULSE) -> Problem:
    (found,) = of(*snapshots, pulse=pulse)
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
    found = only(None, pulse=pulse)
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
    found = only(old, pulse=stuck)
    assert (found.sentence, found.entry, found.urgency) == (
        stuck.live.reason,
        "an-instance-is-not-live",
        Urgency.NOW,
    )


def test_brokers_that_do_not_answer_are_said_first_and_not_what_follows_from_it() -> None:
    silent = GOOD_PULSE._replace(waiting=("a commit", 412.0))
    stale = a_snapshot(taken_at=NOW - 412_000, tasks=(a_task(committed_at=NOW - 412_000),))
    found = only(stale, pulse=silent)
    assert found.sentence.startswith("the brokers have not answered for 6 min 52 s (a commit): nothing is read")
    assert (found.entry, found.since) == ("the-brokers-do-not-answer", NOW - 412_000)
    assert of(a_snapshot(), pulse=GOOD_PULSE._replace(waiting=("a commit", 2.0))) == ()


def test_figures_that_are_old_while_the_loop_turns_are_no_loop_that_stands() -> None:
    old = a_snapshot(taken_at=NOW - 5 * MINUTE)
    found = only(old, pulse=GOOD_PULSE._replace(turned_ago=0.1))
    assert found.sentence == (
        "what the run is doing could not be told for 5 min, and what is shown below is as old; it goes on"
    )
    assert found.entry == "metrics-stay-as-they-are"
    assert only(old, pulse=GOOD_PULSE._replace(turned_ago=300.0)).entry == "the-loop-has-not-turned"


@pytest.mark.parametrize(("ago", "urgency"), [(40, Urgency.NOT_URGENT), (61, Urgency.NOW)])
def test_a_loop_that_hands_partitions_over_may_stand_for_some_seconds(ago: int, urgency: Urgency) -> None:
    assert only(a_snapshot(taken_at=NOW - 1_000 * ago)).urgency is urgency


def test_a_stop_in_order_is_no_trouble_while_calls_in_flight_may_end() -> None:
    """They have 20 s of `delivery.shutdown_timeout`, in which no turn ends and no further snapshot is made."""
    found = only(a_snapshot(stopping=True, taken_at=NOW - 15_000))
    assert (found.urgency, found.since) == (Urgency.NOT_URGENT, NOW - 15_000)
    assert "it stops" in found.sentence


@pytest.mark.parametrize(("minutes", "urgency"), [(14, Urgency.NOT_URGENT), (16, Urgency.TODAY)])
def test_a_task_that_restores_for_long_is_for_today(minutes: int, urgency: Urgency) -> None:
    task = a_task(phase="restoring", watermark=None, phase_since=NOW - minutes * MINUTE)
    found = only(a_snapshot(tasks=(task,)))
    assert (found.urgency, found.since) == (urgency, NOW - minutes * MINUTE)


def test_partitions_that_wait_for_their_pair_are_said() -> None:
    half = a_snapshot(tasks=(), halves=(3,))
    found = only(half)
    assert found.sentence.startswith("partition 3: nothing is decided here, since the pair of the other topic")
    assert (found.entry, found.urgency) == ("partitions-wait-for-their-pair", Urgency.TODAY)
    before = a_snapshot(taken_at=NOW - HOUR)
    assert only(before, replace(half, taken_at=NOW - 50_000), half).urgency is Urgency.NOT_URGENT


@pytest.mark.parametrize(("minutes", "urgency"), [(29, Urgency.NOT_URGENT), (31, Urgency.TODAY)])
def test_a_gap_that_does_not_end_is_for_today(minutes: int, urgency: Urgency) -> None:
    held = a_snapshot(suspended=(Suspended(reason="gap", what="w", since=None),))
    before = a_snapshot(taken_at=NOW - HOUR)
    assert only(before, replace(held, taken_at=NOW - minutes * MINUTE), held).urgency is urgency


def test_a_stop_and_a_hand_over_are_no_reason_to_act() -> None:
    found = of(a_snapshot(stopping=True, tasks=(a_task(phase="draining"),)))
    assert [problem.urgency for problem in found] == [Urgency.NOT_URGENT] * 2


# --- watermarks and commits


def test_a_transaction_that_lasts_is_for_today() -> None:
    snapshot = in_transaction()
    held = snapshot.tasks[1].held_back
    assert held is not None
    tasks = (replace(snapshot.tasks[1], held_back=replace(held, since=NOW - HOUR)),)
    assert only(replace(snapshot, tasks=tasks)).urgency is Urgency.TODAY


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
    assert found.urgency is Urgency.NOW


@pytest.mark.parametrize(
    ("cause", "minutes", "urgency"),
    [
        *((cause, 10, Urgency.TODAY) for cause in ("silent", "in_doubt", "unread", "reading", "unknown")),
        ("silent", 4, Urgency.NOT_URGENT),
        *((cause, 10, Urgency.NOT_URGENT) for cause in ("distrusted", "transaction")),
        *((cause, 16, Urgency.TODAY) for cause in ("distrusted", "transaction")),
        ("behind", 2, Urgency.TODAY),
    ],
)
def test_how_urgent_a_standstill_is(cause: str, minutes: int, urgency: Urgency) -> None:
    """The runbook: not urgent for what ends by itself, today otherwise."""
    held = HeldBack(side="checkouts", cause=cause, what="w", since=NOW - minutes * MINUTE, told=True)
    assert only(a_snapshot(tasks=(a_task(held_back=held),))).urgency is urgency


def test_distrust_lasts_for_lateness_and_is_no_trouble_meanwhile() -> None:
    held = HeldBack(side="offers", cause="distrusted", what="w", since=NOW - HOUR, told=True)
    tasks = (a_task(held_back=held, watermark=NOW - HOUR),)
    assert only(a_snapshot(tasks=tasks, lateness=3_600.0)).urgency is Urgency.NOT_URGENT


def test_a_standstill_of_hours_is_for_now() -> None:
    held = HeldBack(side="offers", cause="transaction", what="w", since=NOW - 3 * HOUR, told=True)
    found = only(a_snapshot(tasks=(a_task(held_back=held, watermark=NOW - 3 * HOUR),)))
    assert (found.urgency, found.entry) == (Urgency.NOW, "the-watermark-stands-still")


def test_a_standstill_that_was_taken_over_is_not_said_to_be_as_young_as_the_instance() -> None:
    held = HeldBack(side="offers", cause="transaction", what="w", since=NOW - 3 * MINUTE, told=True)
    found = only(a_snapshot(tasks=(a_task(held_back=held, phase_since=NOW - 3 * MINUTE),)))
    assert found.sentence.startswith("partition 0: the watermark stands still since it runs here, 02:48, held by")
    assert found.since is None
    assert only(a_snapshot(tasks=(a_task(held_back=held, phase_since=NOW - 4 * MINUTE),))).since == NOW - 3 * MINUTE


def moving(pace: float) -> list[Snapshot]:
    """A watermark four hours behind that moves by so many seconds in a second."""
    return [
        a_snapshot(taken_at=NOW - ago * MINUTE, tasks=(a_task(watermark=NOW - 4 * HOUR - round(pace * ago * MINUTE)),))
        for ago in range(8, -1, -1)
    ]


@pytest.mark.parametrize(
    ("pace", "urgency", "words"),
    [
        (20.0, Urgency.NOT_URGENT, "decisions are 4 h behind the clock; it catches up"),
        (0.5, Urgency.NOW, "decisions are 4 h behind the clock; it does not catch up: it is held back, or offers come"),
    ],
)
def test_decisions_that_are_late_catch_up_or_do_not(pace: float, urgency: Urgency, words: str) -> None:
    found = only(*moving(pace))
    assert (found.entry, found.urgency, found.partitions) == ("decisions-are-late", urgency, (0,))
    assert found.sentence.startswith(f"partition 0: {words}")


def test_a_task_that_has_just_come_is_taken_to_catch_up_while_its_watermark_moves() -> None:
    late = a_task(watermark=NOW - HOUR)
    standing = replace(late, held_back=HeldBack(side="offers", cause="reading", what="w", since=NOW, told=False))
    assert only(a_snapshot(tasks=(late,))).urgency is Urgency.NOT_URGENT
    assert only(a_snapshot(tasks=(standing,))).urgency is Urgency.TODAY


def test_several_that_are_late_are_said_together() -> None:
    tasks = (a_task(0, watermark=NOW - HOUR), a_task(1, watermark=NOW - 2 * HOUR))
    assert only(a_snapshot(tasks=tasks)).sentence == (
        "partitions 0 and 1: decisions are up to 2 h behind the clock; they catch up"
    )


def test_commits_that_fail_from_the_first_on_are_said_since_the_task_runs() -> None:
    def first(minutes: int, phase: str = "running") -> tuple[Problem, ...]:
        return of(a_snapshot(tasks=(a_task(committed_at=None, phase=phase, phase_since=NOW - minutes * MINUTE),)))

    assert [(one.entry, one.urgency, one.since) for one in first(6)] == [
        ("commit-failed", Urgency.TODAY, NOW - 6 * MINUTE)
    ]
    assert first(4) == ()
    assert {one.entry for one in first(6, "restoring")} == {"an-instance-is-not-ready"}


def test_old_records_that_are_read_for_the_first_time_are_soon_behind() -> None:
    old = a_snapshot(tasks=(a_task(offers=an_input(retention_left=600.0), watermark=NOW - 20 * HOUR),))
    soon = {
        one.entry: one.urgency for one in of(a_snapshot(taken_at=NOW - HOUR), replace(old, taken_at=NOW - 5_000), old)
    }
    assert soon["a-held-commit-nears-the-retention"] is Urgency.NOT_URGENT
    long = {one.entry: one.urgency for one in of(replace(old, taken_at=NOW - 11 * MINUTE), old)}
    assert long["a-held-commit-nears-the-retention"] is Urgency.NOW


def test_a_clock_that_differs_is_said_before_decisions_are_held_and_once() -> None:
    found = only(a_snapshot(clock_ahead=-200.0))
    assert found.sentence.startswith("the clock of this machine is 3 min 20 s behind that of the API or the brokers")
    assert (found.entry, found.urgency) == ("the-clock-is-wrong", Urgency.TODAY)
    held = Suspended(reason="clock", what="the clock is wrong", since=NOW)
    assert only(a_snapshot(clock_ahead=-900.0, suspended=(held,))).urgency is Urgency.NOW


def test_a_commit_without_room_is_for_this_week_once_it_lasts() -> None:
    nearly = a_snapshot(tasks=(a_task(metadata_characters=4_000),))
    assert only(nearly).urgency is Urgency.THIS_WEEK
    assert only(a_snapshot(taken_at=NOW - HOUR), replace(nearly, taken_at=NOW - MINUTE), nearly).urgency is (
        Urgency.NOT_URGENT
    )


def test_offers_that_are_read_no_further_are_said_beside_what_holds_decisions() -> None:
    silence = Suspended(reason="checkout_silence", what="w", since=NOW)
    found = {one.entry: one.urgency for one in of(a_snapshot(suspended=(silence,), offers_stopped=(1,)))}
    assert found == {"no-checkouts-come": Urgency.NOW, "offers-are-read-no-further": Urgency.NOW}
    gap = Suspended(reason="gap", what="w", since=NOW)
    assert {one.urgency for one in of(a_snapshot(suspended=(gap,), offers_stopped=(1,)))} == {Urgency.NOT_URGENT}


# --- all of them


def test_the_most_urgent_comes_first() -> None:
    snapshot = replace(restoring(), partners=denied().partners)
    stuck = GOOD_PULSE._replace(live=HealthStatus(False, "stuck"))
    urgencies = [problem.urgency for problem in of(snapshot, pulse=stuck)]
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
    assert set(call_problems.STOPS) == set(snapshot.STOPS)


@pytest.mark.parametrize("reason", snapshot.SUSPENSIONS)
def test_each_suspension_has_its_entry(reason: str) -> None:
    found = only(a_snapshot(suspended=(Suspended(reason=reason, what="w", since=NOW, partitions=(2,)),)))
    assert (found.sentence, found.entry) == (
        "partition 2: w; 1,254 offers are read and not decided",
        problems.SUSPENSIONS[reason],
    )
