"""The two guards against a broken checkout producer: what they hold, and what lets go."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest
from support.guarded_instance import BEGIN, LATER, LIMIT, RULES, SILENCE, Instance
from support.strategies import START

from consumer.core import guards
from consumer.core.checkpoint import CheckoutCheckpoint, GuardState, OfferCheckpoint, Position, rules_key
from consumer.core.guards import SuspendedBy
from consumer.core.rules import MAX_TIME, MIN_TIME
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import OfferPresented, Reason


def broken_producer() -> Instance:
    """The last checkout came at 0; offers went on to 200."""
    instance = Instance()
    instance.checkout(0)
    for time in (10, 100, 200):
        instance.offer(time, f"o{time}")
    instance.idle(200, Side.CHECKOUTS)
    return instance


# --- checkout_silence


def test_checkout_silence_stops_decisions() -> None:
    instance = broken_producer()
    assert instance.tasks[0].watermark >= START + 110, "o10 is due"
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE


def test_offers_up_to_checkout_silence_after_the_newest_checkout_are_decided() -> None:
    instance = Instance()
    instance.checkout(0)
    instance.offer(10, "o10")
    instance.offer(SILENCE)
    instance.idle(SILENCE, Side.CHECKOUTS)
    assert instance.turn() == ["o10"]


def test_a_quiet_night_without_offers_is_no_silence() -> None:
    instance = Instance()
    instance.checkout(0)
    instance.offer(10, "o10")
    instance.idle(100_000)
    assert instance.turn() == ["o10"]


def test_offers_read_ahead_of_checkouts_are_no_silence() -> None:
    instance = Instance()
    instance.checkout(0)
    for time in (10, 200, 1_000):
        instance.offer(time)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE, "the checkouts of that time are not read yet"


def test_a_checkout_of_any_task_of_the_instance_is_heard() -> None:
    instance = Instance(2)
    instance.checkout(0, task=0)
    instance.checkout(190, task=1)
    instance.offer(10, "o10", task=0)
    instance.offer(200, task=0)
    instance.idle(200)
    assert instance.turn() == ["o10"]


def test_where_no_checkout_was_ever_seen_the_count_begins_at_the_first_presentation() -> None:
    instance = Instance()
    instance.offer(0, "o0")
    instance.offer(SILENCE, "last")
    instance.idle(SILENCE, Side.CHECKOUTS)
    assert instance.turn() == ["o0"]
    instance.offer(SILENCE + 1)
    instance.idle(400)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE


def test_decisions_go_on_once_a_checkout_came_and_lateness_has_passed() -> None:
    instance = broken_producer()
    instance.turn()
    instance.checkout(210)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.LANDING
    instance.checkout(210 + 2 * RULES.lateness)
    assert instance.turn() == [], "what was kept back may still be landing"
    instance.checkout(210 + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o10"]
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_lateness_is_counted_from_when_the_checkouts_came_and_not_from_their_date() -> None:
    instance = Instance(2)
    instance.checkout(0)
    for time in (10, 100, 200):
        instance.offer(time, f"o{time}")
    instance.idle(200)
    instance.turn()
    # What was kept back comes in order, to one partition first: dated long before, and near enough to end the silence.
    instance.checkout(60, task=1)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.LANDING
    instance.idle(200 + 2 * RULES.lateness)
    assert instance.turn() == []
    instance.idle(200 + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o10", "o100"]


def test_lateness_is_counted_from_the_date_where_our_clock_is_behind_it() -> None:
    instance = broken_producer()
    instance.turn()
    instance.now = START + 180
    instance.checkout(210)
    assert instance.turn() == []
    instance.idle(210 + 2 * RULES.lateness)
    assert instance.turn() == []
    instance.idle(210 + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o10", "o100"]


def test_a_checkout_that_is_still_behind_by_more_than_the_silence_does_not_let_go() -> None:
    instance = broken_producer()
    instance.turn()
    instance.checkout(20)
    instance.idle(300, Side.CHECKOUTS)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE


def test_a_purchase_that_lands_after_the_silence_still_counts() -> None:
    instance = broken_producer()
    instance.turn()
    instance.checkout(210, session="other")
    instance.turn()
    instance.checkout(60, "o10", "o100")
    instance.idle(1_000)
    instance.guards.judge(instance.tasks)
    fates = {chain.offer_id: chain.reason for chain in instance.tasks[0].decide()}
    assert fates == {"o10": Reason.PURCHASED, "o100": Reason.PURCHASED, "o200": Reason.ABANDONED}


def test_one_checkout_dated_ahead_does_not_blind_the_guard() -> None:
    instance = broken_producer()
    instance.checkout(10_000, stamp=0)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE


def test_a_silence_goes_on_after_a_restart() -> None:
    instance = broken_producer()
    instance.turn()
    instance.restart()
    instance.idle(300)
    assert not instance.tasks[0].restoring
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE


def test_the_newest_checkout_is_known_after_a_restart_that_no_longer_reads_it() -> None:
    instance = Instance(silence=2_000)
    instance.checkout(0)
    for time in (1_000, 1_999, 2_001):
        instance.offer(time, f"o{time}")
        if time < 2_000:
            instance.idle(time)
            instance.turn()
    (chain,) = instance.tasks[0].unsettled_chains()
    instance.tasks[0].settle(chain)
    instance.restart(silence=2_000)
    instance.idle(2_001)
    instance.restart(silence=2_000)
    assert instance.tasks[0].prepare_commit().checkouts.offset == 1, "the checkout is still read: this shows nothing"  # type: ignore[union-attr]
    instance.idle(3_000)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE


def test_what_was_decided_before_a_restart_is_called_although_decisions_are_held() -> None:
    instance = Instance()
    instance.checkout(0)
    instance.offer(10, "o10")
    instance.idle(120)
    assert instance.turn() == ["o10"]
    instance.offer(200, "o200")
    instance.idle(400, Side.CHECKOUTS)
    assert instance.turn() == []
    instance.restart()
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE
    assert [chain.offer_id for chain in instance.tasks[0].decide(suspended=True)] == ["o10"]
    assert instance.tasks[0].decide(suspended=True) == []


def test_a_checkout_that_ends_a_silence_while_nothing_ran_is_followed_by_lateness_too() -> None:
    instance = broken_producer()
    instance.turn()
    instance.restart()
    instance.checkout(210)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.LANDING
    instance.restart()
    assert instance.turn() == [], "what was kept back still lands"
    instance.checkout(221)
    assert instance.turn() == ["o10"]


def test_a_silence_does_not_end_because_a_restart_has_read_no_checkouts_yet() -> None:
    instance = Instance(silence=2_000)
    instance.checkout(0)
    for time in (1_000, 1_999):
        instance.offer(time, f"o{time}")
        instance.idle(time)
        instance.turn()
    (chain,) = instance.tasks[0].unsettled_chains()
    instance.tasks[0].settle(chain)
    instance.offer(2_001)
    instance.idle(2_001)
    instance.turn()
    instance.restart(silence=2_000)
    instance.idle(2_001)
    instance.restart(silence=2_000)
    assert instance.tasks[0].guard.checkouts_read_to == MIN_TIME
    instance.turn()
    assert instance.tasks[0].guard.resume_at == MAX_TIME


def test_where_no_checkout_was_ever_seen_a_restart_does_not_begin_the_count_anew() -> None:
    instance = Instance()
    instance.offer(0, "o0")
    instance.idle(120)
    assert instance.turn() == ["o0"]
    (chain,) = instance.tasks[0].unsettled_chains()
    instance.tasks[0].settle(chain)
    instance.restart()
    instance.offer(140, "o140")
    instance.offer(SILENCE + 1, "o151")
    instance.idle(1_000)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE


def test_an_instance_without_tasks_or_without_events_holds_nothing() -> None:
    instance = Instance(0)
    assert instance.turn() == []
    instance.tasks.append(Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN))
    instance.idle(0)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_a_task_without_offers_does_not_begin_the_count_for_the_others() -> None:
    instance = Instance(2)
    assert instance.guards.unmatched == 0
    instance.offer(0, "o0", task=0)
    instance.idle(120)
    assert instance.turn() == ["o0"]


def test_a_task_that_still_reads_again_says_nothing_of_a_silence() -> None:
    instance = Instance()
    instance.checkout(0)
    committed = OfferCheckpoint(rules_key(RULES), 1, MIN_TIME, next_offset=9, next_checkout=0).encode(0)
    instance.tasks.append(Task(RULES, partitions=1, offers=Position(0, committed), checkouts=BEGIN))
    instance.logs.append(([], []))
    instance.offer(SILENCE + 1, task=1)
    instance.idle(1_000)
    instance.turn()
    assert instance.tasks[1].restoring
    assert instance.guards.suspended_by is SuspendedBy.NONE


def landing(instance: Instance) -> None:
    """A silence of the instance has ended by a checkout of the first task, and what was kept back still lands."""
    for number in range(len(instance.tasks)):
        instance.checkout(0, task=number)
    instance.offer(200)
    instance.idle(200)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.SILENCE
    instance.checkout(201)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.LANDING


def test_what_lands_is_waited_for_by_a_task_that_still_reads_again_when_the_only_other_one_goes() -> None:
    instance = Instance(2)
    instance.checkout(0, task=1)
    instance.offer(10, "quiet", task=1)
    instance.idle(10)
    plan = instance.tasks[1].prepare_commit()
    assert plan is not None
    came = Task(RULES, partitions=2, offers=plan.offers, checkouts=plan.checkouts)
    assert came.restoring
    instance.tasks = instance.tasks[:1]
    landing(instance)
    resume_at = instance.guards.resume_at
    instance.guards.judge([came])
    instance.guards.judge([])
    for (event, stamp), (shown, shown_at) in zip(instance.logs[1][1], instance.logs[1][0], strict=True):
        came.checkout(copy(event), stamp, LATER)
        came.offer(shown, shown_at, LATER)
    for side in Side:
        came.idle(side, START + 205)
    assert not came.restoring
    instance.guards.judge([came])
    assert came.watermark < resume_at
    assert instance.guards.suspended_by is SuspendedBy.LANDING
    assert not instance.guards.lets_decide(came), "what was kept back may still land"


def test_what_lands_is_waited_for_by_a_task_that_comes_when_all_others_have_passed() -> None:
    instance = Instance(1)
    landing(instance)
    (passed,), resume_at = instance.tasks, instance.guards.resume_at
    came = Task(RULES, partitions=2, offers=BEGIN, checkouts=BEGIN)
    for task, at in ((passed, resume_at + RULES.lateness + 1), (came, resume_at)):
        instance.guards.judge([passed, came])
        for side in Side:
            task.idle(side, at)
    instance.guards.judge([passed, came])
    assert [instance.guards.lets_decide(task) for task in (passed, came)] == [True, False]
    for side in Side:
        came.idle(side, resume_at + RULES.lateness + 1)
    instance.guards.judge([passed, came])
    assert instance.guards.lets_decide(came)
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_a_task_that_has_read_no_checkouts_yet_is_not_said_to_be_landing() -> None:
    instance = Instance(2)
    instance.checkout(0)
    instance.offer(200)
    instance.tasks[0].idle(Side.CHECKOUTS, START + 200)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.SILENCE
    instance.checkout(400)
    instance.turn()
    instance.checkout(800)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_each_task_goes_on_by_itself_when_its_checkouts_have_landed() -> None:
    instance = broken_producer()
    instance.tasks.append(Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN))
    instance.logs.append(([], []))
    instance.idle(200)
    instance.turn()
    instance.checkout(210)
    instance.turn()
    landed = instance.guards.resume_at
    instance.tasks[0].idle(Side.CHECKOUTS, landed + RULES.lateness)
    assert instance.turn() == [], "1 ms is missing"
    instance.tasks[0].idle(Side.CHECKOUTS, landed + RULES.lateness + 1)
    assert instance.turn() == ["o10"]
    assert instance.guards.suspended_by is SuspendedBy.LANDING, "for the other task"


def test_a_silence_known_from_before_a_restart_ends_at_the_same_bound() -> None:
    for newest, hold in ((SILENCE + 50, SuspendedBy.LANDING), (SILENCE + 51, SuspendedBy.SILENCE)):
        instance = broken_producer()
        instance.offer(newest)
        instance.turn()
        instance.restart()
        instance.checkout(50)
        instance.turn()
        assert instance.guards.suspended_by is hold, newest


def test_a_silence_known_from_before_a_way_back_ends_by_no_checkout_that_had_been_read() -> None:
    """The task alone does not see it: no offers were shown in it for so long. Less is decided than before it began."""
    found = GuardState(START + 20, resume_at=MAX_TIME)
    rules = replace(RULES, checkout_silence=SILENCE)
    text = CheckoutCheckpoint(1, 0, MIN_TIME, found, rules.lookback).encode(0)
    task = Task(rules, partitions=1, offers=BEGIN, checkouts=Position(0, text))
    instance = Instance()
    instance.tasks = [task]
    for at in (0, 10, 20):
        instance.checkout(at)
        instance.offer(at)
        instance.idle(at)
        instance.turn()
        assert instance.guards.suspended_by is SuspendedBy.SILENCE, at
    instance.idle(500)
    assert instance.turn() == []
    instance.checkout(21)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.LANDING
    instance.idle(501 + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o0", "o1", "o2"]


def test_when_the_task_is_gone_that_saw_offers_without_checkouts_the_others_wait_for_one_all_the_same() -> None:
    instance = Instance(2)
    instance.offer(0, task=0)
    instance.offer(SILENCE + 1, task=0)
    instance.offer(SILENCE, "o", task=1)
    instance.idle(300)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE
    del instance.tasks[0]
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.SILENCE, "nobody has heard that checkouts come again"
    instance.checkout(310)
    assert instance.turn() == [], "what was kept back may still land"
    instance.idle(310 + 4 * RULES.lateness)
    assert instance.turn() == ["o"]


def test_checkout_silence_0_lets_the_first_checkout_hold_nothing() -> None:
    instance = Instance(silence=0)
    instance.offer(0, "o")
    instance.checkout(103)
    instance.idle(101 + RULES.lateness)
    assert instance.turn() == ["o"]


def test_checkout_silence_0_turns_the_guard_off_over_a_restart_too() -> None:
    instance = broken_producer()
    instance.turn()
    instance.restart(silence=0)
    instance.idle(250)
    assert instance.turn() == ["o10", "o100"]


def test_while_decisions_are_held_d_stays_where_it_is() -> None:
    instance = broken_producer()
    instance.turn()
    instance.idle(100_000)
    instance.turn()
    plan = instance.tasks[0].prepare_commit()
    assert plan is not None
    assert plan.decided_to == MIN_TIME
    assert plan.offers.offset == 0


# --- a gap between two checkouts, however fast they are read

GAP = SILENCE - RULES.lateness
"""The longest between two checkouts that is no silence: the one that ends it may be dated lateness before it comes."""


def caught_up(gap: int) -> Instance:
    """Offers and two checkouts with that gap between them are all read at once."""
    instance = Instance()
    instance.checkout(0)
    for time in (10, 100, 200):
        instance.offer(time, f"o{time}")
    instance.checkout(gap, session="other")
    return instance


def test_a_gap_is_followed_by_lateness_though_both_its_ends_are_read_at_once() -> None:
    instance = caught_up(210)
    assert instance.turn() == [], "what was kept back in the gap may stand behind it in the log"
    assert instance.guards.suspended_by is SuspendedBy.NONE, "a quiet partition is no reason for a warning"
    instance.checkout(60, "o10", "o100")
    instance.idle(210 + 2 * RULES.lateness)
    assert instance.turn() == []
    instance.idle(210 + 2 * RULES.lateness + 1)
    instance.guards.judge(instance.tasks)
    assert instance.guards.lets_decide(instance.tasks[0])
    assert {chain.reason for chain in instance.tasks[0].decide()} == {Reason.PURCHASED}


def test_the_gap_is_as_long_as_a_silence_less_lateness() -> None:
    for gap, wait in ((GAP, False), (GAP + 1, True)):
        assert (caught_up(gap).turn() == []) is wait, gap


def test_a_gap_holds_its_own_task_and_no_other() -> None:
    instance = Instance(2)
    for task in range(2):
        instance.checkout(0, task=task)
        instance.offer(50, f"o{task}", task=task)
    instance.checkout(100, task=1)
    for task in range(2):
        instance.checkout(200, task=task)
        instance.offer(200, task=task)
    assert instance.turn() == ["o1"]


def test_the_first_checkout_of_all_is_followed_by_lateness() -> None:
    instance = Instance()
    instance.checkout(500)
    instance.offer(10, "o10")
    instance.offer(600)
    assert instance.turn() == [], "how long there was none before it is not known before the offers are read"
    instance.idle(500 + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o10"]


def test_what_is_waited_for_behind_a_gap_is_waited_for_after_a_restart_too() -> None:
    instance = caught_up(210)
    instance.turn()
    instance.restart()
    instance.idle(210 + 2 * RULES.lateness)
    assert instance.turn() == []
    instance.idle(210 + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o10", "o100"]


def test_a_checkout_behind_a_newer_one_makes_no_gap() -> None:
    instance = Instance()
    instance.checkout(300)
    instance.checkout(0)
    instance.offer(10, "o10")
    instance.checkout(300 + 2 * RULES.lateness + 1)
    instance.offer(400)
    assert instance.turn() == ["o10"]


def test_a_newer_gap_does_not_postpone_what_the_one_before_holds() -> None:
    instance = Instance()
    instance.checkout(0)
    for time in (10, 300, 600):
        instance.offer(time, f"o{time}")
    instance.checkout(200)
    assert instance.turn() == []
    instance.checkout(400)
    assert instance.turn() == ["o10"], "due at 110: the first gap has landed, and this is before the next one"
    instance.checkout(600)
    assert instance.turn() == [], "o300 is due at 410: what the producer kept back behind 400 may end it sooner"
    instance.idle(600 + 2 * RULES.lateness)
    assert instance.turn() == []
    instance.idle(600 + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o300"]


def test_several_gaps_that_have_not_landed_hold_what_is_due_behind_the_first() -> None:
    instance = Instance(silence=2)  # each gap of 3 is one, and three of them are within lateness
    for time in (0, 1, 2):
        instance.checkout(time)
    instance.idle(2 + 2 * RULES.lateness + 1)
    guard = instance.tasks[0].guard
    for time in (30, 33, 36):
        instance.checkout(time)
    assert guard.decides_to == START + 2 - RULES.lateness - 1
    instance.checkout(30 + 2 * RULES.lateness)
    assert guard.decides_to == START + 2 - RULES.lateness - 1
    instance.checkout(30 + 2 * RULES.lateness + 1)
    assert guard.decides_to == START + 30 - RULES.lateness - 1


def test_what_is_kept_back_in_the_second_gap_lands_before_what_it_buys_is_decided() -> None:
    instance = Instance()
    instance.checkout(0)
    for time in (10, 150, 500):
        instance.offer(time, f"o{time}", session=f"s{time}")
    instance.checkout(200, session="other")
    instance.checkout(400, session="other")
    assert instance.turn() == ["o10"]
    instance.checkout(240, session="s150")  # which makes it due at 250, behind the second gap
    instance.checkout(245, "o150", session="s150")
    instance.checkout(400 + 2 * RULES.lateness + 1, session="other")
    instance.guards.judge(instance.tasks)
    assert {chain.reason for chain in instance.tasks[0].decide()} == {Reason.PURCHASED}


def test_while_a_gap_holds_what_lands_makes_nothing_due_in_what_was_decided_before() -> None:
    instance = Instance()
    instance.checkout(0)
    instance.offer(10, "o10")
    instance.idle(100)
    instance.turn()
    instance.offer(200, "o200")
    instance.checkout(210, session="other")
    instance.checkout(20)  # o10 would be due at 30: declined, if nothing more were to land
    assert instance.turn() == []
    instance.checkout(30, "o10")
    instance.idle(210 + 2 * RULES.lateness + 1)
    instance.guards.judge(instance.tasks)
    assert {chain.reason for chain in instance.tasks[0].decide()} == {Reason.PURCHASED}


def test_a_restart_holds_all_until_the_last_gap_has_landed() -> None:
    instance = Instance()
    instance.checkout(0)
    for time in (10, 80, 300):
        instance.offer(time, f"o{time}")
    instance.checkout(200)
    instance.checkout(400)
    plan = instance.tasks[0].prepare_commit()
    assert plan is not None
    remembered = CheckoutCheckpoint.decode(plan.checkouts.metadata, plan.checkouts.offset).guard.resume_at
    assert remembered == START + 400 + RULES.lateness
    instance.restart()
    instance.offer(500, "o500")
    instance.idle(400 + 2 * RULES.lateness)
    assert instance.turn() == []
    instance.idle(400 + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o10", "o80"]


# --- what is committed


def test_what_the_guards_remember_is_in_the_checkout_metadata() -> None:
    for state in (
        GuardState(),
        GuardState(first_offer=17),
        GuardState(newest_checkout=18, resume_at=MAX_TIME, unmatched=4),
        GuardState(newest_checkout=18, resume_at=99, judged_to=12),
    ):
        written = CheckoutCheckpoint(6, 100, 55, state)
        assert CheckoutCheckpoint.decode(written.encode(100), 100) == written


def test_a_task_goes_on_with_what_was_committed() -> None:
    state = GuardState(newest_checkout=18, resume_at=99, unmatched=2, judged_to=12)
    committed = Position(7, CheckoutCheckpoint(1, 7, 5, state).encode(7))
    rules = replace(RULES, checkout_silence=SILENCE)
    task = Task(rules, partitions=1, offers=BEGIN, checkouts=committed)
    assert (task.guard.newest_checkout, task.guard.resume_at, task.guard.ids.unmatched) == (18, 99, 2)
    plan = task.prepare_commit()
    assert plan is not None
    assert CheckoutCheckpoint.decode(plan.checkouts.metadata, plan.checkouts.offset).guard == state


def test_metadata_from_before_the_guards_is_still_read() -> None:
    assert CheckoutCheckpoint.decode("1:6:100:55", 90) == CheckoutCheckpoint(6, 100, 55, GuardState())


# --- misdated


def right(instance: Instance, time: int, task: int = 0) -> None:
    instance.checkout(time, task=task, session=f"right-{time}")


def wrong(instance: Instance, time: int, task: int = 0) -> None:
    """Dated in seconds, or in another unit that lies long ago."""
    instance.checkout(-START + time, task=task, session=f"wrong-{time}", stamp=time)


def misdated() -> Instance:
    """Two tasks with a checkout that is dated right; since then the limit of the first one's are not."""
    instance = Instance(2, silence=0)
    for task in range(2):
        right(instance, 10, task)
    for number in range(LIMIT):
        wrong(instance, 20 + number)
    instance.turn()
    return instance


