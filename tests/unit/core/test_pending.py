"""Chains that are decided and not settled, and those that were called: which a purchase that comes late still finds."""

from __future__ import annotations

import pytest

from consumer.core.chain import Chain
from consumer.core.pending import PendingChains
from consumer.core.rules import DecisionRules
from consumer.events import OfferPresented, Reason

LOOKBACK = 100_000
BUCKET = 2**14
"""What expires may stay for one span of the calendar longer."""
RULES = DecisionRules(window=30_000, checkout_grace=1_000, lookback=LOOKBACK, lateness=5_000, max_skew=5_000)
IGNORING = DecisionRules(30_000, 1_000, LOOKBACK, 5_000, 5_000, call_abandoned=False)
T = 10_000_000


def chain(
    start: int, decide_at: int = T, reason: Reason = Reason.DECLINED, *, partner: str = "ada", split: bool = False
) -> Chain:
    """A chain of the offer o in the session s: presented 10 s before it was due, at the offset `start`."""
    return Chain([OfferPresented("s", partner, "o", decide_at - 10_000, start)], decide_at, reason, None, split)


def pending(*chains: Chain, rules: DecisionRules = RULES) -> PendingChains:
    """With these decided in turn."""
    made = PendingChains(rules)
    for one in chains:
        made.add(one, late_decided=False)
    return made


# --- decided and not settled


def test_a_decided_chain_is_found_by_its_start_until_it_is_settled() -> None:
    one, other = chain(3), chain(7)
    of_task = pending(one, other)
    assert of_task.by_start == {3: one, 7: other}
    assert of_task.settle(one, called=True)
    assert list(of_task.unsettled()) == [other]


def test_a_chain_is_settled_once() -> None:
    one = chain(3)
    of_task = pending(one)
    assert of_task.settle(one, called=True)
    assert not of_task.settle(one, called=True)


def test_the_oldest_is_the_one_that_begins_first_in_the_log_and_not_the_one_decided_first() -> None:
    late, early = chain(9, T), chain(2, T + 1)
    of_task = pending(late, early)
    assert of_task.oldest() is early
    of_task.settle(early, called=True)
    assert of_task.oldest() is late
    of_task.settle(late, called=True)
    assert of_task.oldest() is None


def test_what_was_due_before_the_last_commit_could_tell_of_it_is_listed_until_it_is_settled() -> None:
    of_task, late, usual = PendingChains(RULES), chain(3), chain(7)
    of_task.add(late, late_decided=True)
    of_task.add(usual, late_decided=False)
    assert of_task.late_decided == {3: late}
    of_task.settle(late, called=True)
    assert of_task.late_decided == {}


def test_a_chain_that_follows_on_a_long_one_is_listed_by_its_start_until_it_is_settled() -> None:
    follower, usual = chain(3, split=True), chain(7)
    of_task = pending(follower, usual)
    assert of_task.chain_starts == {3}
    of_task.settle(follower, called=True)
    assert of_task.chain_starts == set()


# --- which chains count as called


@pytest.mark.parametrize(
    ("reason", "rules", "is_called"),
    [
        (Reason.DECLINED, RULES, True),
        (Reason.DECLINED, IGNORING, True),
        (Reason.ABANDONED, RULES, True),
        (Reason.ABANDONED, IGNORING, False),
        (Reason.PURCHASED, RULES, False),
        (Reason.CHECKOUT_UNREADABLE, RULES, False),
    ],
)
def test_what_the_insurer_is_told_of_is_remembered(reason: Reason, rules: DecisionRules, is_called: bool) -> None:
    one = chain(3, reason=reason)
    assert pending(one, rules=rules).called("s", "o") is (one if is_called else None)


@pytest.mark.parametrize(("session", "offer"), [("s", "other"), ("other", "o")])
def test_only_the_same_offer_in_the_same_session_was_called(session: str, offer: str) -> None:
    assert pending(chain(3)).called(session, offer) is None


def test_a_settled_chain_stays_remembered_only_if_the_insurer_was_told() -> None:
    told, let_go = chain(3), chain(3)
    of_task = pending(told)
    of_task.settle(told, called=True)
    assert of_task.called("s", "o") is told
    of_task = pending(let_go)
    of_task.settle(let_go, called=False)
    assert of_task.called("s", "o") is None


def test_the_chain_called_last_is_found_and_leads_to_the_unsettled_ones_before_it() -> None:
    first, second, third = chain(1), chain(2, T + 1), chain(3, T + 2)
    of_task = pending(first, second)
    of_task.settle(second, called=True)
    of_task.add(third, late_decided=False)
    assert of_task.called("s", "o") is third
    assert third.called_before is first  # and not the second, whose call cannot be taken back


