"""Whatever crashes, and wherever: no call is false, none is missed, and no offer meets two fates."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.strategies import CHANGES, UNITS, Logs, Step, examples, logs, schedules
from support.task_world import TaskWorld, other_rules

from consumer.core.watermark import Side


@examples(250)
@given(logs(several=True, garbage=True, overdue=True), schedules())
def test_crashes_anywhere_lose_nothing_and_make_no_false_call(drawn: Logs, schedule: list[Step]) -> None:
    world = TaskWorld(drawn)
    world.run(schedule)
    world.finish()
    world.check_all_told()


@pytest.mark.parametrize("limit", [4096, 45])
@examples(150)
@given(logs(several=True, late=True, garbage=True, overdue=True), schedules(), st.integers(1, 2))
def test_a_commit_or_a_crash_between_two_portions_of_what_is_due_is_survived(
    limit: int, drawn: Logs, schedule: list[Step], portion: int
) -> None:
    world = TaskWorld(drawn, strict=False, metadata_limit=limit, halves=True, portion=portion)
    world.run(schedule)
    world.finish()
    world.check_all_told()


@examples(150)
@given(logs(several=True, garbage=True, overdue=True), schedules(), st.integers(0, 20))
def test_what_is_decided_in_portions_is_what_the_reference_decides(
    drawn: Logs, schedule: list[Step], portions: int
) -> None:
    world = TaskWorld(drawn, portion=1)
    world.run(schedule)
    world.rebuild()
    world.read_some(len(drawn.offers), len(drawn.checkouts))
    for source in Side:
        world.read_to_end(source)
        world.idle(source)
    for _ in range(portions):
        world.decide()
    world.commit()
    world.crash()
    world.finish()
    world.check_all_told()


@examples(12)
@given(logs(several=True, garbage=True, overdue=True), schedules(most=60))
def test_a_crash_after_every_single_step_is_survived(drawn: Logs, schedule: list[Step]) -> None:
    for fatal in range(len(schedule)):
        world = TaskWorld(drawn)
        world.run(schedule[: fatal + 1])
        world.crash()
        world.run(schedule[fatal + 1 :])
        world.finish()
        world.check_all_told()


@examples(60)
@given(
    logs(several=True, garbage=True, overdue=True), schedules(), st.lists(st.integers(0, 12), min_size=2, max_size=6)
)
def test_crashes_while_rebuilding_forget_nothing(drawn: Logs, schedule: list[Step], reads: list[int]) -> None:
    world = TaskWorld(drawn)
    world.run(schedule)
    for count in reads:
        world.crash()
        for number in range(count):
            world.read(number % 2)
            world.decide()
            world.commit()
    world.finish()
    world.check_all_told()


@examples(150)
@given(logs(several=True, garbage=True, overdue=True), schedules())
def test_a_commit_that_reaches_one_partition_only_is_survived(drawn: Logs, schedule: list[Step]) -> None:
    world = TaskWorld(drawn, halves=True)
    world.run(schedule)
    world.finish()
    world.check_all_told()


FEW = st.integers(0, 4)


@examples(1000)  # it takes an offer, a checkout and a watermark that fit together: one in 200 does
@given(logs(several=True, size=6, overdue=True), FEW, FEW, st.integers(0, 6), st.sampled_from((5, 6, 6)), FEW)
def test_an_overdue_checkout_read_between_two_commits_is_survived_though_one_of_them_is_taken_by_half(
    drawn: Logs, which: int, wait: int, offers: int, half: int, between: int
) -> None:
    overdue = [number for number, record in enumerate(drawn.checkouts) if record.overdue]
    assume(overdue)
    number = overdue[which % len(overdue)]
    world = TaskWorld(drawn, halves=True)
    world.read_some(len(drawn.offers) - offers, number)
    for side in Side:  # W stands where that checkout would have made an offer due, or a bit later
        wanted = drawn.checkouts[number].true_time + drawn.rules.checkout_grace + wait * drawn.rules.window // 10
        world.idle(side, wanted + drawn.rules.lateness + 1)
    world.decide()
    world.commit()
    world.read_some(offers // 2, 1)
    world.decide()
    world.commit(half)
    world.crash()
    world.read_some(between, between)
    world.crash()
    world.finish()
    world.check_all_told()


@pytest.mark.parametrize("limit", [35, 41, 45, 49])
@examples(60)
@given(logs(several=True, garbage=True, overdue=True), schedules())
def test_metadata_that_does_not_fit_repeats_calls_and_loses_none(limit: int, drawn: Logs, schedule: list[Step]) -> None:
    world = TaskWorld(drawn, metadata_limit=limit, halves=True)
    world.run(schedule)
    world.finish()
    world.check_all_told()


@examples(150)
@given(logs(several=True, garbage=True, overdue=True), schedules())
def test_lost_metadata_repeats_calls_and_misses_none(drawn: Logs, schedule: list[Step]) -> None:
    # Not strict: without its metadata a commit may cut a chain, whose rest is then decided for itself.
    world = TaskWorld(drawn, forgetful=True, strict=False)
    world.run(schedule)
    world.crash(6)
    world.finish()
    world.check_all_told()


@examples(150)
@given(logs(several=True, garbage=True, overdue=True), schedules())
def test_a_restart_repeats_nothing_that_was_settled_before_the_last_commit(drawn: Logs, schedule: list[Step]) -> None:
    world = TaskWorld(drawn)
    world.run(schedule)
    world.rebuild()
    world.decide()
    world.drain()
    assume(world.commit())
    settled = {offset for d in world.decisions if d.life == world.life for offset in d.fate.offsets}
    written = set(world.written_in_this_life)
    world.crash()
    before = len(world.decisions)
    world.finish()
    assert [d.fate for d in world.decisions[before:] if not d.fate.offsets.isdisjoint(settled)] == []
    assert written.isdisjoint(world.written_in_this_life)
    world.check_all_told()


@examples(150)
@given(logs(several=True, garbage=True, tainted=True, overdue=True), schedules())
def test_a_tainted_session_is_not_called_after_a_restart_either(drawn: Logs, schedule: list[Step]) -> None:
    world = TaskWorld(drawn)
    world.run(schedule)
    world.finish()
    world.check_all_told()


@pytest.mark.parametrize("limit", [4096, 45])
@examples(120)
@given(logs(several=True, late=True, garbage=True, overdue=True), schedules())
def test_late_presentations_are_never_called_wrongly_across_restarts(
    limit: int, drawn: Logs, schedule: list[Step]
) -> None:
    world = TaskWorld(drawn, strict=False, metadata_limit=limit, halves=True)
    world.run(schedule)
    world.finish()
    world.check_all_told()


@pytest.mark.parametrize("halves", [False, True])
@examples(200)
@given(logs(several=True, overdue=True), schedules(), CHANGES, UNITS)
def test_changed_settings_miss_nothing_and_make_no_false_call(
    halves: bool, drawn: Logs, schedule: list[Step], changes: list[tuple[int, int, int, bool]], unit: int
) -> None:
    rules = [
        other_rules(drawn.rules, window=window * unit, grace=grace * unit, lookback=lookback * unit, call=call)
        for window, grace, lookback, call in changes
    ]
    world = TaskWorld(drawn, later_rules=copy(rules), halves=halves)
    world.run(schedule)
    world.crash(7)
    world.finish()
    world.check_all_told()


@examples(150)
@given(
    logs(several=True, overdue=True),
    schedules(),
    st.lists(st.sampled_from((1, 5, 30, 0)), min_size=1, max_size=4),
    UNITS,
)
def test_a_changed_lateness_misses_nothing_and_makes_no_false_call(
    drawn: Logs, schedule: list[Step], changes: list[int], unit: int
) -> None:
    # Never below what the logs keep: then checkouts would come too late, and that is what the setting is for. Without
    # garbage: lateness does decide when an undated checkout may have been completed.
    rules = [replace(drawn.rules, lateness=drawn.rules.lateness + more * unit) for more in changes]
    world = TaskWorld(drawn, later_rules=rules)
    world.run(schedule)
    world.crash(7)
    world.finish()
    world.check_all_told()
