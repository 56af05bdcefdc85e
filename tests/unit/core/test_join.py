"""The join's own promises about checkouts whose dates are not believed, and what other rules change of that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.core.join import Join
from consumer.core.rules import DecisionRules
from consumer.core.session import Session
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


@pytest.mark.parametrize("stamp", [T, T + 4_000], ids=["dated right", "dated far behind"])
def test_what_is_kept_of_checkouts_is_counted_whatever_session_they_are_of(stamp: int) -> None:
    join = Join(RULES)
    for offset in range(5):
        join.complete(bought(T, stamp, offset), stamp)
    assert join.checkouts == 5
    join.change_rules(replace(RULES, lookback=5_000))
    assert join.checkouts == 5
    join.change_rules(RULES)
    assert join.checkouts == 5
    for step in range(1, 10):
        join.forget(T + step * RULES.lookback * 20)
    assert join.checkouts == 0


def test_what_an_open_offer_needs_of_checkouts_is_counted_until_it_is_decided() -> None:
    join = Join(RULES)
    join.present(shown())
    join.complete(bought(T, T, 0, "other"), T)
    join.forget(T + 1)
    assert join.checkouts == 1
    list(join.decide(T + RULES.window))
    assert (join.checkouts, join.sessions) == (0, 0)


class CountedId(str):
    """An id that counts how often it is compared."""

    compared = 0
    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedId.compared += 1
        return str.__eq__(self, other)


@pytest.mark.parametrize("checkouts", [2, 40], ids=["a few in the session", "many"])
def test_what_a_checkout_of_very_many_ids_costs_grows_with_their_number(checkouts: int) -> None:
    join = Join(RULES)
    ids = tuple(CountedId(f"o{n}") for n in range(1_000))
    events = [bought(T + n, T + n, n, *(ids if n < 2 else ("other",))) for n in range(checkouts)]
    for event in events:
        join.complete(event, T)
    CountedId.compared = 0
    assert join.named_before(events[0]) == set(ids)
    assert CountedId.compared <= 5_000


def test_a_session_of_many_checkouts_is_looked_at_once_when_they_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a gap they are all kept, and each of them was a reason to look through all of them."""
    join = Join(RULES)
    for n in range(500):
        join.complete(bought(T + n, T + n, n, f"x{n}"), T + n)
    join.keep_all(2 * FAR, lambda offset, until: None)
    looked, forget = list[int](), Session.forget
    monkeypatch.setattr(Session, "forget", lambda self, *args: looked.append(1) or forget(self, *args))
    join.forget(FAR)
    assert join.sessions == 1
    assert len(looked) == 1


def test_what_is_open_of_an_offer_is_told_by_chains() -> None:
    join = Join(RULES)
    for offset, at in enumerate((T, T + 50, T + 500, T + 520)):
        join.present(shown(at, offset))
    join.present(shown(T, 9, "other"))
    assert sorted(one.offset for one in join.open_offers()) == [1, 3, 9]
    join.present(shown(T + 520, 4))  # equal times are one presentation, told by the record that was written first
    assert sorted(one.offset for one in join.open_offers()) == [1, 3, 9]