def test_where_the_last_was_never_called_the_unsettled_one_before_it_is_found_again() -> None:
    first, second, third = chain(1), chain(2, T + 1), chain(3, T + 2)
    of_task = pending(first, second, third)
    of_task.settle(second, called=True)
    of_task.settle(third, called=False)
    assert of_task.called("s", "o") is first


def test_a_chain_that_was_never_called_does_not_hide_a_later_one() -> None:
    first, second = chain(1), chain(2, T + 1)
    of_task = pending(first, second)
    of_task.settle(first, called=False)
    assert of_task.called("s", "o") is second


# --- purchases that come late


@pytest.mark.parametrize(
    ("between", "taken_back"),
    [
        ((T - 10_000 - LOOKBACK, T - 10_000 - LOOKBACK), True),
        ((T - 10_000 - LOOKBACK - 1, T - 10_000 - LOOKBACK - 1), False),
        ((T, T), True),
        ((T + 1, T + 1), False),
        ((T - 10**9, T + 10**9), True),
    ],
    ids=[
        "lookback before its presentation",
        "a millisecond earlier",
        "when it was due",
        "a millisecond later",
        "at any time",
    ],
)
def test_a_purchase_from_lookback_before_the_chain_until_it_was_due_takes_the_call_back(
    between: tuple[int, int], taken_back: bool
) -> None:
    one = chain(3)
    assert pending(one).taken_back(between, one) == ([one] if taken_back else [])


def test_a_purchase_takes_back_each_unsettled_call_that_it_reaches_the_newest_first() -> None:
    oldest, settled, newest = chain(1, T - 50_000), chain(2, T - 20_000), chain(3, T)
    of_task = pending(oldest, settled, newest)
    of_task.settle(settled, called=True)
    assert of_task.taken_back((T - 50_000, T - 50_000), newest) == [newest, oldest]
    assert of_task.taken_back((T - 49_999, T - 49_999), newest) == [newest]
    # The newest may be out of reach while one before it is not.
    assert of_task.taken_back((T - 70_000 - LOOKBACK, T - 11_000 - LOOKBACK), newest) == [oldest]


def test_a_call_that_is_settled_is_not_taken_back() -> None:
    one = chain(3)
    of_task = pending(one)
    of_task.settle(one, called=True)
    assert of_task.taken_back((T, T), one) == []


def test_a_chain_of_another_life_with_the_same_start_is_not_taken_back() -> None:
    # After a restart the same presentation may be decided anew, as another chain.
    one, again = chain(3), chain(3)
    assert pending(one).taken_back((T, T), again) == []


# --- forgetting


def test_a_settled_call_is_remembered_for_lookback_beyond_its_decision_and_not_much_longer() -> None:
    one = chain(3)
    of_task = pending(one)
    of_task.settle(one, called=True)
    of_task.forget_called(T + LOOKBACK)
    assert of_task.called("s", "o") is one
    of_task.forget_called(T + LOOKBACK + BUCKET)
    assert of_task.called("s", "o") is None


def test_an_unsettled_call_is_remembered_however_long_it_takes_and_forgotten_lookback_later() -> None:
    one = chain(3)
    of_task = pending(one)
    for _ in range(3):
        end = T + LOOKBACK + BUCKET
        of_task.forget_called(end)
        assert of_task.called("s", "o") is one
    of_task.settle(one, called=True)
    of_task.forget_called(end + LOOKBACK)
    assert of_task.called("s", "o") is one
    of_task.forget_called(end + LOOKBACK + BUCKET)
    assert of_task.called("s", "o") is None


def test_what_is_forgotten_of_an_older_chain_leaves_the_newer_one() -> None:
    older, newer = chain(1, T), chain(2, T + 3 * BUCKET)
    of_task = pending(older, newer)
    of_task.settle(older, called=True)
    of_task.settle(newer, called=True)
    of_task.forget_called(T + LOOKBACK + 2 * BUCKET)
    assert of_task.called("s", "o") is newer


def test_an_offer_of_another_partner_with_the_same_id_counts_as_called_too() -> None:
    # A checkout names offers by their ids alone.
    of_ada, of_bob = chain(1), chain(2, T + 1, partner="bob")
    of_task = pending(of_ada, of_bob)
    assert of_task.taken_back((T, T), of_bob) == [of_bob, of_ada]
