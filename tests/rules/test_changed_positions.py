"""Rule 2: a position that an operator has changed makes no false call, though it stands in the middle of a chain.

Each log is read by a real task, from what the command has left, to the end of the world.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import KafkaError
from hypothesis import assume, given
from hypothesis import strategies as st
from support.changes_world import NOW, OURS
from support.strategies import examples
from support.two_logs import RULES, START, Shown, TwoLogs

from consumer.audit.decision import fates
from consumer.core.checkpoint import rules_key
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.watermark import Side
from consumer.errors import PositionsError, StartError
from consumer.events import CheckoutCompleted, OfferPresented, Reason
from consumer.kafka.leader_epochs import ReadTo
from consumer.kafka.positions import Doubt

pytestmark = pytest.mark.usefixtures("one_record_tells")

LONG = [(290, "o"), (350, "other"), (385, "o"), (700, "x")]
"""`o` is shown twice, in one chain of which only the first looks back to its purchase at 0."""

OLD = [(-3_000, ""), (-2_000, ""), (0, "o"), (60, ""), (395, ""), (600, "")]
"""The checkouts of that, behind others that are long ago."""


def test_the_world_judges_the_chain_as_bought_when_it_is_read_whole() -> None:
    world = TwoLogs(LONG, OLD)
    world.commit("offers", 0, world.starts.new_offers(0, NOW))
    world.commit("checkouts", 0, world.starts.checkouts_from(0, MIN_TIME))
    assert world.fates()["o"] == [Reason.PURCHASED]


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("to", [290, 300, 350, 380, 385])
def test_a_reset_into_the_middle_of_a_chain_does_not_judge_it_without_its_beginning(to: int, crashes: bool) -> None:
    world = TwoLogs(LONG, OLD)
    world.settle_by(1_000)
    world.changes.reset_to(START + 1_000 * to, NOW)
    fates = world.fates(crashes=crashes)
    assert fates["o"] == [Reason.PURCHASED]
    assert fates["x"] == [Reason.ABANDONED], "what was shown after that time is called again"


NARROW = replace(RULES, window=20_000)
"""By these an offer is due 80 s earlier than by `RULES`."""


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("rules", [RULES, NARROW, replace(NARROW, checkout_grace=1_000, lookback=20_000)])
def test_a_reset_with_other_settings_decides_again_what_was_not_due_by_those_of_then(
    rules: DecisionRules, crashes: bool
) -> None:
    # Shown at 450 s, it was due at 550 s. Until 500 s all was well; then it was settled by a wrong route, say.
    world = TwoLogs([(300, "before"), (450, "x"), (900, "z")], [(at, "") for at in range(-2_000, -1_975)] + [(60, "")])
    world.settle_by(700)
    world.rules = rules
    world.changes.reset_to(START + 500_000, NOW)
    assert world.fates(crashes=crashes) == {"x": [Reason.ABANDONED], "z": [Reason.ABANDONED]}


def test_a_reset_with_other_settings_reads_chains_that_lasted_longer_by_those_of_then_whole() -> None:
    world = TwoLogs(LONG, OLD)
    world.settle_by(1_000)
    world.rules = replace(NARROW, lookback=20_000)
    world.changes.reset_to(START + 385_000, NOW)
    offset, checkpoint = world.offers()
    assert (offset, checkpoint.rules) == (0, rules_key(RULES))
    assert world.fates()["x"] == [Reason.ABANDONED]


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("text", ["", "of another program"])
def test_what_is_accepted_in_the_middle_of_a_chain_is_not_judged_without_it(text: str, crashes: bool) -> None:
    world = TwoLogs(LONG, OLD)
    world.settle_by(1_000)
    world.commit("offers", 2, text)
    world.accept()
    fates = world.fates(crashes=crashes)
    assert fates.get("o", [Reason.PURCHASED]) == [Reason.PURCHASED]
    assert fates["x"] == [Reason.ABANDONED]


def test_checkouts_in_doubt_do_not_make_settled_offers_unknown_again() -> None:
    world = TwoLogs(LONG, OLD)
    world.settle_by(490, waits=["other"])
    offset, before = world.offers()
    assert (offset, before.decided_to) == (1, START + 594_999), "the commit cuts the chain, which is settled"
    world.commit("checkouts", world.left("checkouts")[0], "")
    world.accept()
    assert "o" not in world.fates()
    assert world.offers()[1].unsettled == before.unsettled


def test_what_retention_deleted_does_not_make_settled_offers_unknown_again() -> None:
    world = TwoLogs(LONG, OLD)
    world.settle_by(490, waits=["other"])
    world.consumer.begins["offers"] = 2
    world.accept()
    assert world.offers()[0] == 2
    assert "o" not in world.fates()


def test_each_commit_of_a_run_says_again_what_is_lost_for_good() -> None:
    world = TwoLogs(LONG, OLD)
    world.settle_by(490)
    del world.done[4:]
    world.consumer.stamps["checkouts"] = world.consumer.stamps["checkouts"][:4]
    world.accept()
    lost_below = NOW + RULES.max_skew + RULES.lateness
    assert world.offers()[1].lost_below == lost_below
    task = world.task()
    assert [one.offer_id for one in world.read(task)] == ["x"]
    for side in Side:
        task.idle(side, NOW)
    task.decide()
    assert world.keep(task)
    assert world.offers()[1].decided_to > START + 700_000, "the run has committed"
    assert world.offers()[1].lost_below == lost_below


# --- the property: whatever the logs, and wherever the way back leads to

TIMES = st.integers(0, 600)
OFFERS = st.lists(st.tuples(TIMES, st.sampled_from("ab")), min_size=1, max_size=10).map(sorted)
CHECKOUTS = st.lists(st.tuples(TIMES, st.sampled_from(["a", "b", ""])), max_size=6).map(sorted)


@examples(300)
@given(OFFERS, CHECKOUTS, st.integers(0, 700), st.integers(0, 1_000), st.sampled_from(["reset", "offers", "checkouts"]))
def test_no_change_of_positions_makes_a_false_call_and_no_reset_misses_an_offer(
    shown: list[Shown], done: list[Shown], to: int, settled: int, how: str
) -> None:
    world = TwoLogs(shown, [(-3_000, ""), (-2_000, ""), *done])
    told = fates(world.shown, world.done, RULES)
    # One that is shown for longer than two lookbacks goes back further than any bound.
    assume(not any(fate.last - fate.begin > 200_000 for fate in told))
    world.settle_by(settled)
    if how == "reset":
        assume(world.offers()[0] >= world.starts.offsets_at(world.consumer, Side.OFFERS, START + 1_000 * to)[0])
        world.changes.reset_to(START + 1_000 * to, NOW)
    else:
        world.commit(how, world.left(how)[0], "")
        world.accept()
    late: list[OfferPresented] = []
    made = world.chains(crashes=True, late=late)
    given_up = {one.offset for one in late}
    # What is late is judged by nobody, and the rest of its chain is one by itself.
    told = fates([one for one in world.shown if one.offset not in given_up], world.done, RULES)
    right = {(f.offer_id, f.last): f for f in told}
    for chain in made:
        if chain.reason is not Reason.PURCHASED and chain.bought_by is None:
            fate = right[chain.offer_id, chain.last.presented_at]
            assert (chain.reason, chain.begin) == (fate.reason, fate.begin), "called, and not as the whole of it"
    if how == "reset":
        after = {(f.offer_id, f.last) for f in told if f.last >= START + 1_000 * to}
        assert after <= {(chain.offer_id, chain.last.presented_at) for chain in made}


@examples(150)
@given(
    OFFERS,
    CHECKOUTS,
    st.integers(0, 700),
    st.lists(st.integers(0, 600), min_size=1, max_size=2),
    st.integers(0, 1_000),
    st.sets(st.sampled_from("ab")),
    st.sampled_from([frozenset(), frozenset({"checkouts"}), frozenset({"offers"})]),
)
def test_a_way_back_that_is_gone_again_loses_nothing_that_was_not_settled(
    shown: list[Shown],
    done: list[Shown],
    to: int,
    earlier: list[int],
    settled: int,
    waits: set[str],
    refused: frozenset[str],
) -> None:
    """To a time, to the same one again, and to earlier ones, where that is not refused as a way forward. Of the first
    the broker may take the first part only. What was settled may be called again."""
    world = TwoLogs(shown, [(-3_000, ""), (-2_000, ""), *done])
    told = fates(world.shown, world.done, RULES)
    assume(not any(fate.last - fate.begin > 200_000 for fate in told))
    world.settle_by(settled, waits=sorted(waits))
    assume(world.offers()[0] >= world.starts.offsets_at(world.consumer, Side.OFFERS, START + 1_000 * to)[0])
    if refused:
        world.consumer.refused = dict.fromkeys(refused, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        with pytest.raises(StartError, match="do it again"):
            world.changes.reset_to(START + 1_000 * to, NOW)
        world.consumer.refused = {}
    world.changes.reset_to(START + 1_000 * to, NOW)
    for before in (to, *sorted((to - less for less in earlier if less <= to), reverse=True)):
        left = world.left("offers")
        try:
            world.changes.reset_to(START + 1_000 * before, NOW)
            to = before
        except PositionsError:
            assert world.left("offers") == left
    late: list[OfferPresented] = []
    made = world.chains(crashes=True, late=late)
    given_up = {one.offset for one in late}
    right = {
        (f.offer_id, f.last): f
        for f in fates([one for one in world.shown if one.offset not in given_up], world.done, RULES)
    }
    for chain in made:
        fate = right[chain.offer_id, chain.last.presented_at]
        if chain.reason is not Reason.PURCHASED and chain.bought_by is None:
            assert (chain.reason, chain.begin) == (fate.reason, fate.begin), "called, and not as the whole of it"
    after = {(f.offer_id, f.last) for f in told if f.decide_at > START + 1_000 * to - RULES.lateness}
    assert after <= {(chain.offer_id, chain.last.presented_at) for chain in made}


def test_a_way_back_after_the_checkouts_lost_their_end_calls_nothing_that_they_may_have_bought() -> None:
    """`opt-out positions` says that the log was cut. Only the yes to it keeps up to when checkouts are lost."""
    old = [(at, "") for at in range(-2_000, -1_975)] + [(0, ""), (60, "")]
    world = TwoLogs([(300, "o"), (700, "x")], [*old, (320, "o"), (330, "")])
    world.settle_by(600)
    assert world.fates().get("o") is None, "it is settled: it was bought"
    _, found = world.checkouts()
    assert found is not None
    assert found.next_offset == len(world.done)
    del world.done[-2:]  # as by an unclean election of a leader
    del world.consumer.stamps["checkouts"][-2:]
    positions = world.starts.positions(world.consumer)
    logs = {(side, 0): (0, len(log)) for side, log in ((Side.OFFERS, world.shown), (Side.CHECKOUTS, world.done))}
    assert [doubt.doubt for doubt in positions.doubts(OURS, logs)] == [Doubt.CUT], "which is known"
    left = world.left("offers"), world.left("checkouts")
    with pytest.raises(PositionsError, match=r"checkouts\[0\]: the log no longer holds(?s:.*)positions --accept"):
        world.changes.reset_to(START + 200_000, NOW)
    assert (world.left("offers"), world.left("checkouts")) == left
    world.accept()
    world.changes.reset_to(START + 200_000, NOW)
    assert Reason.ABANDONED not in world.fates()["o"], "its purchase was read, and is lost"


def test_the_same_where_the_log_has_grown_past_what_was_read_since() -> None:
    """By its offsets alone the log looks like the old one: the epochs tell."""
    old = [(at, "") for at in range(-2_000, -1_975)] + [(0, ""), (60, "")]
    world = TwoLogs([(300, "o"), (700, "x")], [*old, (320, "o"), (330, "")])
    world.settle_by(600)
    world.consumer.epochs["checkouts", 0] = 4
    cut = len(world.done) - 2
    del world.done[cut:]
    del world.consumer.stamps["checkouts"][cut:]
    for at in range(800, 830):
        world.done.append(CheckoutCompleted("s-", f"new{at}", START + 1_000 * at, len(world.done), ()))
        world.consumer.stamps["checkouts"].append(START + 1_000 * at)
    world.cuts["checkouts"] = cut
    positions = world.starts.positions(world.consumer, with_cuts=True)
    assert world.held_against["checkouts"] == ReadTo(cut + 2, 4)
    assert [(doubt.doubt, doubt.topic) for doubt in positions.doubts(OURS)] == [(Doubt.CUT, "checkouts")]
    with pytest.raises(PositionsError, match=r"checkouts\[0\]: the log no longer holds(?s:.*)positions --accept"):
        world.changes.reset_to(START + 200_000, NOW)
    world.accept()
    assert world.starts.of(world.consumer, [0]), "a start goes on"
    world.changes.reset_to(START + 200_000, NOW)
    assert Reason.ABANDONED not in world.fates()["o"], "its purchase was read, and is lost"


@examples(150)
@given(OFFERS, CHECKOUTS, st.lists(TIMES, min_size=1, max_size=12).map(sorted), st.integers(0, 10), st.integers(0, 700))
def test_a_way_back_misses_no_offer_that_was_written_behind_a_cut(
    shown: list[Shown], done: list[Shown], new: list[int], cut: int, to: int
) -> None:
    """The offers' log lost its end, and has grown past what was read of it, or not. What is new was never read."""
    assume(cut < len(shown))
    world = TwoLogs(shown, [(-3_000, ""), (-2_000, ""), *done])
    world.settle_by(400)
    committed, before = world.offers()
    assume(cut < before.next_offset)
    world.consumer.epochs["offers", 0] = 4
    world.cuts["offers"] = cut
    # A log is dated in order: what is new is no older than what stands before it.
    last = shown[cut - 1][0] if cut else 0
    world.shown = world.shown[:cut] + [
        OfferPresented(f"s-new{n}", "P", f"new{n}", START + 1_000 * max(at, last), cut + n) for n, at in enumerate(new)
    ]
    world.consumer.stamps["offers"] = [one.presented_at for one in world.shown]
    moment = START + 1_000 * to
    try:
        world.changes.reset_to(moment, NOW)
    except PositionsError:
        unread = world.shown[min(committed, cut) :]
        assert [one for one in unread if one.presented_at < moment], "and these it would have passed over"
        return
    late: list[OfferPresented] = []
    made = {chain.offer_id for chain in world.chains(crashes=True, late=late)}
    assert {one.offer_id for one in world.shown[cut:]} <= made | {one.offer_id for one in late}
    assert not [one for one in late if one.offset >= cut]
