"""Decisions may be held at any time, across any crash: nothing is lost by it, and nothing called that was bought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, cycle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import CHANGES, UNITS, Logs, Step, examples, logs, schedules
from support.task_world import TaskWorld, other_rules

from consumer.core import calendar
from consumer.core.watermark import Side


class HeldWorld(TaskWorld):
    """A world in which the guards hold decisions now and then: `held` says so for each step that would decide."""

    def __init__(self, drawn: Logs, held: Iterable[bool], **more: Any) -> None:
        self._held = chain(held, cycle([False]))
        super().__init__(drawn, **more)

    def decide(self) -> None:
        if not next(self._held):
            super().decide()
            return
        rebuilding = self.task.restoring
        self._decided(self.task.decide(suspended=True), rebuilding)
        if not rebuilding:
            self.rebuilt = None

    def finish(self) -> None:
        self._held = cycle([False])
        super().finish()


@pytest.fixture(scope="module")
def exact_spans() -> Iterator[None]:
    """What is forgotten is forgotten to the millisecond: a span of 16 seconds would hide what is forgotten too soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calendar, "EXPIRY_BITS", 0)
        yield


HELD = st.lists(st.sampled_from((True, True, False)), max_size=60)


@examples(200)
@given(logs(several=True, garbage=True, overdue=True), schedules(), HELD)
def test_decisions_held_at_any_time_lose_nothing_and_make_no_false_call(
    drawn: Logs, schedule: list[Step], held: list[bool]
) -> None:
    world = HeldWorld(drawn, held, halves=True)
    world.run(schedule)
    world.finish()
    world.check_all_told()


@pytest.mark.parametrize("limit", [30, 40])
@examples(100)
@given(logs(several=True, late=True, garbage=True, overdue=True), schedules(), HELD)
def test_late_presentations_are_never_called_wrongly_while_decisions_are_held(
    limit: int, drawn: Logs, schedule: list[Step], held: list[bool]
) -> None:
    world = HeldWorld(drawn, held, strict=False, metadata_limit=limit, halves=True)
    world.run(schedule)
    world.finish()
    world.check_all_told()


@examples(100)
@given(logs(several=True, garbage=True, tainted=True, overdue=True), schedules(), HELD)
def test_a_tainted_session_is_not_called_after_a_hold_either(
    drawn: Logs, schedule: list[Step], held: list[bool]
) -> None:
    world = HeldWorld(drawn, held)
    world.run(schedule)
    world.finish()
    world.check_all_told()


@examples(150)
@given(logs(several=True, overdue=True), schedules(), HELD, CHANGES, UNITS)
def test_settings_changed_while_decisions_are_held_miss_nothing(
    drawn: Logs, schedule: list[Step], held: list[bool], changes: list[tuple[int, int, int, bool]], unit: int
) -> None:
    rules = [
        other_rules(drawn.rules, window=window * unit, grace=grace * unit, lookback=lookback * unit, call=call)
        for window, grace, lookback, call in changes
    ]
    world = HeldWorld(drawn, held, later_rules=rules, halves=True)
    world.run(schedule)
    world.crash(7)
    world.finish()
    world.check_all_told()


@pytest.mark.usefixtures("exact_spans")
@pytest.mark.parametrize("ever", [False, True])
@examples(200)
@given(logs(several=True), schedules(), HELD)
def test_a_hold_of_any_length_gives_the_decisions_of_none(
    ever: bool, drawn: Logs, schedule: list[Step], held: list[bool]
) -> None:
    """Though checkouts are forgotten meanwhile."""
    world = HeldWorld(drawn, cycle([True]) if ever else held)
    world.run(schedule, crashes=False)
    while world.read(Side.OFFERS) | world.read(Side.CHECKOUTS):
        world.idle(Side.OFFERS)
        world.idle(Side.CHECKOUTS)
        world.decide()
    world.finish()
    assert Counter(d.fate for d in world.decisions) == Counter(world.expected)


@pytest.mark.usefixtures("exact_spans")
@examples(200)
@given(logs(several=True, late=True, garbage=True, tainted=True), schedules(), HELD)
def test_what_comes_late_during_a_hold_finds_the_checkouts_that_it_needs(
    drawn: Logs, schedule: list[Step], held: list[bool]
) -> None:
    world = HeldWorld(drawn, held, strict=False)
    world.run(schedule)
    world.finish()
    world.check_all_told()