def test_misdated_checkouts_in_a_row_stop_decisions() -> None:
    assert misdated().guards.suspended_by is SuspendedBy.MISDATED


def test_one_that_is_dated_right_on_another_task_ends_it() -> None:
    instance = misdated()
    right(instance, 30, task=1)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_one_that_was_written_before_them_ends_nothing_however_late_it_is_read() -> None:
    instance = misdated()
    right(instance, 19, task=1)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.MISDATED


def test_what_a_task_that_comes_reads_again_does_not_end_it() -> None:
    instance = misdated()
    here, there = instance.tasks
    there.offer(OfferPresented("s", "ada", "o", START, 0), START, LATER)
    for side in Side:
        there.idle(side, START + 18)
    there.decide()
    plan = there.prepare_commit()
    assert plan is not None
    came = Task(RULES, partitions=2, offers=plan.offers, checkouts=plan.checkouts)
    for event, stamp in instance.logs[1][1][plan.checkouts.offset :]:
        came.checkout(copy(event), stamp, LATER)
    assert came.restoring
    instance.guards.judge([here, came])
    assert instance.guards.suspended_by is SuspendedBy.MISDATED


def test_a_task_that_still_reads_again_is_not_counted() -> None:
    instance = misdated()
    plan = instance.tasks[0].prepare_commit()
    assert plan is not None
    came = Task(RULES, partitions=2, offers=plan.offers, checkouts=plan.checkouts)
    for event, stamp in instance.logs[0][1][plan.checkouts.offset : -1]:
        came.checkout(copy(event), stamp, LATER)
    assert came.restoring
    instance.guards.judge([came, instance.tasks[1]])
    assert instance.guards.misdated == 0


