"""The rules of the decision, one example each. The oracle and the task must both say what the example says."""

from __future__ import annotations

import pytest
from support.strategies import FAR, LONG_AGO, START, Garbage, Logs, Record
from support.task_world import TaskWorld

from consumer.core.admission import Admission, CheckoutEffect
from consumer.core.rules import DecisionRules
from consumer.core.watermark import CLOCK_TOLERANCE, Side
from consumer.events import CheckoutCompleted, OfferPresented, Reason

PURCHASED, DECLINED, ABANDONED = Reason.PURCHASED, Reason.DECLINED, Reason.ABANDONED

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)

Told = tuple[int, int, int, Reason]


def shown(*times: int, partner: str = "ada", offer: str = "o1") -> list[Record]:
    """Presentations of one offer in the order they are read; times are relative to the start."""
    return [
        Record(offset, START + time, OfferPresented("s1", partner, offer, START + time, offset))
        for offset, time in enumerate(times)
    ]


def checkouts(*done: tuple[int, str]) -> list[Record]:
    """Checkouts of the same session, each with what it bought, split at blanks."""
    return [
        Record(n, START + time, CheckoutCompleted("s1", f"c{n}", START + time, n, tuple(bought.split())))
        for n, (time, bought) in enumerate(done)
    ]


def told(offers: list[Record], done: list[Record], rules: DecisionRules = RULES) -> list[Told]:
    """(begin, last, decide_at, reason) of every chain, by time. TaskWorld.finish compares each with the oracle."""
    world = TaskWorld(Logs(rules, offers, done))
    world.finish()
    world.check_all_told()
    expected = world.expected
    assert {d.fate for d in world.decisions} == set(expected)
    return sorted((f.begin - START, f.last - START, f.decide_at - START, f.reason) for f in expected)


@pytest.mark.parametrize(
    ("completed", "decide_at", "reason"),
    [(-1, 100, ABANDONED), (0, 10, DECLINED), (100, 110, DECLINED), (101, 100, ABANDONED)],
)
def test_a_checkout_decides_a_presentation_from_its_own_time_to_the_end_of_the_window(
    completed: int, decide_at: int, reason: Reason
) -> None:
    assert told(shown(0), checkouts((completed, ""))) == [(0, 0, decide_at, reason)]


def test_the_earliest_checkout_within_the_window_decides() -> None:
    assert told(shown(0), checkouts((30, ""), (60, ""))) == [(0, 0, 40, DECLINED)]


def test_an_offer_without_a_checkout_is_abandoned_at_the_end_of_its_window() -> None:
    assert told(shown(0), []) == [(0, 0, 100, ABANDONED)]


@pytest.mark.parametrize(("completed", "reason"), [(40, PURCHASED), (41, DECLINED)])
def test_a_purchase_counts_up_to_the_end_of_the_grace(completed: int, reason: Reason) -> None:
    assert told(shown(0), checkouts((30, ""), (completed, "o1"))) == [(0, 0, 40, reason)]


@pytest.mark.parametrize(("completed", "reason"), [(-301, ABANDONED), (-300, PURCHASED), (-299, PURCHASED)])
def test_a_purchase_before_the_chain_counts_as_far_as_lookback(completed: int, reason: Reason) -> None:
    assert told(shown(0), checkouts((completed, "o1"))) == [(0, 0, 100, reason)]


def test_lookback_is_counted_from_where_the_chain_begins() -> None:
    # Were it counted from the second presentation, the purchase would lie outside.
    assert told(shown(0, 90), checkouts((-300, "o1"))) == [(0, 90, 190, PURCHASED)]


@pytest.mark.parametrize(
    ("again", "chains"),
    [
        (100, [(0, 100, 200, ABANDONED)]),
        (101, [(0, 0, 100, ABANDONED), (101, 101, 201, ABANDONED)]),
    ],
)
def test_a_presentation_belongs_to_the_chain_up_to_decide_at_of_the_one_before(again: int, chains: list[Told]) -> None:
    assert told(shown(0, again), []) == chains


@pytest.mark.parametrize(
    ("again", "chains"),
    [
        (40, [(0, 40, 140, ABANDONED)]),
        (41, [(0, 0, 40, DECLINED), (41, 41, 141, ABANDONED)]),
    ],
)
def test_after_a_checkout_the_chain_is_open_for_the_grace_only(again: int, chains: list[Told]) -> None:
    assert told(shown(0, again), checkouts((30, ""))) == chains


