"""The rules of the decision, one example each. The oracle and the task must both say what the example says."""

from __future__ import annotations

import pytest
from oracle import fates
from strategies import START, Garbage, Logs, Record
from task_world import World

from consumer.core.rules import Rules
from consumer.core.task import Input, Verdict
from consumer.events import CheckoutCompleted, OfferPresented, Reason

PURCHASED, DECLINED, ABANDONED = Reason.PURCHASED, Reason.DECLINED, Reason.ABANDONED

RULES = Rules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)

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


def told(offers: list[Record], done: list[Record], rules: Rules = RULES) -> list[Told]:
    """(begin, last, decide_at, reason) of every chain, by time. World.finish compares each with the oracle."""
    world = World(Logs(rules, offers, done))
    world.finish()
    world.check_all_told()
    expected = fates(world.logs.presentations, world.logs.completed, rules, world.unreadable)
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
    rules = Rules(100, 10, 300, 5, 50, call_abandoned=False)
    world = World(Logs(rules, shown(0), []))
    world.finish()
    assert [d.fate.reason for d in world.decisions] == [ABANDONED]
    assert world.called == set()
    assert world.settled == {0}


def test_a_checkout_that_arrives_late_still_counts_for_what_is_undecided() -> None:
    logs = Logs(RULES, shown(0), checkouts((90, ""), (5, "o1")))  # the purchase comes 85 behind: lateness is 5
    world = World(logs)
    for _ in range(2):
        world.read(Input.CHECKOUTS)
    world.finish()
    assert [d.fate.reason for d in world.decisions] == [PURCHASED]


@pytest.mark.parametrize(("stamp", "reason"), [(-351, ABANDONED), (-350, Reason.CHECKOUT_UNREADABLE)])
def test_an_unreadable_checkout_taints_the_chains_it_could_have_decided(stamp: int, reason: Reason) -> None:
    # Its time is unknown; it may lie as far as max_skew (50) after its record, and lookback (300) reaches that far.
    garbage = [Record(0, START + stamp, Garbage("s1"))]
    assert told(shown(0), garbage) == [(0, 0, 100, reason)]


def test_an_unreadable_checkout_of_another_session_taints_nothing() -> None:
    assert told(shown(0), [Record(0, START, Garbage("s2"))]) == [(0, 0, 100, ABANDONED)]


def test_a_readable_purchase_goes_before_a_taint() -> None:
    done = [*checkouts((5, "o1")), Record(1, START + 5, Garbage("s1"))]
    assert told(shown(0), done) == [(0, 0, 15, PURCHASED)]


def test_a_purchase_that_comes_after_the_call_is_reported() -> None:
    task = World(Logs(RULES, [], [])).task
    task.offer(OfferPresented("s1", "ada", "o1", START, 0), START, START)
    for source in Input:
        task.idle(source, START + 500)
    assert [c.reason for c in task.decide()] == [ABANDONED]
    task.checkout(CheckoutCompleted("s1", "c1", START + 90, 0, ("o1",)), START + 90, START + 500)
    assert [(c.checkout_id, chain.offer_id) for c, chain in task.bought_after_call] == [("c1", "o1")]


@pytest.mark.parametrize(("behind", "verdict"), [(110, Verdict.ACCEPTED), (111, Verdict.LATE)])
def test_a_presentation_is_late_when_it_lies_window_and_grace_behind_the_watermark(
    behind: int, verdict: Verdict
) -> None:
    world = World(Logs(RULES, [], []), strict=False)
    for source in Input:
        world.task.idle(source, START + RULES.lateness + 1)
    assert world.task.watermark == START
    late = OfferPresented("s1", "ada", "o1", START - behind, 0)
    assert world.task.offer(late, START, START) is verdict


def test_a_presentation_dated_ahead_is_dead_lettered_and_moves_no_watermark() -> None:
    world = World(Logs(RULES, [], []), strict=False)
    before = world.task.input_watermark(Input.OFFERS)
    ahead_of_record = OfferPresented("s1", "ada", "o1", START + 51, 0)
    assert world.task.offer(ahead_of_record, START, START + 10_000) is Verdict.IMPLAUSIBLE
    ahead_of_clock = OfferPresented("s1", "ada", "o1", START + 51, 1)
    assert world.task.offer(ahead_of_clock, START + 51, START) is Verdict.IMPLAUSIBLE
    assert world.task.input_watermark(Input.OFFERS) == before
    in_time = OfferPresented("s1", "ada", "o1", START + 50, 2)
    assert world.task.offer(in_time, START, START) is Verdict.ACCEPTED


def test_a_checkout_dated_ahead_moves_no_watermark_and_still_is_a_purchase() -> None:
    far = CheckoutCompleted("s1", "c0", START + 10**9, 0, ("o1",))
    world = World(Logs(RULES, shown(0), [Record(0, START + 5, far)]), strict=False)
    world.read(Input.OFFERS)
    before = world.task.input_watermark(Input.CHECKOUTS)
    world.task.checkout(far, START + 5, START + 5)
    assert world.task.input_watermark(Input.CHECKOUTS) == before
    for source in Input:
        world.task.idle(source, START + 10_000)
    assert [c.reason for c in world.task.decide()] == [PURCHASED]
