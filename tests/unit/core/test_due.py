"""What is due comes in portions: the same chains in the same order, and what is told of how far that is, is true."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import Logs, examples, logs

from consumer.core.due import DueChains
from consumer.core.join import Join
from consumer.core.rules import DecisionRules
from consumer.events import OfferPresented

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)


def joined(*times: int) -> tuple[Join, DueChains]:
    """A join with an offer of each time, a session each, of which nothing was asked before."""
    join = Join(RULES)
    for offset, time in enumerate(times):
        join.present(OfferPresented(f"s{offset}", "ada", "a", time, offset))
    due = DueChains(join)
    due.skip()
    return join, due


def test_a_portion_is_the_first_that_are_due() -> None:
    _, due = joined(3, 1, 4, 2, 50)
    assert [chain.begin for chain in due.take(104, 2)] == [1, 2]
    assert (due.has_more, due.taken_to) == (True, 102)
    assert [chain.begin for chain in due.take(104, 3)] == [3, 4]
    assert (due.has_more, due.taken_to) == (False, 104)


def test_what_is_due_in_the_same_millisecond_is_taken_whole() -> None:
    _, due = joined(1, 2, 2, 2, 3)
    assert [chain.begin for chain in due.take(1_000, 2)] == [1, 2, 2, 2]
    assert (due.has_more, due.taken_to) == (True, 102)


def test_more_is_taken_by_as_many_as_were_read_since() -> None:
    join, due = joined(*range(100))
    assert len(due.take(1_000, 10)) == 10
    for offset in range(100, 130):
        join.present(OfferPresented(f"s{offset}", "ada", "a", offset, offset))
    assert len(due.take(1_000, 10)) == 40
    for offset in range(130, 160):
        join.present(OfferPresented(f"s{offset}", "ada", "a", offset, offset))
    due.skip()
    assert not due.has_more
    assert len(due.take(1_000, 10)) == 10, "what was read before a turn that decides nothing is no reason to hurry"


@examples(300)
@given(logs(several=True), st.lists(st.tuples(st.integers(1, 4), st.integers(-20, 120)), max_size=8))
def test_portions_give_what_one_go_gives(drawn: Logs, calls: list[tuple[int, int]]) -> None:
    whole, portioned = (Join(drawn.rules) for _ in range(2))
    for join in (whole, portioned):
        for shown in drawn.presentations:
            join.present(shown)
        for checkout in drawn.completed:
            join.complete(checkout)
    due = DueChains(portioned)
    due.skip()
    begin = min((shown.presented_at for shown in drawn.presentations), default=0)
    end = max((shown.presented_at for shown in drawn.presentations), default=0) + 2 * drawn.rules.late_after
    taken = []
    until = begin
    for most, per_cent in [*calls, *[(2, 100)] * (len(drawn.presentations) + 1)]:
        until = max(until, begin + (end - begin) * per_cent // 100)
        before = len(taken)
        taken += due.take(until, most)
        assert due.taken_to <= until
        assert portioned.earliest_due(until) > due.taken_to, "all that is told to be taken is"
        assert all(chain.decide_at <= due.taken_to for chain in taken), "and no more than that"
        assert due.has_more or due.taken_to == until
        assert len(taken) > before or not due.has_more
    told = [(chain.start, chain.decide_at, chain.reason) for chain in whole.decide(end)]
    assert sorted(told) == sorted((chain.start, chain.decide_at, chain.reason) for chain in taken)
    assert [chain.decide_at for chain in taken] == sorted(decide_at for _, decide_at, _ in told)
