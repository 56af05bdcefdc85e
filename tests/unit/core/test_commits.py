"""Which D goes with a commit when the list of the unsettled is full."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.core.admission import Admission
from consumer.core.chain import Chain
from consumer.core.checkpoint import OfferCheckpoint, Position
from consumer.core.commits import CommitPlan, CommitPlanner, StraddlingChains
from consumer.core.pending import PendingChains
from consumer.core.refused import RefusedOffers
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import MOST_ELEMENTS, CheckoutCompleted, OfferAmongSeveral, OfferPresented, Reason

RULES = DecisionRules(window=1_000, checkout_grace=0, lookback=2_000, lateness=0, max_skew=10**9)
LIMIT = 120


def full_of_calls(count: int) -> tuple[Task, list[Chain]]:
    """A task with so many chains due, one a millisecond, none of them settled."""
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0), metadata_limit=LIMIT)
    for n in range(count):
        task.offer(OfferPresented(f"s{n}", "P", f"o{n}", 10_000 + n, n), 10_000 + n, 10**9)
    for side in Side:
        task.idle(side, 50_000)
    return task, task.decide()


def planned(task: Task) -> tuple[CommitPlan, OfferCheckpoint]:
    plan = task.prepare_commit()
    assert plan is not None, "commits stop, and every call since is repeated after a crash"
    return plan, OfferCheckpoint.decode(plan.offers.metadata, plan.offers.offset)


def test_a_backlog_that_settles_in_between_lowers_d_instead_of_stopping_commits() -> None:
    task, chains = full_of_calls(220)
    plan, found = planned(task)
    assert len(found.unsettled) == 220, "one run of offsets fits"
    task.commit_acknowledged(plan)
    for chain in chains[40::2]:
        task.settle(chain)
    plan, found = planned(task)
    assert found.decided_to < 50_000 - 1
    assert len(plan.offers.metadata) <= LIMIT

    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts, metadata_limit=LIMIT)
    for n in range(220):
        again.offer(OfferPresented(f"s{n}", "P", f"o{n}", 10_000 + n, n), 10_000 + n, 10**9)
    for side in Side:
        again.idle(side, 50_000)
    called = {chain.offer_id for chain in again.decide()}
    assert called >= {chain.offer_id for chain in [*chains[:40], *chains[41::2]]}, "an unsettled call was lost"


def test_a_call_that_waits_is_listed_though_a_checkout_that_came_since_makes_it_due_below_d() -> None:
    task, chains = full_of_calls(220)
    for chain in chains[40::2]:
        task.settle(chain)
    late = CheckoutCompleted("s201", "c", 10_201, 0, ())
    task.checkout(late, 50_000, 10**9)
    plan, found = planned(task)
    assert 10_201 < found.decided_to < chains[201].decide_at, "the list is full, and it was due above it when decided"

    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts, metadata_limit=LIMIT)
    again.checkout(late, 50_000, 10**9)
    for n in range(220):
        again.offer(OfferPresented(f"s{n}", "P", f"o{n}", 10_000 + n, n), 10_000 + n, 10**9)
    for side in Side:
        again.idle(side, 50_000)
    assert "o201" in {chain.offer_id for chain in again.decide()}, "an unsettled call was lost"


def fitted(
    chains: list[Chain],
    limit: int,
    *,
    lowest: int = 0,
    dead: Iterable[int] = (),
    splits: Iterable[int] = (),
    late: Iterable[tuple[int, int]] = (),
) -> tuple[int, OfferCheckpoint] | None:
    """What fits for a task that has decided up to 50,000, with these chains unsettled.

    `late`: offsets of what was dead-lettered as late, and the watermark that made it so.
    """
    whole = OfferCheckpoint(
        (1_000, 0, 2_000, True), 1, 50_000, 99_999, 7, splits=frozenset(splits), dead=frozenset(dead)
    )
    pending = PendingChains(RULES)
    for one in chains:
        pending.add(one, late_decided=False)
    refused = RefusedOffers((), 1)
    for offset, watermark in late:
        refused.add(offset, Admission.LATE, watermark)
        refused.acknowledged(offset)
    return CommitPlanner(RULES, 0, limit=limit).fit_metadata(whole, lowest, pending, refused)


def alone(offset: int, decide_at: int) -> Chain:
    return Chain([OfferPresented(f"s{offset}", "P", "o", 0, offset)], decide_at, Reason.DECLINED, None, False)


def test_as_many_are_listed_as_there_is_room_for_and_d_is_just_below_the_next() -> None:
    chains = [alone(offset, decide_at=20_000 + 10 * n) for n, offset in enumerate(range(0, 9_000, 700))]
    lengths = [
        OfferCheckpoint(
            (1_000, 0, 2_000, True), 1, 10_000, 99_999, 7, unsettled=frozenset(range(0, 700 * count, 700))
        ).encode(0)
        for count in range(len(chains) + 1)
    ]
    assert fitted(chains, len(lengths[0]) - 1) is None
    for limit in range(len(lengths[0]), len(lengths[-1]) + 1):
        room = max(count for count, text in enumerate(lengths) if len(text) <= limit)
        found = fitted(chains, limit)
        assert found is not None
        assert len(found[1].unsettled) == room
        assert found[1].decided_to == (chains[room].decide_at - 1 if room < len(chains) else 50_000)


def test_what_was_not_even_looked_at_is_above_d() -> None:
    for more, complete in ((0, True), (1, False)):
        chains = [alone(n, decide_at=20_000 + n) for n in range(2 * LIMIT + more)]  # one run: it would fit
        found = fitted(chains, LIMIT)
        assert found is not None
        assert (found[1].decided_to == 50_000) is complete
        assert all(
            c.presentations[0].offset in found[1].unsettled for c in chains if c.decide_at <= found[1].decided_to
        )


def test_only_what_is_below_the_committed_offset_is_left_out_of_the_lists() -> None:
    found = fitted([], LIMIT, lowest=5, dead=(4, 5, 6), splits=(3, 5, 9))
    assert found is not None
    assert (found[0], found[1].dead, found[1].splits) == (5, {5, 6}, {5, 9})


def test_where_nothing_else_fits_dead_letters_are_written_once_more() -> None:
    full = fitted([alone(0, decide_at=10_000)], LIMIT, dead=range(0, 90_000, 500))
    assert full is not None
    assert (full[1].dead, full[1].unsettled, full[1].decided_to) == (frozenset(), {0}, 50_000)


def test_what_cannot_be_read_and_is_not_settled_stays_though_the_dead_find_no_room() -> None:
    """Or a reader that is mended would take it for one that was read, and a chain that is cut would be decided."""
    full = fitted([alone(0, decide_at=10_000)], LIMIT, dead=range(0, 90_000, 500), splits=(500, 1_000))
    assert full is not None
    assert (full[1].dead, full[1].splits) == ({500, 1_000}, {500, 1_000})


def test_what_was_late_is_listed_with_what_is_dead_where_there_is_room() -> None:
    found = fitted([], LIMIT, lowest=5, dead=(9,), late=[(4, 60_000), (6, 40_000), (7, 60_000)])
    assert found is not None
    assert (found[0], found[1].dead, found[1].decided_to) == (5, {6, 7, 9}, 50_000)


def test_where_there_is_little_room_what_d_tells_of_the_late_is_left_out() -> None:
    told = [(offset, 50_000) for offset in range(0, 90_000, 500)]
    found = fitted([alone(90_000, decide_at=10_000)], LIMIT, dead=(90_002,), late=[*told, (90_001, 50_001)])
    assert found is not None
    assert (found[1].dead, found[1].unsettled, found[1].decided_to) == ({90_001, 90_002}, {90_000}, 50_000)


def test_where_d_must_be_low_what_it_no_longer_tells_of_the_late_is_listed() -> None:
    # Neighbours of what is dead: they add nothing to the length of the list.
    chains = [alone(offset, decide_at=20_000 + offset) for offset in range(0, 20_000, 100)]
    late = [(offset, 20_000 + offset) for offset in range(50, 20_000)]
    without = fitted(chains, LIMIT, dead=(49, 20_000))
    assert without is not None
    found = fitted(chains, LIMIT, dead=(49, 20_000), late=late)
    assert found is not None
    assert 21_000 < found[1].decided_to == without[1].decided_to < 30_000
    assert {offset for offset, watermark in late if watermark > found[1].decided_to} <= found[1].dead


@pytest.mark.parametrize("full", [False, True])
def test_what_was_late_never_lowers_d_and_what_d_comes_to_last_is_listed(full: bool) -> None:
    chains = [alone(offset, decide_at=20_000 + offset) for offset in range(100, 20_000, 100)]
    chains = chains if full else chains[:5]
    without = fitted(chains, LIMIT, dead=(1,))
    assert without is not None
    assert (without[1].decided_to < 50_000) is full
    late = [(offset, 60_000 + offset) for offset in range(0, 90_000, 450)]
    found = fitted(chains, LIMIT, dead=(1,), late=late)
    assert found is not None
    assert found[1].decided_to == without[1].decided_to
    assert found[1].unsettled == without[1].unsettled
    listed = sorted(found[1].dead - without[1].dead)
    assert listed == [offset for offset, _ in late][len(late) - len(listed) :]
    one_more = replace(found[1], dead=found[1].dead | {late[-1 - len(listed)][0]})
    assert len(found[1].encode(0)) <= LIMIT < len(one_more.encode(0))
    assert full or len(listed) > 5


def chain(first: int, last: int, decide_at: int) -> Chain:
    shown = [OfferPresented("s", "P", "o", offset, offset) for offset in (first, last)]
    return Chain(shown, decide_at, Reason.DECLINED, None, False)


def test_a_chain_that_is_not_due_by_d_is_never_cut() -> None:
    spans = StraddlingChains()
    spans.add(chain(5, 20, decide_at=100), 0)
    assert spans.start(10, decided_to=100) == 10, "by D what is left of it is known as settled"
    assert spans.start(10, decided_to=99) == 5
    assert spans.start(20, decided_to=99) == 5
    assert spans.start(5, decided_to=99) == 5
    assert spans.start(21, decided_to=99) == 21


def chain_of_several(decide_at: int, *places: tuple[int, int]) -> Chain:
    """An offer that stands at these places, (record, place in it), in this order of event time."""
    shown = [
        OfferAmongSeveral("s", "P", "o", at, offset * MOST_ELEMENTS + place)
        for at, (offset, place) in enumerate(places)
    ]
    return Chain(shown, decide_at, Reason.DECLINED, None, False)


def test_a_chain_reaches_over_records_whatever_its_places_in_them_are() -> None:
    spans = StraddlingChains()
    spans.add(chain_of_several(100, (5, 63), (7, 0)), 0)
    assert [spans.start(offset, decided_to=99) for offset in range(5, 9)] == [5, 5, 5, 8]
    assert [spans.least_decided_to(offset) for offset in range(5, 9)] == [MIN_TIME, 100, 100, MIN_TIME]
    spans.forget(8, decided_to=99)
    assert not spans._chains


def test_a_chain_within_one_record_is_cut_by_nothing_whatever_its_order() -> None:
    spans = StraddlingChains()
    spans.add(chain_of_several(100, (5, 9), (5, 2)), 0)
    assert [spans.start(offset, decided_to=99) for offset in range(4, 8)] == [4, 5, 6, 7]
    spans.add(chain_of_several(100, (6, 9), (5, 2)), 0)
    assert [spans.start(offset, decided_to=200) for offset in range(4, 8)] == [4, 5, 5, 7], (
        "its records came in disorder"
    )


def test_going_back_for_one_chain_may_mean_going_back_for_another() -> None:
    spans = StraddlingChains()
    spans.add(chain(5, 12, decide_at=100), 0)
    spans.add(chain(10, 20, decide_at=100), 0)
    assert spans.start(15, decided_to=99) == 5


def test_d_never_falls_below_a_chain_that_the_commit_cuts() -> None:
    spans = StraddlingChains()
    spans.add(chain(5, 20, decide_at=100), 0)
    assert [spans.least_decided_to(offset) for offset in (10, 20)] == [100, 100]
    assert [spans.least_decided_to(offset) for offset in (5, 21)] == [MIN_TIME, MIN_TIME]


def test_chains_of_days_are_not_collected_and_d_does_not_fall_below_those_let_go() -> None:
    spans = StraddlingChains()
    for n in range(StraddlingChains.MOST + 1):
        spans.add(chain(10 * n + 1, 10 * n + 8, decide_at=n), 0)
    spans.forget(0, decided_to=10**9)
    assert spans.least_decided_to(0) == StraddlingChains.MOST
    assert not spans._chains


SPANS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5), st.integers(0, 9), st.booleans()), max_size=8)


@examples(300)
@given(SPANS, st.integers(0, 12), st.integers(0, 10), st.integers(0, 8), st.booleans())
def test_what_was_let_go_of_the_settled_chains_would_have_changed_no_commit(
    shapes: list[tuple[int, int, int, bool]], committed: int, decided_to: int, most: int, twice: bool
) -> None:
    all_of_them, fewer = StraddlingChains(), StraddlingChains()
    fewer.MOST = most  # type: ignore[misc] # for this one
    for first, length, decide_at, disordered in shapes:
        offsets = (first + length, first) if disordered else (first, first + length)
        for spans in (all_of_them, fewer):
            spans.add(chain(*offsets, decide_at), 0)
    for _ in range(1 + twice):
        fewer.forget(committed, decided_to)
    for later in range(committed, 16):
        assert fewer.least_decided_to(later) >= all_of_them.least_decided_to(later)
        for d in range(max(fewer.least_decided_to(later), 0), 12):
            # A commit never goes back below the one before.
            assert max(committed, fewer.start(later, d)) == max(committed, all_of_them.start(later, d))
    left = [s for s in shapes if s[0] + s[1] >= committed]
    if len(left) <= most:
        assert fewer.least_decided_to(committed) == all_of_them.least_decided_to(committed)
        assert len(fewer._chains) == len(left)
    else:
        assert all(s.disordered or s.decide_at > decided_to for s in fewer._chains)
        assert fewer.least_decided_to(committed) <= max(decided_to, all_of_them.least_decided_to(committed))


@examples(300)
@given(SPANS, st.integers(0, 8), st.integers(0, 12), st.integers(0, 10))
def test_chains_that_are_taken_for_one_are_cut_by_no_commit_that_would_cut_one_of_them(
    shapes: list[tuple[int, int, int, bool]], planned: int, later: int, d: int
) -> None:
    each, joined = StraddlingChains(), StraddlingChains()
    joined._join_at = 2
    for first, length, decide_at, disordered in shapes:
        offsets = (first + length, first) if disordered else (first, first + length)
        each.add(chain(*offsets, decide_at), planned)
        joined.add(chain(*offsets, decide_at), planned)
        joined._join_at = 2
    for least in range(planned, 16):
        assert joined.least_decided_to(least) >= each.least_decided_to(least)
    offset = joined.start(later, d)
    assert offset <= each.start(later, d)
    if offset > planned:
        assert each.start(offset, d) == offset, "it cuts one"
    assert {s.first for s in each._chains if s.first < planned} <= {s.first for s in joined._chains}


@pytest.mark.parametrize("most", [5, 200], ids=["the list has room", "the list is full"])
def test_settled_chains_are_kept_in_bounds_while_others_wait(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """One partner's credentials expire, and its offers wait. All others are shown twice, and settled."""
    monkeypatch.setattr(StraddlingChains, "MOST", 100)
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0), metadata_limit=200)
    now, waiting, plans = 10**6, 0, 0
    for n in range(2_000):
        now += RULES.window + RULES.checkout_grace
        for offset in (2 * n, 2 * n + 1):
            task.offer(OfferPresented(f"s{n}", "P", f"o{n}", now, offset), now, now)
        for side in Side:
            task.idle(side, now + RULES.window // 2)
        for one in task.decide():
            if n % 3 == 0 and waiting < most:
                waiting += 1
            else:
                task.settle(one)
        plan = task.prepare_commit()
        if plan is not None:
            plans += 1
            task.commit_acknowledged(plan)
    assert waiting == most
    assert plans > 1
    assert len(task._planner._straddling._chains) <= 210


def test_settled_chains_are_kept_in_bounds_while_the_broker_takes_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each offer is shown twice and bought: no call, so that no closed gate stops it."""
    monkeypatch.setattr(StraddlingChains, "MOST", 100)
    task, offset, now = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)), 0, 10**6
    for n in range(300):
        now += 1
        for _ in range(2):
            task.offer(OfferPresented(f"s{n}", "P", f"o{n}", now, offset), now, now)
            offset += 1
        task.checkout(CheckoutCompleted(f"s{n}", f"c{n}", now, n, (f"o{n}",)), now, now)
        for side in Side:
            task.idle(side, now)
        for chain in task.decide():
            task.settle(chain)
        if n % 10 == 0:
            task.prepare_commit()  # the broker refuses it, again and again
    assert len(task._planner._straddling._chains) <= 110
    plan = task.prepare_commit()
    assert plan is not None, "one that it takes can still be made"
