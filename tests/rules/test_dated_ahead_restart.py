"""A checkout whose date is not believed at first, and is after a restart: no offer of its session is lost by that."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest

from consumer.core.admission import Admission
from consumer.core.chain import Chain
from consumer.core.checkpoint import OfferCheckpoint, Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented

S = 1_000
M = 60 * S
H = 60 * M
T = 1_800_000_000 * S

RULES = DecisionRules(window=30 * M, checkout_grace=M, lookback=2 * H, lateness=5 * M, max_skew=5 * M)


def shown(at: int, offset: int, offer: str = "o", session: str = "s") -> OfferPresented:
    return OfferPresented(session, "ada", offer, at, offset)


def bought(dated: int, offset: int, *names: str, session: str = "s") -> CheckoutCompleted:
    return CheckoutCompleted(session, f"c{offset}", dated, offset, names)


def fates(task: Task) -> list[Chain]:
    due = task.decide()
    for chain in due:
        task.settle(chain)
    return due


def first_life(dated: int, stamp: int, now: int) -> tuple[Task, tuple[Position, Position]]:
    """One offer is shown at T; its session checks out without it at T + 1 min, as `dated` and stamped. By T + 29 min
    it is undecided, and that is committed."""
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
    assert task.offer(shown(T, 0), T, now) is Admission.ACCEPTED
    assert task.checkout(bought(dated, 0, "other"), stamp, now).admission is Admission.IMPLAUSIBLE
    for side in Side:
        task.idle(side, T + 34 * M)  # W = T + 29 min
    assert not fates(task)
    plan = task.prepare_commit(T + 34 * M)
    assert plan is not None
    task.commit_acknowledged(plan)
    return task, (plan.offers, plan.checkouts)


def second_life(rules: DecisionRules, at: tuple[Position, Position], dated: int, stamp: int, now: int) -> list[Chain]:
    task = Task(rules, partitions=1, offers=at[0], checkouts=at[1])
    assert at[0].offset == 0, "the offer is not settled"
    assert task.offer(shown(T, 0), T, now) is Admission.ACCEPTED
    if at[1].offset == 0:
        task.checkout(copy(bought(dated, 0, "other")), stamp, now)
    assert not task.restoring
    told = fates(task)
    for side in Side:
        task.idle(side, T + 2 * H)
    told += fates(task)
    assert task.undecided == task.unsettled == 0
    return told


def test_without_a_change_the_offer_is_decided_once() -> None:
    """For comparison: the same restart where the date is as implausible as before."""
    dated, stamp = T + 8 * M, T + M
    _, committed = first_life(dated, stamp, T + M)
    told = second_life(RULES, committed, dated, stamp, T + 35 * M)
    assert [chain.offer_id for chain in told] == ["o"]


def test_max_skew_is_raised_since_checkouts_were_dated_ahead() -> None:
    """Dated 7 min ahead of its record with max_skew of 5 min; then max_skew is set to 10 min."""
    dated, stamp = T + 8 * M, T + M
    _, committed = first_life(dated, stamp, T + M)
    told = second_life(replace(RULES, max_skew=10 * M), committed, dated, stamp, T + 35 * M)
    assert [chain.offer_id for chain in told] == ["o"]


def test_a_producer_is_20_minutes_ahead_and_the_task_moves_to_another_member() -> None:
    """Date and stamp are 20 min ahead of the clock when it is read; when it is read again they are not."""
    dated = stamp = T + 21 * M
    _, committed = first_life(dated, stamp, T + M)
    told = second_life(RULES, committed, dated, stamp, T + 35 * M)
    assert [chain.offer_id for chain in told] == ["o"]


def test_a_checkout_could_not_be_read_and_can_be_after_an_upgrade() -> None:
    """For example: with the schema, or the version, of before. Its session's offer is undecided at the restart."""
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
    task.offer(shown(T, 0), T, T)
    assert task.unreadable_checkout(0, ("s",), T + M, T + M)[0]
    task.acknowledged(0, Side.CHECKOUTS)
    for side in Side:
        task.idle(side, T + 34 * M)
    assert not fates(task)
    plan = task.prepare_commit(T + 34 * M)
    assert plan is not None
    told = second_life(RULES, (plan.offers, plan.checkouts), T + M, T + M, T + 35 * M)
    assert [chain.offer_id for chain in told] == ["o"]


@pytest.mark.parametrize("before", [True, False], ids=["before the decision", "after it"])
def test_a_chain_that_waits_for_its_call_is_listed_before_all_that_is_due_later(before: bool) -> None:
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
    task.offer(shown(T, 0), T, T + M)
    if before:
        task.checkout(bought(T + 21 * M, 0, "other"), T + M, T + M)
    for side in Side:
        task.idle(side, T + 36 * M)
    (chain,) = task.decide()
    if not before:
        assert chain.least_due == T + 30 * M
        task.unreadable_checkout(0, ("s",), T + 36 * M, T + 36 * M)
    assert chain.least_due == T
    assert task._pending.late_decided == {0: chain}


def test_what_is_open_of_other_sessions_is_not_listed() -> None:
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
    task.offer(shown(T, 0), T, T + M)
    task.offer(shown(T, 1, session="another"), T, T + M)
    task.offer(shown(T + 30 * M, 2, "above D"), T + 30 * M, T + 30 * M)
    task.checkout(bought(T + 21 * M, 0, "other"), T + M, T + M)
    for side in Side:
        task.idle(side, T + 34 * M)
    assert not fates(task)
    plan = task.prepare_commit(T + 34 * M)
    assert plan is not None
    assert OfferCheckpoint.decode(plan.offers.metadata, plan.offers.offset).unsettled == {0}


def test_where_the_list_has_no_room_d_stays_below_what_is_in_doubt() -> None:
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0), metadata_limit=300)
    for n in range(400):
        task.offer(shown(T + n * S, 2 * n, session=f"s{n}"), T, T + M)
        task.offer(shown(T + n * S, 2 * n + 1, session=f"t{n}"), T, T + M)
        task.checkout(bought(T + 40 * M, n, "other", session=f"s{n}"), T + M, T + M)
    for side in Side:
        task.idle(side, T + 34 * M)
    assert not fates(task)
    plan = task.prepare_commit(T + 34 * M)
    assert plan is not None
    found = OfferCheckpoint.decode(plan.offers.metadata, plan.offers.offset)
    assert 0 < len(found.unsettled) < 400
    assert found.decided_to == T + len(found.unsettled) * S - 1