def test_a_restart_finds_the_same_count_again() -> None:
    instance = misdated()
    wrong(instance, 40, task=1)
    instance.turn()
    before = instance.guards.misdated
    instance.restart(silence=0)
    instance.turn()
    assert (before, instance.guards.misdated) == (LIMIT + 1, LIMIT + 1)
    assert instance.guards.suspended_by is SuspendedBy.MISDATED
    right(instance, 35, task=1)
    instance.turn()
    assert instance.guards.misdated == 0, "it follows on the one of its own task, and was written behind the others"


def test_no_more_of_them_are_remembered_than_the_limit_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "_MOST_COUNTED", 5)
    instance = misdated()
    for number in range(20):
        wrong(instance, 40 + number)
    instance.turn()
    assert instance.guards.misdated == 5


def test_a_gap_between_checkouts_of_two_tasks_holds_both_until_what_was_kept_back_has_landed() -> None:
    """The second task's purchase was kept back; the first checkout behind the gap is the first task's."""
    instance = Instance(2)
    instance.checkout(0, task=0)
    instance.checkout(0, task=1)
    instance.turn()
    again = SILENCE + 1
    instance.offer(20, "o", task=1)
    instance.checkout(again, task=0)
    instance.turn()
    instance.idle(again + 1)
    assert instance.turn() == [], "its purchase may still land"
    instance.idle(again + 2 * RULES.lateness + 1)
    assert instance.turn() == ["o"]


