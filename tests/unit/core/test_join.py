"""The join's own promises about checkouts whose dates are not believed, and what other rules change of that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.core.join import Join
from consumer.core.rules import DecisionRules
from consumer.events import CheckoutCompleted, OfferPresented, Reason

RULES = DecisionRules(window=100, checkout_grace=10, lookback=1_000, lateness=50, max_skew=50)
T = 10_000_000
FAR = T + 100_000_000
"""So late that all is forgotten."""


def shown(at: int = T, offset: int = 0, offer: str = "o") -> OfferPresented:
    return OfferPresented("s", "ada", offer, at, offset)


def bought(dated: int, stamp: int, offset: int = 0, *names: str) -> CheckoutCompleted:
    event = CheckoutCompleted("s", f"c{offset}", dated, offset, names or ("o",))
    event.stamped_at = stamp
    return event


@pytest.mark.parametrize("lookback", [500, 1_000, 2_000, 5_000])
@pytest.mark.parametrize("behind", [600, 1_500, 3_000])
def test_what_is_dated_anew_by_other_rules_is_forgotten_once(lookback: int, behind: int) -> None:
    join = Join(RULES)
    join.complete(bought(T - behind, T, 0), T)
    join.complete(bought(T - behind, T, 1), T)
    join.change_rules(replace(RULES, lookback=lookback))
    join.change_rules(RULES)
    for step in range(1, 100):
        join.forget(T + step * RULES.lookback * 20)
    assert not join.sessions
    join.present(shown(FAR))
    (chain,) = join.decide(FAR + RULES.window)
    assert (chain.reason, chain.bought_by) == (Reason.ABANDONED, None)


@pytest.mark.parametrize("lookback", [1_001, 5_000])
def test_one_that_is_dated_far_behind_buys_whatever_the_rules_become(lookback: int) -> None:
    join = Join(RULES)
    join.present(shown())
    join.complete(bought(T - 4_000, T + 5), T + 5)
    join.change_rules(replace(RULES, lookback=lookback))
    (chain,) = join.decide(T + RULES.window)
    assert chain.reason is Reason.PURCHASED


def test_one_that_lies_ahead_of_the_clock_too_stays_without_a_date() -> None:
    join = Join(RULES)
    join.present(shown())
    # A million of lookbacks behind its stamp, and ahead of our clock all the same.
    join.complete(bought(T + 50_000, T + 60_000), T)
    join.change_rules(replace(RULES, lookback=20_000))
    (chain,) = join.decide(T + RULES.window)
    assert chain.reason is Reason.PURCHASED
