"""How many records of an input may be bad before the input must be wrong."""

from __future__ import annotations

import pytest

from consumer.errors import TooManyDeadLettersError
from consumer.runtime.bad_record_limit import BadRecordLimit


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
