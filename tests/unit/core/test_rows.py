"""Rows of what is wrong, over the tasks of an instance: what counts, and what lets go. Times are small numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core.rows import InstanceRow, TaskRow
from consumer.core.rules import MIN_TIME

LIMIT = 3


def row_of(*times: int) -> TaskRow:
    return TaskRow(times)


def instance_of(*rows: TaskRow) -> InstanceRow:
    found = InstanceRow(LIMIT, 100)
    found.judge(rows)
    return found


def test_what_is_right_drops_what_is_older_and_not_what_is_newer() -> None:
    row = row_of(30, 10, 20)
    row.right(20)
    assert (sorted(row.times), row.right_before) == ([20, 30], 20)
    row.right(5)
    assert (sorted(row.times), row.right_before) == ([20, 30], 20), "it was read late"


def test_of_too_many_the_newest_are_kept() -> None:
    row = row_of(30, 10, 20)
    row.keep(MIN_TIME, 2)
    assert sorted(row.times) == [20, 30]


def test_the_limit_over_all_tasks_suspends_and_one_fewer_does_not() -> None:
    assert not instance_of(row_of(10), row_of(20)).suspends
    found = instance_of(row_of(10), row_of(20, 30))
    assert (found.suspends, found.count) == (True, LIMIT)


def test_a_limit_of_0_never_suspends() -> None:
    found = InstanceRow(0, 100)
    found.judge([row_of(10, 20, 30)])
    assert not found.suspends


def test_what_leaves_fewer_than_the_limit_ends_it_though_newer_ones_stay() -> None:
    there, right = row_of(10, 20, 30), TaskRow()
    found = instance_of(there, right)
    right.right(10)
    found.judge([there, right])
    assert found.suspends, "nothing is older"
    right.right(11)
    found.judge([there, right])
    assert (found.suspends, found.count) == (False, 2)


def test_what_was_right_before_disproves_what_is_older_and_read_later() -> None:
    late, right = TaskRow(), TaskRow()
    right.right(50)
    found = instance_of(late, right)
    for at in (10, 20, 30):
        late.add(at)
    found.judge([late])
    assert not found.suspends, "also where the task that told it is elsewhere by now"


def test_where_a_task_leaves_its_part_holds_until_it_is_disproved() -> None:
    stays, goes = row_of(10), row_of(20, 30)
    found = instance_of(stays, goes)
    found.judge([stays])
    assert (found.suspends, found.count) == (True, 1)
    for at in (40, 50):
        stays.add(at)
    found.judge([stays])
    stays.right(21)
    found.judge([stays])
    assert found.suspends, "30, 40 and 50"
    stays.right(31)
    found.judge([stays])
    assert not found.suspends


def test_a_part_that_leaves_while_nothing_is_suspended_is_forgotten() -> None:
    stays, goes = row_of(10), row_of(20)
    found = instance_of(stays, goes)
    found.judge([stays])
    stays.add(30)
    found.judge([stays])
    assert not found.suspends


def test_a_part_that_was_left_behind_is_forgotten_when_the_suspension_ends() -> None:
    stays, goes = row_of(10), row_of(20, 30)
    found = instance_of(stays, goes)
    found.judge([stays])
    stays.right(21)
    found.judge([stays])
    assert not found.suspends
    for at in (40, 50):
        stays.add(at)
    found.judge([stays])
    assert not found.suspends


def test_an_instance_without_tasks_knows_nothing() -> None:
    right = TaskRow()
    right.right(100)
    found = instance_of(row_of(10), row_of(20, 30), right)
    found.judge([])
    assert not found.suspends
    found.judge([row_of(10)])
    assert not found.suspends, "nothing was left behind"
    found.judge([row_of(10, 20, 30)])
    assert found.suspends, "and nothing is disproved"


def test_of_a_task_that_is_read_again_only_what_is_right_counts() -> None:
    here, again = row_of(10, 20), row_of(30)
    found = InstanceRow(LIMIT, 100)
    found.judge([here], [again])
    assert (found.suspends, found.count) == (False, 2)
    again.right(11)
    found.judge([here], [again])
    assert found.count == 1


@pytest.mark.parametrize("most", [LIMIT, 100])
@given(
    wrong=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=12),
    right=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=4),
    data=st.data(),
)
def test_in_whatever_order_they_are_read_the_row_is_that_of_the_times(
    wrong: list[tuple[int, int]], right: list[tuple[int, int]], data: st.DataObject, most: int
) -> None:
    rows = [TaskRow() for _ in range(3)]
    found = InstanceRow(LIMIT, most)
    told = [(*one, False) for one in wrong] + [(*one, True) for one in right]
    for task, at, is_right in data.draw(st.permutations(told)):
        if is_right:
            rows[task].right(at)
        else:
            rows[task].add(at)
        if data.draw(st.booleans()):
            found.judge(rows)
    found.judge(rows)
    newest = max((at for _, at in right), default=MIN_TIME)
    assert found.suspends == (sum(at >= newest for _, at in wrong) >= LIMIT)
