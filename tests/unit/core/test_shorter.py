"""What is committed is made to fit: more is repeated, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core import shorter
from consumer.core.checkpoint import OfferCheckpoint, each_of
from consumer.core.shorter import with_less_dead, with_more_listed

WHOLE = OfferCheckpoint((100, 10, 300, True), 1, 5_000, 2_000, 4)


def of(*unsettled: int, dead: tuple[int, ...] = ()) -> OfferCheckpoint:
    return replace(WHOLE, unsettled=frozenset(unsettled), dead=frozenset(dead))


def within(limit: int) -> shorter.Fits:
    return lambda one: len(one.encode(0)) <= limit


def characters(one: OfferCheckpoint) -> int:
    return len(one.encode(0))


def test_the_smallest_gap_is_closed_first_and_no_more_than_is_needed() -> None:
    whole = of(10, 40, 43, 80)
    assert with_more_listed(whole, within(characters(whole) - 1)) == of(10, 40, 41, 42, 43, 80)
    assert with_more_listed(whole, within(characters(whole))) == whole


def test_of_two_gaps_of_one_size_the_later_one_is_closed() -> None:
    whole = of(10, 13, 40, 43)
    assert with_more_listed(whole, within(characters(whole) - 1)) == of(10, 13, 40, 41, 42, 43)


def test_no_gap_is_closed_that_begins_below_the_first_that_may_be_listed() -> None:
    whole = of(10, 12, 40, 80)
    fits = within(characters(whole) - 1)
    assert with_more_listed(whole, fits, 11) == of(10, 11, 12, 40, 80)
    assert with_more_listed(whole, fits, 12) == of(10, *range(12, 41), 80)
    assert with_more_listed(whole, fits, 41) == of(10, 12, *range(40, 81))
    assert with_more_listed(whole, fits, 42) is None


def test_where_even_one_run_does_not_fit_there_is_none() -> None:
    assert with_more_listed(of(10, 12), within(10)) is None
    assert with_more_listed(of(), within(10)) is None
    assert with_less_dead(of(dead=(10, 12)), within(10)) is None


def test_no_more_is_listed_than_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shorter, "MOST_LISTED", 6)
    whole = of(10, 40, 43, 80)
    assert with_more_listed(whole, within(characters(whole) - 1)) == of(10, *range(40, 44), 80)
    monkeypatch.setattr(shorter, "MOST_LISTED", 5)
    assert with_more_listed(whole, within(characters(whole) - 1)) is None


def test_the_first_of_the_dead_are_left_out_and_no_more_than_is_needed() -> None:
    whole = of(10, dead=tuple(range(100, 200, 7)))
    fitting = with_less_dead(whole, within(characters(whole) - 3))
    assert fitting is not None
    assert fitting.dead < whole.dead
    assert min(fitting.dead) > max(whole.dead - fitting.dead)
    assert replace(fitting, dead=whole.dead) == whole
    assert not within(characters(whole) - 3)(replace(fitting, dead=frozenset({*fitting.dead, min(fitting.dead) - 7})))
    assert with_less_dead(whole, within(characters(whole))) == whole


@pytest.mark.parametrize("each", ["", each_of("offers")])
@given(offsets=st.sets(st.integers(0, 1_900), min_size=2, max_size=60), less=st.integers(0, 200))
def test_nothing_that_is_listed_leaves_the_list(each: str, offsets: set[int], less: int) -> None:
    whole = replace(of(*offsets), each=each)
    limit = characters(whole) - less
    fitting = with_more_listed(whole, within(limit))
    if fitting is None:
        one_run = replace(whole, unsettled=frozenset(range(min(offsets), max(offsets) + 1)))
        assert characters(one_run) > limit
    else:
        assert fitting.unsettled >= offsets
        assert characters(fitting) <= limit
        assert OfferCheckpoint.decode(fitting.encode(0), 0) == fitting
        assert replace(fitting, unsettled=whole.unsettled) == whole


def test_what_cannot_be_read_and_is_not_settled_is_not_left_out() -> None:
    whole = replace(of(100, dead=tuple(range(100, 200, 7))), splits=frozenset({100}))
    fitting = with_less_dead(whole, within(characters(whole) - 3))
    assert fitting is not None
    assert 100 in fitting.dead
    assert len(fitting.dead) < len(whole.dead)
