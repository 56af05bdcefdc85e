"""The guard against purchased ids that name no offer: what it counts, and what lets go."""

from __future__ import annotations

from support.guarded_instance import LIMIT, RULES, START, Instance

from consumer.core.guards import SuspendedBy
from consumer.core.watermark import Side


def sold(instance: Instance, number: int, *bought: str) -> None:
    """A session in which one offer was shown, and these ids were bought."""
    instance.offer(number * 20, f"o{number}", session=f"s{number}")
    instance.checkout(number * 20 + 5, *bought, session=f"s{number}")


def test_unmatched_limit_purchased_ids_in_a_row_stop_decisions() -> None:
    instance = Instance()
    for number in range(LIMIT):
        sold(instance, number, f"booking-{number}")
    instance.idle(55)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED
    assert instance.tasks[0].guard.ids.last == ("s2", "booking-2")


def test_fewer_than_unmatched_limit_do_not() -> None:
    instance = Instance()
    for number in range(LIMIT - 1):
        sold(instance, number, f"booking-{number}")
    instance.idle(200)
    assert instance.turn() == ["o0", "o1"]


def test_a_match_in_between_begins_the_row_anew() -> None:
    instance = Instance()
    for number in range(2 * LIMIT):
        sold(instance, number, f"o{number}" if number == 2 else f"booking-{number}")
    instance.idle(120)
    instance.turn()
    assert instance.tasks[0].guard.ids.unmatched == LIMIT
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED


def test_decisions_go_on_when_a_purchased_id_matches() -> None:
    instance = Instance()
    for number in range(LIMIT):
        sold(instance, number, f"booking-{number}")
    instance.idle(55)
    instance.turn()
    sold(instance, 10, "o10")
    instance.idle(205 + 2 * RULES.lateness + 1)
    assert "o0" in instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_a_match_in_one_task_lets_all_go() -> None:
    instance = Instance(2)
    for number in range(LIMIT):
        sold(instance, number, f"booking-{number}")
    instance.idle(60)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED
    instance.offer(50, "match", task=1)
    instance.checkout(55, "match", task=1)
    instance.idle(61)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE
    assert instance.tasks[0].guard.ids.unmatched == 0


def test_the_row_is_counted_over_all_tasks_of_the_instance() -> None:
    instance = Instance(LIMIT)
    for number in range(LIMIT):
        instance.checkout(number, f"booking-{number}", task=number)
    instance.idle(50)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED


def test_an_id_whose_offer_is_read_after_its_checkout_is_no_mismatch() -> None:
    instance = Instance()
    for number in range(LIMIT):
        instance.checkout(number * 10 + 5, f"o{number}", session=f"s{number}")
    instance.turn()
    for number in range(LIMIT):
        instance.offer(number * 10, f"o{number}", session=f"s{number}")
    instance.idle(200)
    instance.turn()
    assert instance.tasks[0].guard.ids.unmatched == 0


def test_an_id_of_an_offer_called_before_is_no_mismatch() -> None:
    instance = Instance(silence=0)
    for number in range(LIMIT):
        instance.offer(number, f"o{number}")
    instance.idle(200)
    assert len(instance.turn()) == LIMIT
    for number in range(LIMIT):
        instance.checkout(201 + number, f"o{number}")
    instance.idle(400)
    instance.turn()
    assert instance.tasks[0].guard.ids.unmatched == 0


def test_the_same_checkout_written_again_counts_once() -> None:
    instance = Instance()
    sold(instance, 0, "booking-0")
    for _ in range(LIMIT):
        instance.checkout(5, "booking-0", session="s0")
    instance.idle(50)
    instance.turn()
    assert instance.tasks[0].guard.ids.unmatched == 1


def test_the_row_goes_on_over_a_restart_and_what_is_read_again_counts_once() -> None:
    instance = Instance()
    for number in range(LIMIT - 1):
        sold(instance, number, f"booking-{number}")
    instance.idle(60)
    instance.turn()
    instance.restart()
    instance.idle(60)
    instance.turn()
    assert instance.tasks[0].guard.ids.unmatched == LIMIT - 1
    sold(instance, 5, "booking-5")
    instance.idle(120)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED


def test_a_checkout_that_was_read_and_not_judged_is_counted_after_a_restart() -> None:
    instance = Instance()
    for number in range(LIMIT):
        sold(instance, number, f"booking-{number}")
    instance.idle(55)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED
    # Its offer is read after it: it waits for the watermark when the process dies.
    instance.checkout(100, "sold", session="t")
    instance.turn()
    instance.restart()
    instance.offer(90, "sold", session="t")
    instance.idle(200)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_unmatched_limit_0_turns_the_guard_off() -> None:
    instance = Instance(limit=0)
    for number in range(2 * LIMIT):
        sold(instance, number, f"booking-{number}")
    instance.idle(400)
    assert len(instance.turn()) == 2 * LIMIT


# --- what a task that lags behind reads of before ends no row

A, B = 0, 1


def idle(instance: Instance, task: int, time: int) -> None:
    for side in Side:
        instance.tasks[task].idle(side, START + time)


def test_a_purchase_of_before_the_row_does_not_end_it() -> None:
    """From 100 on the producer writes booking ids, which is found in B. A has stood still meanwhile, by a transaction
    that hangs, or since it came from an instance that was down. Now it is read on, from before 100."""
    instance = Instance(2)
    instance.offer(10, "bought before", task=A, session="m")
    instance.checkout(15, "bought before", task=A, session="m")
    for number in range(LIMIT):
        instance.offer(100 + 20 * number, f"o{number}", task=B, session=f"s{number}")
        instance.checkout(105 + 20 * number, f"booking of o{number}", task=B, session=f"s{number}")
    idle(instance, B, 160)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED

    idle(instance, A, 160)
    decided = instance.turn()
    assert not {f"o{number}" for number in range(LIMIT)} & set(decided), "bought, under other ids"
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED
