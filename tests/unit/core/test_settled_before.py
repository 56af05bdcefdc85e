"""What was settled by other settings is told apart from what is shown of the same offer behind it."""

from __future__ import annotations

import pytest

from consumer.core.chain import Chain
from consumer.core.rules import DecisionRules
from consumer.core.settled_before import SettledBefore
from consumer.events import OfferPresented, Reason

RULES = DecisionRules(window=60, checkout_grace=10, lookback=500, lateness=5, max_skew=5)


def shown(at: int, offset: int, session: str = "s", offer: str = "o") -> OfferPresented:
    return OfferPresented(session, "P", offer, at, offset)


def settled(*presentations: OfferPresented) -> Chain:
    return Chain(list(presentations), 0, Reason.ABANDONED, None, False)


@pytest.mark.parametrize(("at", "precedes"), [(100, False), (101, True), (170, True), (171, False)])
def test_it_precedes_what_it_may_be_one_chain_with(at: int, precedes: bool) -> None:
    before = SettledBefore(RULES, [settled(shown(100, 3)), settled(shown(20, 1), shown(40, 2))])
    assert before.precedes(shown(at, 9)) == precedes


def test_it_precedes_no_other_offer() -> None:
    before = SettledBefore(RULES, [settled(shown(100, 3))])
    assert not before.precedes(shown(101, 9, session="another"))
    assert not before.precedes(shown(101, 9, offer="another"))
    assert list(before) == [("s", "P", "o")]


def test_what_is_never_read_again_is_dropped() -> None:
    before = SettledBefore(RULES, [settled(shown(100, 3))])
    before.forget(3)
    assert before.precedes(shown(101, 9))
    before.forget(4)
    assert not before.precedes(shown(101, 9))
    assert list(before) == []