@pytest.mark.parametrize(
    ("last", "chains"),
    [
        (300, [(0, 300, 400, ABANDONED)]),
        (301, [(0, 210, 310, ABANDONED), (301, 301, 401, ABANDONED)]),
    ],
)
def test_a_chain_is_split_once_it_has_lasted_for_lookback(last: int, chains: list[Told]) -> None:
    assert told(shown(0, 70, 140, 210, last), []) == chains


def test_presentations_at_equal_times_are_one() -> None:
    assert told(shown(0, 0, 0), checkouts((0, ""))) == [(0, 0, 10, DECLINED)]


def test_the_last_presentation_decides_between_declined_and_abandoned() -> None:
    # The checkout at 30 declined the first; the second, within the grace, found none.
    assert told(shown(0, 35), checkouts((30, ""))) == [(0, 35, 135, ABANDONED)]
    assert told(shown(0, 35), checkouts((30, ""), (60, ""))) == [(0, 35, 70, DECLINED)]


def test_a_purchase_buys_the_offer_of_every_partner() -> None:
    both = [shown(0)[0], shown(0, 0, partner="bob")[1]]
    assert [reason for *_, reason in told(both, checkouts((5, "o1")))] == [PURCHASED, PURCHASED]


def test_offers_of_one_session_are_decided_each_for_itself() -> None:
    both = [shown(0)[0], shown(0, 0, offer="o2")[1]]
    assert sorted(reason for *_, reason in told(both, checkouts((5, "o2")))) == [DECLINED, PURCHASED]


def test_an_offer_shown_again_long_after_it_was_bought_is_called() -> None:
    assert told(shown(0, 401), checkouts((50, "o1"), (100, "o1"))) == [
        (0, 0, 60, PURCHASED),
        (401, 401, 501, ABANDONED),
    ]
    assert told(shown(0, 400), checkouts((50, "o1"), (100, "o1")))[1] == (400, 400, 500, PURCHASED)


def test_abandoned_offers_are_settled_without_a_call_where_that_is_set() -> None:
    rules = DecisionRules(100, 10, 300, 5, 50, call_abandoned=False)
    world = TaskWorld(Logs(rules, shown(0), []))
    world.finish()
    assert [d.fate.reason for d in world.decisions] == [ABANDONED]
    assert world.called == set()
    assert world.settled == {0}


def test_a_checkout_that_arrives_late_still_counts_for_what_is_undecided() -> None:
    logs = Logs(RULES, shown(0), checkouts((90, ""), (5, "o1")))  # the purchase comes 85 behind: lateness is 5
    world = TaskWorld(logs)
    for _ in range(2):
        world.read(Side.CHECKOUTS)
    world.finish()
    assert [d.fate.reason for d in world.decisions] == [PURCHASED]


@pytest.mark.parametrize(("stamp", "reason"), [(105, Reason.CHECKOUT_UNREADABLE), (106, ABANDONED)])
def test_an_unreadable_checkout_taints_the_chains_it_could_have_decided(stamp: int, reason: Reason) -> None:
    # Its time is unknown; it may lie as far as lateness (5) before its record.
    garbage = [Record(0, START + stamp, Garbage("s1"), START + stamp - 5)]
    assert told(shown(0), garbage) == [(0, 0, 100, reason)]


@pytest.mark.parametrize(("begin", "reason"), [(4_350, Reason.CHECKOUT_UNREADABLE), (4_351, ABANDONED)])
def test_an_unreadable_checkout_lies_at_most_max_skew_after_the_clock_at_which_it_is_read(
    begin: int, reason: Reason
) -> None:
    # ... from where lookback (300) reaches. The clock may be behind by its tolerance (3,000).
    task = TaskWorld(Logs(RULES, [], [])).task
    task.unreadable_checkout(0, ("s1",), START, START + 1_000)
    task.offer(OfferPresented("s1", "ada", "o1", START + begin, 0), START + begin, START + begin)
    for side in Side:
        task.idle(side, START + 10_000)
    assert [c.reason for c in task.decide()] == [reason]


