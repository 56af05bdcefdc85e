"""Chains that are decided and not settled, and those that are settled: a purchase that comes late finds both."""

from __future__ import annotations

import pytest

from consumer.core.chain import Chain
from consumer.core.pending import PendingChains
from consumer.core.rules import DecisionRules
from consumer.events import CheckoutCompleted, OfferPresented, Reason

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


class Compared(Chain):
    """A chain that counts how often chains are compared."""

    times = 0
    __hash__ = Chain.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return self is other


@pytest.mark.parametrize("many", [2, 32, 33, 2_000])
def test_what_settling_costs_does_not_grow_with_all_that_waits_in_the_session(many: int) -> None:
    """A producer may write a constant where the session belongs, and calls come back in any order."""
    chains = [Compared(chain(n).presentations, T, Reason.DECLINED, None, False) for n in range(many)]
    of_task = pending(*chains)
    Compared.times = 0
    for left in range(many, 0, -1):
        assert of_task.settle(chains.pop(), called=True)
        assert len(of_task.quarantine("s", T)) == (left - 1 if left == many else 0), "each that waits is told once"
    assert Compared.times <= 32 * many


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


# --- what is known of an offer


def purchase(at: int = T, session: str = "s") -> CheckoutCompleted:
    return CheckoutCompleted(session, f"c{at}", at, 0, ("o",))


@pytest.mark.parametrize(
    ("reason", "rules", "is_known"),
    [
        (Reason.DECLINED, RULES, True),
        (Reason.DECLINED, IGNORING, True),
        (Reason.ABANDONED, RULES, True),
        (Reason.ABANDONED, IGNORING, True),
        (Reason.PURCHASED, RULES, False),
        (Reason.CHECKOUT_UNREADABLE, RULES, False),
    ],
)
def test_what_was_not_bought_is_known(reason: Reason, rules: DecisionRules, is_known: bool) -> None:
    one = chain(3, reason=reason)
    of_task = pending(one, rules=rules)
    assert of_task.knows("s", "o") is is_known
    assert of_task.bought(purchase(), "o") == ([one] if is_known else [], [])


def test_a_purchase_of_what_was_ignored_is_no_surprise_before_and_after_a_restart() -> None:
    ignored = chain(3, reason=Reason.ABANDONED)
    before = pending(ignored, rules=IGNORING)
    before.settle(ignored, called=True)
    assert before.bought(purchase(), "o") == ([], [])
    after = PendingChains(IGNORING)
    after.add_settled(chain(3, reason=Reason.ABANDONED))
    assert after.knows("s", "o")
    assert after.bought(purchase(), "o") == ([], [])


@pytest.mark.parametrize(("session", "offer"), [("s", "other"), ("other", "o")])
def test_only_the_same_offer_in_the_same_session_is_known(session: str, offer: str) -> None:
    of_task = pending(chain(3))
    assert not of_task.knows(session, offer)
    assert of_task.bought(purchase(session=session), offer) == ([], [])


def test_a_settled_chain_stays_known_and_a_purchase_is_told_only_if_the_insurer_was() -> None:
    for called in (True, False):
        one = chain(3)
        of_task = pending(one)
        of_task.settle(one, called=called)
        assert of_task.knows("s", "o")
        assert of_task.bought(purchase(), "o") == ([], [one] if called else [])


def test_a_chain_settled_before_a_restart_was_told_of_unless_a_purchase_is_known_with_it() -> None:
    told, withheld = chain(3), chain(3)
    withheld.bought_by = purchase(T + 1)
    for one in (told, withheld):
        of_task = PendingChains(RULES)
        of_task.add_settled(one)
        assert of_task.knows("s", "o")
        assert of_task.bought(purchase(T + 2), "o") == ([], [told] if one is told else [])


# --- purchases that come late


@pytest.mark.parametrize("at", [0, T - 10_000 - LOOKBACK - 1, T, T + 1, 10**15])
def test_a_purchase_withholds_the_call_whatever_its_date_and_is_noted_with_it(at: int) -> None:
    one, bought_by = chain(3), purchase(at)
    assert pending(one).bought(bought_by, "o") == ([one], [])
    assert one.bought_by is bought_by


def test_the_first_purchase_that_is_read_is_the_one_that_is_noted_and_each_chain_is_told_once() -> None:
    one, first = chain(3), purchase(T + 1)
    of_task = pending(one)
    of_task.bought(first, "o")
    assert of_task.bought(purchase(T), "o") == ([], [])
    assert one.bought_by is first


def test_a_purchase_withholds_every_unsettled_call_and_names_the_one_told_last() -> None:
    told, oldest, told_last, newest = (chain(number, T + number) for number in range(4))
    of_task = pending(told, oldest, told_last, newest)
    of_task.settle(told, called=True)
    of_task.settle(told_last, called=True)
    assert of_task.bought(purchase(), "o") == ([newest, oldest], [told_last])


def test_one_that_was_never_told_of_hides_none_before_it() -> None:
    told, let_go = chain(1), chain(2, T + 1)
    of_task = pending(told, let_go)
    of_task.settle(told, called=True)
    of_task.settle(let_go, called=False)
    assert of_task.bought(purchase(), "o") == ([], [told])


def test_a_chain_of_another_life_with_the_same_start_does_not_wait() -> None:
    # After a restart the same presentation may be decided anew, as another chain.
    one, again = chain(3), chain(3)
    of_task = PendingChains(RULES)
    of_task.add_settled(one)
    of_task.add(again, late_decided=False)
    assert of_task.bought(purchase(), "o") == ([again], [one])


def test_an_offer_of_another_partner_with_the_same_id_is_bought_too() -> None:
    # A checkout names offers by their ids alone.
    of_ada, of_bob = chain(1), chain(2, T + 1, partner="bob")
    assert pending(of_ada, of_bob).bought(purchase(), "o") == ([of_bob, of_ada], [])


# --- forgetting


def test_a_settled_chain_is_known_for_lookback_beyond_its_decision_and_not_much_longer() -> None:
    one = chain(3)
    of_task = pending(one)
    of_task.settle(one, called=True)
    of_task.forget(T + LOOKBACK)
    assert of_task.knows("s", "o")
    of_task.forget(T + LOOKBACK + BUCKET)
    assert not of_task.knows("s", "o")


def test_an_unsettled_chain_is_known_however_long_it_takes_and_forgotten_lookback_later() -> None:
    one = chain(3)
    of_task = pending(one)
    for _ in range(3):
        end = T + LOOKBACK + BUCKET
        of_task.forget(end)
        assert of_task.knows("s", "o")
    of_task.settle(one, called=True)
    of_task.forget(end + LOOKBACK)
    assert of_task.knows("s", "o")
    of_task.forget(end + LOOKBACK + BUCKET)
    assert not of_task.knows("s", "o")


@pytest.mark.parametrize("kept", range(3))
def test_what_is_forgotten_leaves_the_others_known_wherever_it_stands(kept: int) -> None:
    chains = [chain(number, T + number) for number in range(3)]
    of_task = pending(*chains)
    for number, one in enumerate(chains):
        if number != kept:
            of_task.settle(one, called=True)
    of_task.forget(T + LOOKBACK + 2 * BUCKET)
    assert of_task.bought(purchase(), "o") == ([chains[kept]], [])
    of_task.settle(chains[kept], called=True)
    of_task.forget(T + 3 * (LOOKBACK + BUCKET))
    assert not of_task.knows("s", "o")
