"""What "in a row" means where the ids are of several tasks: what is older than a match does not count with what is
newer."""

from __future__ import annotations

from support.guarded_instance import LIMIT, Instance

from consumer.core.guards import SuspendedBy

A, B = 0, 1


def test_what_is_older_than_a_match_in_another_task_is_no_part_of_a_row() -> None:
    """All is read along and in order. By time it is: unmatched, unmatched, a match, unmatched, unmatched."""
    instance = Instance(2)
    instance.offer(0, "o", task=A, session="a")
    for number, time in enumerate((10, 20)):
        instance.checkout(time, f"booking {number}", task=B, session=f"b{number}")
    instance.checkout(25, "o", task=A, session="a")
    instance.checkout(30, "booking 2", task=B, session="b2")
    instance.idle(40)
    instance.turn()
    instance.checkout(41, "booking 3", task=B, session="b3")
    instance.idle(50)
    instance.turn()
    assert LIMIT == 3
    assert instance.guards.suspended_by is SuspendedBy.NONE, "no more than two of them are in a row"


def test_a_match_of_before_the_row_that_comes_late_does_not_end_it_in_its_own_task_either() -> None:
    instance = Instance()
    instance.offer(10, "bought before")
    for number in range(LIMIT):
        instance.offer(100 + 20 * number, f"o{number}", session=f"s{number}")
        instance.checkout(105 + 20 * number, f"booking of o{number}", session=f"s{number}")
    instance.idle(160)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED

    instance.checkout(15, "bought before", stamp=161)
    instance.idle(162)
    decided = instance.turn()
    assert not {f"o{number}" for number in range(LIMIT)} & set(decided), "bought, under other ids"