def test_an_unreadable_checkout_of_another_session_taints_nothing() -> None:
    assert told(shown(0), [Record(0, START, Garbage("s2"))]) == [(0, 0, 100, ABANDONED)]


def test_a_readable_purchase_goes_before_a_taint() -> None:
    done = [*checkouts((5, "o1")), Record(1, START + 5, Garbage("s1"))]
    assert told(shown(0), done) == [(0, 0, 15, PURCHASED)]


def test_a_purchase_that_comes_after_the_call_is_reported() -> None:
    task = TaskWorld(Logs(RULES, [], [])).task
    task.offer(OfferPresented("s1", "ada", "o1", START, 0), START, START)
    for side in Side:
        task.idle(side, START + 500)
    (chain,) = task.decide()
    assert chain.reason is ABANDONED
    task.settle(chain)
    effect = task.checkout(CheckoutCompleted("s1", "c1", START + 90, 0, ("o1",)), START + 90, START + 500)
    assert effect == CheckoutEffect(Admission.ACCEPTED, bought_after_call=(chain,))


@pytest.mark.parametrize(("behind", "verdict"), [(110, Admission.ACCEPTED), (111, Admission.LATE)])
def test_a_presentation_is_late_when_it_lies_window_and_grace_behind_the_watermark(
    behind: int, verdict: Admission
) -> None:
    world = TaskWorld(Logs(RULES, [], []), strict=False)
    for side in Side:
        world.task.idle(side, START + RULES.lateness + 1)
    assert world.task.watermark == START
    late = OfferPresented("s1", "ada", "o1", START - behind, 0)
    assert world.task.offer(late, START, START) is verdict


def test_a_presentation_dated_ahead_is_dead_lettered_and_moves_no_watermark() -> None:
    world = TaskWorld(Logs(RULES, [], []), strict=False)
    before = world.task.watermarks.of(Side.OFFERS).value
    ahead_of_record = OfferPresented("s1", "ada", "o1", START + 51, 0)
    assert world.task.offer(ahead_of_record, START, START + 10_000) is Admission.IMPLAUSIBLE
    ahead_of_clock = OfferPresented("s1", "ada", "o1", START + 51 + CLOCK_TOLERANCE, 1)
    assert world.task.offer(ahead_of_clock, ahead_of_clock.presented_at, START) is Admission.IMPLAUSIBLE
    assert world.task.watermarks.of(Side.OFFERS).value == before
    in_time = OfferPresented("s1", "ada", "o1", START + 50, 2)
    assert world.task.offer(in_time, START, START) is Admission.ACCEPTED


def ahead(happened: int, bought: str, *, dated: int = FAR, stamp: int | None = None, offset: int = 0) -> list[Record]:
    """A checkout of the same session that happened then, but is dated, and perhaps stamped, otherwise."""
    event = CheckoutCompleted("s1", f"c{offset}", dated, offset, tuple(bought.split()))
    return [Record(offset, START + happened if stamp is None else stamp, event, START + happened)]


def test_a_checkout_dated_ahead_moves_no_watermark_and_still_is_a_purchase() -> None:
    task = TaskWorld(Logs(RULES, [], [])).task
    task.offer(OfferPresented("s1", "ada", "o1", START, 0), START, START)
    before = task.watermarks.of(Side.CHECKOUTS).value
    far = CheckoutCompleted("s1", "c0", FAR, 0, ("o1",))
    assert task.checkout(far, START + 5, START + 5) == CheckoutEffect(Admission.IMPLAUSIBLE)
    assert task.watermarks.of(Side.CHECKOUTS).value == before
    for side in Side:
        task.idle(side, START + 10_000)
    assert [c.reason for c in task.decide()] == [PURCHASED]


def test_a_checkout_dated_ahead_buys_an_offer_that_was_due_before_its_record_was_stamped() -> None:
    # It happened within the window; its record was stamped by the broker, within lateness (5), after decide_at.
    assert told(shown(0), ahead(99, "o1", stamp=START + 102)) == [(0, 0, 100, PURCHASED)]


def test_a_checkout_whose_record_is_stamped_ahead_too_buys_what_is_undecided_however_late_it_is_read() -> None:
    # Were it dated by the clock at which it is read, a restart after decide_at would take the offer for not bought.
    assert told(shown(0), ahead(50, "o1", stamp=FAR)) == [(0, 0, 100, PURCHASED)]


