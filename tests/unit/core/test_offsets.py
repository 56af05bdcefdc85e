"""What of a partition's log is settled, held to the plainest way of keeping count."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.core import offsets
from consumer.core.join import Join
from consumer.core.offsets import CheckoutOffsets, EarliestFrom, OfferOffsets
from consumer.core.rules import DecisionRules


@pytest.fixture(autouse=True)
def _trimmed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "_TRIM", 3)


@examples(200)
@given(st.integers(0, 50), st.lists(st.tuples(st.sampled_from(("read", "skip", "settle", "ask")), st.integers(0, 255))))
def test_a_record_of_several_is_open_until_all_that_it_holds_is_settled(
    start: int, steps: list[tuple[str, int]]
) -> None:
    unit = 64
    offers, end, is_open = OfferOffsets(start, unit), start, set[int]()
    for step, number in steps:
        if step == "read":
            end += number % 3  # a gap
            count = number % 64 + 1
            offers.read(end, count)
            is_open |= {end * unit + place for place in range(count)}
            end += 1
        elif step == "skip":
            end += number % 4
            offers.skip_to(end)
        elif step == "settle":
            settled = sorted(is_open)[number % len(is_open)] if is_open else start * unit
            if end > start:
                offers.settle(settled)
                offers.settle(settled)  # twice changes nothing
            is_open.discard(settled)
        elif step == "ask":
            assert offers.lowest_open() == min(is_open, default=end * unit) // unit
        assert offers.next_offset == end
    assert offers.lowest_open() == min(is_open, default=end * unit) // unit


@examples(200)
@given(st.integers(0, 50), st.lists(st.tuples(st.sampled_from(("read", "skip", "settle", "ask")), st.integers(0, 9))))
def test_the_lowest_open_offset_is_found_whatever_is_trimmed(start: int, steps: list[tuple[str, int]]) -> None:
    offers, end, is_open = OfferOffsets(start), start, set[int]()
    for step, number in steps:
        if step == "read":
            offers.read(end + number)
            is_open.add(end + number)
            end += number + 1
        elif step == "skip":
            offers.skip_to(end + number - 3)  # what lies behind changes nothing
            end = max(end, end + number - 3)
        elif step == "settle" and end > 0:
            offset = max(0, end - 1 - number)
            offers.settle(offset)  # settled before, or below the start: it changes nothing
            is_open.discard(offset)
        elif step == "ask":
            assert offers.lowest_open() == min(is_open, default=end)
        assert offers.next_offset == end
    assert offers.lowest_open() == min(is_open, default=end)


@examples(200)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9_000)), min_size=1))
def test_the_earliest_time_from_an_offset_on_is_found_to_the_second(steps: list[tuple[int, int]]) -> None:
    earliest, log, offset = EarliestFrom(), list[tuple[int, int]](), 0
    for gap, time in steps:
        offset += gap
        earliest.add(offset, time)
        log.append((offset, time))
        offset += 1
    for at in range(offset + 1):
        left = [time for o, time in log if o >= at]
        assert earliest.at(at) == (min(left) // 1024 * 1024 if left else None)


@examples(200)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9_000)), min_size=1))
def test_the_lowest_retained_checkout_is_found_to_the_second(steps: list[tuple[int, int]]) -> None:
    checkouts, log, offset = CheckoutOffsets(0), list[tuple[int, int]](), 0
    for gap, time in steps:
        offset += gap
        checkouts.read(offset, time)
        log.append((offset, time))
        offset += 1
    checkouts.skip_to(offset - 1)
    assert checkouts.next_offset == offset
    checkouts.skip_to(offset + 2)
    assert checkouts.next_offset == offset + 2
    for hold in range(0, 10_240, 1024):
        held = [o for o, time in log if time >= hold]
        assert checkouts.lowest_retained(hold) == min(held, default=offset + 2)


def test_a_split_at_the_committed_offset_is_still_read_again() -> None:
    join = Join(DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50), frozenset({5}))
    join.forget_splits(5)
    assert join.open_splits() == {5}
    join.forget_splits(6)
    assert join.open_splits() == frozenset()


def test_a_checkout_that_is_kept_is_retained_as_long_as_that() -> None:
    checkouts = CheckoutOffsets(0)
    for offset, time in enumerate((1_024, 2_048, 4_096)):
        checkouts.read(offset, time)
    checkouts.keep(0, 8_192)
    checkouts.keep(0, 3_000)
    assert [checkouts.lowest_retained(at) for at in (0, 8_192, 9_216)] == [0, 0, 3]


def test_what_may_be_committed_does_not_fall_for_one_that_is_kept_too_late() -> None:
    checkouts = CheckoutOffsets(0)
    for offset, time in enumerate((1_024, 2_048, 4_096)):
        checkouts.read(offset, time)
    assert checkouts.lowest_retained(3_072) == 2
    checkouts.keep(1, 8_192)
    assert checkouts.lowest_retained(4_096) == 2
