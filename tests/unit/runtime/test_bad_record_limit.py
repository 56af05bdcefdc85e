"""How many records of an input may be bad before the input must be wrong."""

from __future__ import annotations

import pytest

from consumer.errors import TooManyDeadLettersError
from consumer.runtime.bad_record_limit import MOST_WAITING, QUIET, BadRecordLimit


def read(limit: BadRecordLimit, *, good: int = 0, bad: int = 0) -> None:
    limit.read += good
    for _ in range(bad):
        limit.read += 1
        limit.bad("IndexError", 0)


def test_a_run_of_bad_records_may_be_so_long_and_a_good_one_ends_it() -> None:
    limit = BadRecordLimit("offers", max_run=3, max_ratio=1.0)
    read(limit, bad=3)
    read(limit, good=1, bad=3)
    with pytest.raises(TooManyDeadLettersError, match=r"4 in a row records of offers .* IndexError"):
        read(limit, bad=1)


def test_so_large_a_part_of_the_last_1000_may_be_bad() -> None:
    limit = BadRecordLimit("offers", max_run=100, max_ratio=0.002)
    read(limit, bad=2)
    with pytest.raises(TooManyDeadLettersError, match="3 of the last 1000 records of offers"):
        read(limit, good=10, bad=1)


def test_what_was_read_more_than_1000_records_ago_counts_no_more() -> None:
    limit = BadRecordLimit("offers", max_run=100, max_ratio=0.002)
    read(limit, bad=2)
    read(limit, good=998, bad=1)
    read(limit, good=500, bad=1)


def test_a_row_that_is_read_again_after_a_rebalance_is_no_longer_one() -> None:
    """Nine of which each rebalance would make nine more, where two instances stop and start by turns."""
    limit = BadRecordLimit("checkouts", max_run=10, max_ratio=1.0)
    for _ in range(5):
        read(limit, bad=9)
        limit.task_gone(0)
    with pytest.raises(TooManyDeadLettersError, match="11 in a row"):
        read(limit, bad=11)


class Bad:
    """A limit whose time the test lets pass, and what it has settled."""

    def __init__(self, *, by_row: bool = False, max_run: int = 100) -> None:
        self.now, self.settled = 0.0, list[int]()
        self.limit = BadRecordLimit("t", max_run, 1.0, monotonic=lambda: self.now, by_row=by_row)

    def read(self, *offsets: int, good: int = 0) -> None:
        """Bad ones, whose dead letters are acknowledged at once, and then so many good ones."""
        for offset in offsets:
            read(self.limit, bad=1)
            self.acknowledge(offset)
        read(self.limit, good=good)
        self.limit.settle()

    def acknowledge(self, offset: int) -> None:
        self.limit.acknowledged(self.limit.read, 0, lambda: self.settled.append(offset))


def test_what_is_bad_is_settled_once_as_many_are_read_behind_it_as_it_is_judged_with() -> None:
    """Or each start of a service that stops for them would find only those that the one before had not committed."""
    bad = Bad()
    bad.read(1, good=499)
    bad.read(2, good=499)
    assert bad.settled == []
    bad.read(good=1)
    assert bad.settled == [1]
    bad.read(good=500)
    assert bad.settled == [1, 2]


def test_bad_checkouts_are_settled_once_their_row_has_ended() -> None:
    """While one of them is not, nothing can be committed."""
    bad = Bad(by_row=True)
    bad.read(1, 2, 3)
    assert bad.settled == []
    bad.read(good=1)
    assert bad.settled == [1, 2, 3]
    bad.read(5)
    assert bad.settled == [1, 2, 3]


@pytest.mark.parametrize("by_row", [False, True])
def test_all_is_settled_once_none_is_bad_for_a_while(by_row: bool) -> None:
    bad = Bad(by_row=by_row)
    bad.read(1)
    bad.now = QUIET - 0.1
    bad.read(2)
    bad.now += QUIET - 0.1
    bad.read()
    assert bad.settled == []
    bad.now += 0.1
    bad.read()
    assert bad.settled == [1, 2]


@pytest.mark.parametrize("by_row", [False, True])
def test_what_is_acknowledged_late_is_settled_as_what_came_in_time(by_row: bool) -> None:
    bad = Bad(by_row=by_row)
    read(bad.limit, bad=1)
    number = bad.limit.read
    bad.read(good=1_000)
    bad.limit.acknowledged(number, 0, lambda: bad.settled.append(1))
    bad.read()
    assert bad.settled == [1]


def test_all_is_settled_as_the_service_is_asked_to_stop() -> None:
    bad = Bad()
    bad.read(1, 2)
    bad.limit.settle(at_once=True)
    assert bad.settled == [1, 2]


@pytest.mark.parametrize("by_row", [False, True])
def test_no_more_wait_than_a_commit_can_name_where_more_are_borne(by_row: bool) -> None:
    bad = Bad(by_row=by_row, max_run=10_000)
    bad.read(*range(MOST_WAITING))
    assert bad.settled == []
    bad.read(MOST_WAITING, MOST_WAITING + 1)
    assert bad.settled == [0, 1]


def test_of_a_task_that_has_gone_nothing_is_settled_or_counted() -> None:
    bad = Bad()
    bad.read(1, 2)
    bad.limit.task_gone(1)
    bad.limit.task_gone(0)
    bad.limit.settle(at_once=True)
    assert bad.settled == []