def test_a_checkout_whose_record_is_stamped_in_seconds_still_is_a_purchase() -> None:
    # Its own date is right, and looks implausible beside its record's.
    assert told(shown(0), ahead(50, "o1", dated=START + 50, stamp=LONG_AGO)) == [(0, 0, 100, PURCHASED)]


@pytest.mark.parametrize(("stamp", "reason"), [(105, PURCHASED), (106, ABANDONED)])
def test_a_checkout_dated_ahead_lies_at_most_lateness_before_its_record(stamp: int, reason: Reason) -> None:
    assert told(shown(0), ahead(stamp - 5, "o1", stamp=START + stamp)) == [(0, 0, 100, reason)]


@pytest.mark.parametrize(("begin", "reason"), [(400, PURCHASED), (401, ABANDONED)])
def test_a_checkout_dated_ahead_lies_at_most_max_skew_after_its_own_date(begin: int, reason: Reason) -> None:
    # Dated 51 ahead of its record, and so at most at 50 + 50 + 1: lookback (300) reaches from there.
    done = ahead(-1, "o1", dated=START + 50, stamp=START - 1)
    assert told(shown(begin), done) == [(begin, begin, begin + 100, reason)]


def test_a_checkout_dated_ahead_declines_the_others_at_the_end_of_their_window_and_no_sooner() -> None:
    # It may have been their first checkout, or not: so a purchase counts for as long as if there were none.
    assert told(shown(0), ahead(20, "other")) == [(0, 0, 100, DECLINED)]
    done = [*ahead(20, "other"), *checkouts((0, ""), (90, "o1"))[1:]]
    assert told(shown(0), done)[0][3] is PURCHASED


def test_a_checkout_that_certainly_declined_goes_before_one_that_may_have() -> None:
    world = TaskWorld(Logs(RULES, shown(0), [*ahead(20, "other"), *checkouts((0, ""), (30, ""))[1:]]))
    world.finish()
    assert [d.fate.checkout_id for d in world.decisions] == ["c1"]


@pytest.mark.parametrize("stamp", [FAR, -1])
def test_an_unreadable_checkout_whose_record_has_no_usable_timestamp_taints_after_a_restart_too(stamp: int) -> None:
    """Offer at 0; the garbage comes at 50; the restart reads it again at 10,000, when the offer has long been due."""
    for now in (START + 50, START + 10_000):
        task = TaskWorld(Logs(RULES, [], [])).task
        task.offer(OfferPresented("s1", "ada", "o1", START, 0), START, now)
        task.unreadable_checkout(0, ("s1",), stamp, now)
        for side in Side:
            task.idle(side, START + 10_000)
        assert [c.reason for c in task.decide()] == [Reason.CHECKOUT_UNREADABLE]


def test_an_unreadable_checkout_may_have_been_completed_until_it_is_read() -> None:
    # A record stamped in seconds instead of milliseconds says 1970: the offer would be called.
    garbage = [Record(0, LONG_AGO, Garbage("s1"), START + 20)]
    assert told(shown(0), garbage) == [(0, 0, 100, Reason.CHECKOUT_UNREADABLE)]


def test_a_checkout_that_names_two_sessions_taints_both_and_is_one_dead_letter() -> None:
    task = TaskWorld(Logs(RULES, [], [])).task
    for offset, session in enumerate(("s1", "s2", "s3")):
        task.offer(OfferPresented(session, "ada", f"o{offset}", START, offset), START, START)
    assert task.unreadable_checkout(0, ("s1", "s2"), START, START)[0]
    for side in Side:
        task.idle(side, START + 10_000)
    tainted, abandoned = Reason.CHECKOUT_UNREADABLE, ABANDONED
    chains = task.decide()
    assert {c.session_id: c.reason for c in chains} == {"s1": tainted, "s2": tainted, "s3": abandoned}
    assert task.prepare_commit() is None, "its dead letter is not acknowledged"
    task.acknowledged(0, Side.CHECKOUTS)
    plan = task.prepare_commit()
    assert plan is not None
    assert plan.checkouts.offset == 0, "it is not held for the restart"