@pytest.mark.parametrize("each_turn", [1, 1_000])
def test_checkouts_without_a_gap_hold_nothing_however_many_are_read_in_a_turn(each_turn: int) -> None:
    """A backlog: a turn reads of one task what comes in several silences, and then of the other."""
    instance = Instance(2)
    times = range(0, 6 * SILENCE, SILENCE // 4)
    for task in (0, 1):
        for number, time in enumerate(times):
            instance.offer(time, f"o{task}-{time}", session=f"s{task}-{time}", task=task)
            instance.checkout(time, session=f"c{task}-{time}", task=task)
            if not (number + 1) % each_turn:
                instance.turn()
    instance.turn()
    assert not any(task.guard.behind_gap for task in instance.tasks)
    assert [task.decided_to for task in instance.tasks] == [START + times[-1] - RULES.lateness - 1] * 2


def test_a_gap_of_the_instance_is_found_within_a_turn_that_reads_on_behind_it() -> None:
    instance = Instance(2)
    for task in (0, 1):
        instance.checkout(0, task=task)
    instance.turn()
    instance.offer(20, "o", task=1)
    for time in range(SILENCE + 1, 3 * SILENCE, SILENCE // 4):
        instance.checkout(time, session=f"c{time}", task=0)
    instance.turn()
    instance.idle(3 * SILENCE)
    assert instance.turn() == [], "its purchase may still land"
