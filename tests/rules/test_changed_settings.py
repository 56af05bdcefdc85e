"""The settings of the join changed between two runs: what was settled stays so, the rest is decided by the new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.strategies import START, Logs
from support.task_steps import RULES, S, Shown, checkout_log, finish, offer_log, pass_time, read_all, reasons, settle
from support.task_world import TaskWorld

from consumer.core.checkpoint import CheckoutCheckpoint, Position
from consumer.core.rules import DecisionRules
from consumer.events import Reason

WIDER = replace(RULES, window=200 * S)
NARROWER = replace(RULES, window=40 * S)
MORE_GRACE = replace(RULES, checkout_grace=90 * S)
LOOKS_FURTHER = replace(RULES, lookback=600 * S)
IGNORING = replace(RULES, call_abandoned=False)


def world_of(
    offers: Sequence[Shown], checkouts: Sequence[Shown], then: DecisionRules, *now: DecisionRules
) -> TaskWorld:
    return TaskWorld(Logs(then, offer_log(*offers), checkout_log(*checkouts)), strict=False, later_rules=now)


def restart(world: TaskWorld) -> None:
    """With the next rules; up to where the run before had come. Checkouts are rewound as `Starts` does it."""
    raised = world.later_rules[0].lookback - world.rules.lookback if world.later_rules else 0
    if raised > 0:
        found = CheckoutCheckpoint.decode(world.broker[1].metadata, world.broker[1].offset)
        metadata = replace(found, horizon=found.horizon - raised).encode(0)
        world.broker = world.broker[0], Position(0, metadata)
    world.crash(7)
    world.rebuild()
    world.decide()


def test_offers_that_were_ignored_are_not_called_once_abandoned_ones_are_to_be() -> None:
    world = world_of([(0, 0, "ignored"), (1, 150, "open")], [], IGNORING, RULES)
    read_all(world)
    pass_time(world, 200)
    world.commit()
    restart(world)
    finish(world)
    assert reasons(world, 0) == [("ignored", Reason.ABANDONED)]
    assert reasons(world, 1) == [("open", Reason.ABANDONED)]
    assert world.called == {1}


def test_an_abandoned_offer_whose_call_waits_is_settled_without_it_once_such_are_ignored() -> None:
    world = world_of([(0, 0, "waits")], [], RULES, IGNORING)
    read_all(world)
    pass_time(world, 200)
    world.commit()
    restart(world)
    assert world.in_flight == []
    assert world.settled == {0}
    finish(world)


def test_a_declined_offer_whose_call_waits_is_called_though_abandoned_ones_are_ignored_now() -> None:
    world = world_of([(0, 0, "waits")], [(0, 20, "")], RULES, IGNORING)
    read_all(world)
    pass_time(world, 200)
    world.commit()
    restart(world)
    assert [chain.offer_id for chain in world.in_flight] == ["waits"]
    finish(world)


@pytest.mark.parametrize(
    ("now", "checkouts"),
    [
        (WIDER, [(0, 150, "waits")]),
        (LOOKS_FURTHER, [(0, -400, "waits")]),
        (MORE_GRACE, [(0, 10, ""), (1, 80, "waits")]),
    ],
    ids=["window", "lookback", "grace"],
)
def test_an_offer_that_is_withheld_and_not_settled_may_be_bought_by_the_new_settings(
    now: DecisionRules, checkouts: list[Shown]
) -> None:
    world = world_of([(0, 0, "waits"), (1, 0, "declined")], checkouts, RULES, now)
    read_all(world)
    pass_time(world, 300)
    world.commit()
    assert world.called == {1}, "by the settings of then the other was not bought in time, and is withheld"
    assert ("waits", Reason.ABANDONED) in reasons(world, 0) or ("waits", Reason.DECLINED) in reasons(world, 0)
    restart(world)
    finish(world)
    assert ("waits", Reason.PURCHASED) in reasons(world, 1)
    assert ("declined", Reason.PURCHASED) not in reasons(world, 1)


def test_a_call_that_waits_and_is_due_later_by_the_new_settings_is_made_then() -> None:
    world = world_of([(0, 0, "waits")], [], RULES, WIDER)
    read_all(world)
    pass_time(world, 150)
    world.commit()
    restart(world)
    assert world.in_flight == []
    assert world.task.prepare_commit() is None or world.commit()
    restart(world)  # nothing is lost by one more crash, either
    pass_time(world, 199)
    assert world.in_flight == []
    pass_time(world, 200)
    assert [chain.offer_id for chain in world.in_flight] == ["waits"]
    finish(world)


@pytest.mark.parametrize("now", [WIDER, NARROWER, MORE_GRACE, LOOKS_FURTHER, IGNORING])
def test_what_was_settled_is_not_called_again_though_it_may_be_due_later_now(now: DecisionRules) -> None:
    world = world_of([(0, 0, "hangs"), (1, 10, "settled"), (2, 100, "open")], [], RULES, now)
    read_all(world)
    pass_time(world, 150)
    settle(world, "settled")
    world.commit()
    for seconds in (155, 180, 250, 600):  # again and again, before and after the first commit by the new settings
        restart(world)
        pass_time(world, seconds)
        world.commit()
    finish(world)
    told = {offer for life in range(1, 5) for offer, _ in reasons(world, life)}
    assert told == {"hangs", "open"}


def test_a_narrower_window_decides_at_once_what_is_due_by_it_and_no_crash_repeats_what_was_settled() -> None:
    world = world_of([(n, n, f"o{n}") for n in range(60)], [], RULES, NARROWER)
    read_all(world)
    pass_time(world, 90)
    world.commit()
    assert world.decisions == []
    restart(world)
    assert len(world.in_flight) == 51, "due by W = 90 s: all up to 50 s"
    for n in range(0, 51, 2):
        settle(world, f"o{n}")
    world.commit()
    restart(world)
    assert sorted(chain.offer_id for chain in world.in_flight) == sorted(f"o{n}" for n in range(1, 51, 2))
    finish(world)
    assert [d.fate.reason for d in world.decisions].count(Reason.PURCHASED) == 0


def test_a_presentation_that_would_now_belong_to_a_settled_chain_is_decided_by_itself() -> None:
    world = world_of([(0, 0, "a"), (1, 10, "hangs"), (2, 150, "a")], [], RULES, WIDER)
    world.read(0)
    world.read(0)
    pass_time(world, 120)
    settle(world, "a")
    world.commit()
    restart(world)
    finish(world)
    assert reasons(world, 1) == [("a", Reason.ABANDONED), ("hangs", Reason.ABANDONED)]


def test_a_chain_split_by_its_length_stays_split_though_its_call_waits_over_a_change() -> None:
    """Its first part was bought and is read again in part; by the lookback alone, the two parts would now be one."""
    rules = replace(RULES, lookback=100 * S)
    log = [(0, 0, "a"), (1, 1, "hangs"), (2, 60, "a"), (3, 130, "a")]
    world = world_of(log, [(0, -50, "a")], rules, replace(rules, checkout_grace=9 * S), rules)
    read_all(world)
    pass_time(world, 400)
    assert reasons(world, 0)[:2] == [("a", Reason.ABANDONED), ("a", Reason.PURCHASED)]
    world.commit()
    assert world.broker[0].offset == 1
    for _ in range(2):
        restart(world)
        world.commit()
    finish(world)
    again = {d.fate.offsets for d in world.decisions if d.life > 0 and d.fate.offer_id == "a"}
    assert again == {frozenset({3})}


def test_a_lookback_lowered_and_raised_again_finds_the_purchase_that_is_still_in_the_log() -> None:
    lower = replace(RULES, lookback=100 * S)
    world = world_of([(0, 0, "hangs"), (1, 280, "late-buy")], [(0, 0, "late-buy")], RULES, lower, RULES)
    world.read(0)
    world.read(1)
    pass_time(world, 150)
    world.commit()
    restart(world)
    pass_time(world, 200)
    world.commit()
    assert CheckoutCheckpoint.decode(world.broker[1].metadata, world.broker[1].offset).horizon == START - 100 * S - 576
    restart(world)
    finish(world)
    assert ("late-buy", Reason.PURCHASED) in reasons(world, 2)
    assert world.dead == set()


def test_of_checkouts_that_are_gone_a_raised_lookback_makes_dead_letters_and_no_call() -> None:
    world = world_of([(0, 0, "waits")], [(0, -400, "waits")], RULES, LOOKS_FURTHER)
    read_all(world)
    pass_time(world, 300)
    world.commit()
    world.crash(7)  # not rewound
    finish(world)
    assert reasons(world, 1) == []
    assert world.dead == {0}


def test_a_change_of_abandoned_alone_puts_off_no_commit() -> None:
    world = world_of([(0, 90, "a"), (1, 95, "b")], [(0, 100, "")], RULES, IGNORING)
    read_all(world)
    pass_time(world, 150)
    settle(world, "b")
    world.commit()
    restart(world)
    assert world.commit(), "when each chain is due has not changed"
    finish(world)


def test_what_was_dead_lettered_as_implausible_stays_so_though_it_would_be_plausible_now() -> None:
    then = replace(RULES, max_skew=20 * S)
    world = world_of([(0, 0, "hangs"), (1, 50, "ahead")], [], then, replace(then, max_skew=100 * S))
    world.logs.offers[1] = world.logs.offers[1]._replace(timestamp=START + 10 * S)
    read_all(world)
    assert world.dead == {1}
    world.acknowledge(0)
    pass_time(world, 400)
    world.commit()
    restart(world)
    finish(world)
    assert reasons(world, 1) == [("hangs", Reason.ABANDONED)]
    assert world.called == {0}


def test_what_waits_behind_a_settled_chain_begins_one_by_the_new_settings_too_over_any_crash() -> None:
    """By the new window all three are one chain that lasts for longer than lookback: 1 and 2, then 3. But 1 is settled
    by the old one, so that 2 and 3 are one. Who read them again took 1 and 2 for one that was due, and settled."""
    log = [(0, 0, "hangs"), (1, 0, "a"), (2, 60, "a"), (3, 120, "a")]
    now = replace(RULES, lookback=100 * S)
    world = world_of(log, [], replace(now, window=40 * S), now)
    read_all(world)
    pass_time(world, 50)
    settle(world, "a")
    pass_time(world, 110)
    world.commit()
    restart(world)
    pass_time(world, 210)
    world.commit()
    restart(world)
    finish(world)
    again = {d.fate.offsets for d in world.decisions if d.life > 0 and d.fate.offer_id == "a"}
    assert again == {frozenset({2, 3})}


def test_what_is_shown_after_the_change_begins_a_chain_behind_a_settled_one_over_any_crash() -> None:
    """By the new window 1, 2 and 3 are one chain for whoever reads them again, that ends for its length before 4. But 1
    was settled by the old one, so that 2, 3 and 4 are one."""
    then = replace(RULES, window=30 * S, checkout_grace=0, lookback=70 * S)
    log = [(0, 0, "hangs"), (1, 0, "a"), (2, 40, "a"), (3, 70, "a"), (4, 100, "a")]
    world = world_of(log, [], then, replace(then, window=60 * S))
    world.read(0)
    world.read(0)
    pass_time(world, 35)
    settle(world, "a")
    world.commit()
    restart(world)
    read_all(world)
    pass_time(world, 131)
    world.commit()
    restart(world)
    finish(world)
    again = {d.fate.offsets for d in world.decisions if d.life > 0 and d.fate.offer_id == "a"}
    assert again == {frozenset({2, 3, 4})}
