"""How many records of an input may be bad before the input must be wrong."""

from __future__ import annotations

import pytest

from consumer.errors import TooManyDeadLettersError
from consumer.runtime.bad_record_limit import QUIET, BadRecordLimit


def read(limit: BadRecordLimit, *, good: int = 0, bad: int = 0) -> None:
    limit.read += good
    for _ in range(bad):
        limit.read += 1
        limit.bad("IndexError")


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
        limit.task_gone()
    with pytest.raises(TooManyDeadLettersError, match="11 in a row"):
        read(limit, bad=11)


class RowOfBad:
    """A limit whose time the test lets pass, and what it has settled."""

    def __init__(self) -> None:
        self.now, self.settled = 0.0, list[int]()
        self.limit = BadRecordLimit("offers", max_run=100, max_ratio=1.0, monotonic=lambda: self.now)

    def bad(self, *offsets: int) -> None:
        for offset in offsets:
            read(self.limit, bad=1)
            self.limit.acknowledged(lambda offset=offset: self.settled.append(offset))
        self.limit.settle()


def test_bad_records_in_a_row_are_settled_once_a_good_one_follows() -> None:
    """Or each start of a service that stops for them would find only those that the one before had not committed."""
    row = RowOfBad()
    row.bad(1, 2, 3)
    assert row.settled == []
    read(row.limit, good=1)
    row.limit.settle()
    assert row.settled == [1, 2, 3]
    row.bad(5)
    assert row.settled == [1, 2, 3]


def test_the_last_of_a_topic_is_settled_once_nothing_follows_for_a_while() -> None:
    row = RowOfBad()
    row.bad(1)
    row.now = QUIET - 0.1
    row.bad(2)
    row.now += QUIET - 0.1
    row.limit.settle()
    assert row.settled == []
    row.now += 0.1
    row.limit.settle()
    assert row.settled == [1, 2]


def test_what_is_acknowledged_late_is_settled_as_what_came_in_time() -> None:
    row = RowOfBad()
    read(row.limit, bad=1, good=0)
    read(row.limit, good=1)
    row.limit.settle()
    row.limit.acknowledged(lambda: row.settled.append(1))
    row.limit.settle()
    assert row.settled == [1]


def test_a_row_that_goes_on_is_settled_as_its_task_goes_or_the_service_stops() -> None:
    row = RowOfBad()
    row.bad(1, 2)
    row.limit.settle(at_once=True)
    assert row.settled == [1, 2]


def test_no_more_than_a_thousand_wait_in_a_row_that_is_allowed() -> None:
    row = RowOfBad()
    row.limit = BadRecordLimit("offers", max_run=10_000, max_ratio=1.0, monotonic=lambda: 0.0)
    row.bad(*range(999))
    assert row.settled == []
    row.bad(999)
    assert len(row.settled) == 1_000
