"""Rules 1 and 2: a yes to a commit that is full misses no offer and makes no false call; some calls are repeated.

Each log is read by a real task, from what the command has left, to the end of the world.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.changes_world import NOW, OURS
from support.strategies import examples
from support.two_logs import START, Shown, TwoLogs

from consumer.audit.decision import fates
from consumer.core.checkpoint import CheckoutCheckpoint
from consumer.core.rules import MIN_TIME
from consumer.events import OfferPresented, Reason
from consumer.kafka import kept_offers

pytestmark = pytest.mark.usefixtures("one_record_tells")

OLD = [(-3_000, ""), (-2_000, ""), (0, "o"), (60, "")]
MOVED = replace(OURS, base_url="https://api.example/elsewhere")


def accept(monkeypatch: pytest.MonkeyPatch, world: TwoLogs, less: int) -> str:
    """Say yes to another API, where a commit has room for so many characters less than there are to be said."""
    offset, found = world.offers()
    said = replace(found, provenance=MOVED.at(NOW), trusted_since=MIN_TIME)
    monkeypatch.setattr(kept_offers, "METADATA_LIMIT", len(said.encode(offset)) - less)
    world.now = MOVED
    return world.accept()[0].what


CUT = [(290, "o"), (300, "w"), (350, "o"), (360, "v"), (385, "o"), (400, "u")]
"""`o` is shown three times, in one chain of which only the first looks back to its purchase at 0."""


@pytest.mark.parametrize("crashes", [False, True])
def test_what_is_listed_more_is_no_rest_of_a_chain_that_the_commit_cuts(
    monkeypatch: pytest.MonkeyPatch, crashes: bool
) -> None:
    world = TwoLogs(CUT, OLD)
    world.settle_by(550, waits=["w", "v", "u"])
    offset, found = world.offers()
    assert (offset, found.unsettled) == (1, {1, 3, 5}), "the third presentation of `o` stands between, and is settled"
    what = accept(monkeypatch, world, 1)
    offset, found = world.offers()
    assert offset == 0, "it goes back to where the chain is read whole"
    assert found.unsettled > {1, 3, 5}
    assert "are called again" in what
    told = world.fates(crashes=crashes)
    assert told.get("o", [Reason.PURCHASED]) == [Reason.PURCHASED]
    assert [told[one] for one in "wvu"] == [[Reason.ABANDONED]] * 3


@pytest.mark.parametrize("crashes", [False, True])
def test_the_beginning_of_a_chain_that_is_cut_is_not_taken_for_late(
    monkeypatch: pytest.MonkeyPatch, crashes: bool
) -> None:
    """As in a deployment that has run for long: what is dated before the first open offer counts as late."""
    world = TwoLogs(CUT, OLD)
    world.settle_by(550, waits=["w", "v", "u"])
    offset, found = world.offers()
    world.commit("offers", offset, replace(found, late_below=START + 295_000).encode(offset))
    _, checkouts = world.checkouts()
    assert checkouts is not None
    world.commit("checkouts", 3, replace(checkouts, horizon=START - 5_000).encode(3))
    accept(monkeypatch, world, 1)
    assert world.offers()[1].unsettled > found.unsettled
    told = world.fates(crashes=crashes)
    assert told.get("o", [Reason.PURCHASED]) == [Reason.PURCHASED]
    assert [told[one] for one in "wvu"] == [[Reason.ABANDONED]] * 3


def test_a_chain_that_is_cut_may_go_on_for_a_lookback(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [(290, "o"), (300, "w"), (385, "o"), (400, "u"), (480, "o"), (490, "t"), (575, "o"), (580, "s")]
    world = TwoLogs(shown, [*OLD[:2], (-5, "o"), *OLD[3:]])
    world.settle_by(700, waits=["w", "u", "t", "s"])
    offset, found = world.offers()
    assert (offset, found.unsettled) == (1, {1, 3, 5, 7})
    accept(monkeypatch, world, 1)
    assert world.offers()[0] == 0
    told = world.fates()
    assert told["o"] == [Reason.PURCHASED]
    assert [told[one] for one in "wuts"] == [[Reason.ABANDONED]] * 4


def test_what_was_due_after_a_low_d_is_read_whole_too(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [(-10, "o"), (80, "o"), (170, "o"), (260, "o"), (700, "w"), (710, "x"), (720, "v")]
    world = TwoLogs(shown, [*OLD[:2], (-300, "o"), *OLD[3:]])
    world.settle_by(900, waits=["w", "v"])
    offset, found = world.offers()
    assert offset == 4
    world.commit("offers", 4, replace(found, decided_to=START + 200_000).encode(4))
    accept(monkeypatch, world, 1)
    assert world.offers()[0] == 0
    told = world.fates()
    assert told["o"] == [Reason.PURCHASED]
    assert [told[one] for one in "wv"] == [[Reason.ABANDONED]] * 2


def test_nothing_is_read_again_where_what_is_listed_more_is_too_young_for_a_chain_that_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    young = [(at, name) for at, name in zip(range(900, 907), "abcdefg", strict=True)]
    world = TwoLogs([*CUT, *young], OLD)
    world.settle_by(1_200, waits=["w", "v", "u", "a", "c", "g"])
    offset, found = world.offers()
    assert (offset, found.unsettled) == (1, {1, 3, 5, 6, 8, 12})
    left = world.left("checkouts")
    what = accept(monkeypatch, world, 1)
    assert (world.offers()[0], world.left("checkouts")) == (1, left)
    assert world.offers()[1].unsettled == found.unsettled | {7}, "of the gaps the smallest one"
    assert "up to 1 offers that are settled are called again" in what
    told = world.fates()
    assert "o" not in told
    assert sorted(told) == ["a", "b", "c", "g", "u", "v", "w"]


def test_where_checkouts_are_gone_that_a_whole_chain_needs_nothing_is_listed_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = TwoLogs(CUT, OLD)
    world.settle_by(550, waits=["w", "v", "u"])
    offset, text = world.left("checkouts")
    world.commit("checkouts", 3, replace(CheckoutCheckpoint.decode(text, offset), horizon=NOW).encode(3))
    world.consumer.begins["checkouts"] = 3
    accept(monkeypatch, world, 1)
    assert world.offers()[1].unsettled == frozenset()
    assert world.offers()[1].next_offset == 1, "so all that stands from there on is read as if for the first time"
    told = world.fates()
    assert Reason.ABANDONED not in told.get("o", [])
    assert all(one in told for one in "wvu")


TIMES = st.integers(0, 900)
OFFERS = st.lists(st.tuples(TIMES, st.sampled_from("abcdefgh")), min_size=4, max_size=24).map(sorted)
CHECKOUTS = st.lists(st.tuples(TIMES, st.sampled_from(["a", "b", "c", ""])), max_size=6).map(sorted)


@examples(400)
@given(
    OFFERS,
    CHECKOUTS,
    st.integers(300, 1_200),
    st.sets(st.sampled_from("abcdefgh")),
    st.integers(1, 12),
    st.booleans(),
)
def test_a_yes_to_a_full_commit_misses_no_offer_and_makes_no_false_call(
    shown: list[Shown], done: list[Shown], settled: int, waits: set[str], less: int, in_doubt: bool
) -> None:
    world = TwoLogs(shown, [(-3_000, ""), (-2_000, ""), *done])
    told = fates(world.shown, world.done, world.rules)
    assume(not any(fate.last - fate.begin > 200_000 for fate in told))
    world.settle_by(settled, waits=sorted(waits))
    before = world.offers()[1]
    assume(len(before.unsettled) > 1)
    open_ones = {(f.offer_id, f.last) for f in told if f.offer_id in waits or f.decide_at > before.decided_to}
    if in_doubt:
        world.commit("checkouts", world.left("checkouts")[0], "")
    with pytest.MonkeyPatch.context() as patch:
        accept(patch, world, less)
    late: list[OfferPresented] = []
    made = world.chains(crashes=True, late=late)
    assert in_doubt or not late
    if late:  # what is late is judged by nobody, and the rest of its chain is one by itself
        given_up = {one.offset for one in late}
        told = fates([one for one in world.shown if one.offset not in given_up], world.done, world.rules)
        open_ones -= {(one.offer_id, one.presented_at) for one in late}
    right = {(f.offer_id, f.last): f for f in told}
    for chain in made:
        if chain.reason is not Reason.PURCHASED and chain.bought_by is None:
            fate = right[chain.offer_id, chain.last.presented_at]
            assert (chain.reason, chain.begin) == (fate.reason, fate.begin), "called, and not as the whole of it"
    assert open_ones <= {(chain.offer_id, chain.last.presented_at) for chain in made}
