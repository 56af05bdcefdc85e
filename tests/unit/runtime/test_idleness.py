"""When an input counts as idle, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from consumer.core.checkpoint import OfferCheckpoint, Position, rules_key
from consumer.core.provenance import NOT_KNOWN
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.idleness import Idleness

LATENESS, IDLE_AFTER = 60.0, 5.0
NOTHING = Position(0)
TOPICS = ("offers", "checkouts")
RULES = DecisionRules(window=1_000, checkout_grace=100, lookback=5_000, lateness=60_000, max_skew=1_000)


class Ends:
    """Stands for the broker: answers when the test says so."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, int]] = []
        self.asked_at = 0
        self.told: dict[tuple[str, int], int] | None = None

    @property
    def waiting(self) -> bool:
        return bool(self.asked)

    def ask(self, partitions: Iterable[tuple[str, int]]) -> None:
        self.asked = list(partitions)
        self.asked_at = int(self.clock.wall * 1000)

    def answers(self) -> tuple[int, dict[tuple[str, int], int]] | None:
        if self.told is None:
            return None
        told, self.told, self.asked = self.told, None, []
        return self.asked_at, told


class Clock:
    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.monotonic = 50.0

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


class IdlenessWorld:
    def __init__(self, lateness: float = LATENESS, *, witness: bool = False) -> None:
        self.clock = Clock()
        self.ends = Ends(self.clock)
        self.task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0))
        self.asked: list[str] = []
        ask = (lambda: self.asked.append("api")) if witness else None
        self.check = ClockCheck(lambda: self.clock.wall, lambda: self.clock.monotonic, max_skew=300.0, ask=ask)
        self.idleness = Idleness(
            lambda _: self.ends,  # type: ignore[arg-type,return-value]
            self.check,
            idle_after=IDLE_AFTER,
            lateness=lateness,
            wall=lambda: self.clock.wall,
            monotonic=lambda: self.clock.monotonic,
        )
        self.begin()

    def begin(self, committed: Position = NOTHING) -> None:
        self.idleness.begin(0, committed)

    def tell_time(self, ahead: float = 0.0) -> None:
        """The API says what time it has: our clock is so much ahead."""
        self.check.api_told(self.clock.wall - ahead, self.clock.monotonic, self.clock.monotonic)

    def turn(self) -> bool:
        self.check.look()
        return self.idleness.look({0: self.task}, TOPICS)

    def question(self) -> None:
        self.clock.go(IDLE_AFTER)
        self.turn()
        assert self.ends.waiting

    def answer(self, offers: int = 0, checkouts: int = 0) -> None:
        self.ends.told = {("offers", 0): offers, ("checkouts", 0): checkouts}
        self.turn()

    def pass_time(self, seconds: float) -> None:
        """Let time pass while the broker answers that nothing is left to read."""
        until = self.clock.monotonic + seconds
        while self.clock.monotonic < until:
            self.question()
            self.answer()


@pytest.fixture
def new() -> IdlenessWorld:
    """The inputs were assigned in this moment."""
    return IdlenessWorld()


@pytest.fixture
def world(new: IdlenessWorld) -> IdlenessWorld:
    """The inputs were assigned lateness ago, and no question has been answered."""
    new.clock.go(LATENESS)
    for side in Side:
        new.idleness.heard(side, 0)
    return new


def test_the_broker_is_asked_only_after_a_while_without_a_record(world: IdlenessWorld) -> None:
    world.clock.go(IDLE_AFTER - 0.1)
    world.turn()
    assert not world.ends.waiting
    world.clock.go(0.1)
    world.turn()
    assert world.ends.asked == [("offers", 0), ("checkouts", 0)]


def test_the_watermark_is_the_clock_before_the_question_less_lateness(world: IdlenessWorld) -> None:
    world.question()
    asked_at = int(world.clock.wall * 1000)
    world.clock.go(30.0)  # the answer takes its time: producers may have written meanwhile
    world.answer()
    assert world.task.watermark == asked_at - 60_000 - 1


def test_it_says_when_a_task_was_told_that_an_input_is_idle(world: IdlenessWorld) -> None:
    assert not world.turn()
    world.question()
    world.ends.told = {("offers", 0): 0, ("checkouts", 0): 1}
    assert world.turn()
    assert not world.turn()
    world.question()
    world.ends.told = {("offers", 0): 1, ("checkouts", 0): 1}
    assert not world.turn(), "neither is read to its end"


def test_unread_data_holds_the_watermark(world: IdlenessWorld) -> None:
    world.question()
    world.answer(checkouts=1)
    assert world.task.watermarks.of(Side.OFFERS).value > MIN_TIME
    assert world.task.watermark == MIN_TIME


def test_a_broker_that_does_not_answer_freezes_the_watermark(world: IdlenessWorld) -> None:
    world.question()
    for _ in range(100):
        world.clock.go(10.0)
        world.turn()
    assert world.task.watermark == MIN_TIME


@pytest.mark.parametrize("jump", [+3_600.0, -3_600.0, +2.0])
def test_after_a_jump_of_the_wall_clock_no_idle_watermark_for_the_length_of_lateness(
    world: IdlenessWorld, jump: float
) -> None:
    world.question()
    world.clock.wall += jump
    world.answer()
    assert world.task.watermark == MIN_TIME
    after_trouble(world)


def test_after_an_error_no_idle_watermark_for_the_length_of_lateness(world: IdlenessWorld) -> None:
    world.idleness.trouble("the leader changed")
    world.question()
    world.answer()
    assert world.task.watermark == MIN_TIME
    after_trouble(world)


def after_trouble(world: IdlenessWorld) -> None:
    """It lets go by itself, once lateness has passed."""
    began = world.clock.monotonic
    while world.task.watermark == MIN_TIME:
        assert world.clock.monotonic - began <= LATENESS + 2 * IDLE_AFTER, "it never lets go"
        world.question()
        world.answer()
    assert world.clock.monotonic - began >= LATENESS - IDLE_AFTER


def test_what_is_no_longer_assigned_is_not_asked_for(world: IdlenessWorld) -> None:
    world.idleness.begin(1, Position(0))
    world.idleness.drop(0)
    world.question()
    assert world.ends.asked == [("offers", 1), ("checkouts", 1)]


def test_an_input_that_was_just_assigned_has_no_idle_watermark_for_the_length_of_lateness(new: IdlenessWorld) -> None:
    # A start may be the end of an outage, and a former owner may have known of trouble.
    after_trouble(new)


def test_an_input_that_is_assigned_again_is_watched_anew(world: IdlenessWorld) -> None:
    world.pass_time(IDLE_AFTER)
    before = world.task.watermark
    assert before > MIN_TIME
    world.idleness.drop(0)
    world.begin()
    world.pass_time(LATENESS - IDLE_AFTER)
    assert world.task.watermark == before
    world.pass_time(3 * IDLE_AFTER)
    assert world.task.watermark > before


def test_one_input_that_was_just_assigned_does_not_hold_the_others(world: IdlenessWorld) -> None:
    other = Task(RULES, partitions=2, offers=Position(0), checkouts=Position(0))
    world.idleness.begin(1, Position(0))
    world.question()
    world.ends.told = dict.fromkeys(((topic, p) for topic in TOPICS for p in (0, 1)), 0)
    world.idleness.look({0: world.task, 1: other}, TOPICS)
    assert world.task.watermark > MIN_TIME
    assert other.watermark == MIN_TIME


def test_the_answer_to_a_question_from_before_the_trouble_was_over_is_not_taken(world: IdlenessWorld) -> None:
    world.idleness.trouble("the broker was gone")
    world.clock.go(LATENESS - 1.0)
    world.turn()
    assert world.ends.waiting
    world.clock.go(2.0)
    world.answer()
    assert world.task.watermark == MIN_TIME


@pytest.mark.parametrize("every", [0.5, 30.0])
def test_trouble_that_recurs_prolongs_the_freeze_and_is_told_once_a_minute(world: IdlenessWorld, every: float) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(round(600 / every)):
            world.idleness.trouble("no leader")
            world.clock.go(every)
    assert [line["reason"] for line in logs] == ["no leader"] * 10
    world.question()
    world.answer()
    assert world.task.watermark == MIN_TIME


def test_trouble_that_comes_after_the_last_was_over_is_told_at_once() -> None:
    world = IdlenessWorld(lateness=10.0)
    with structlog.testing.capture_logs() as logs:
        world.idleness.trouble("once")
        world.clock.go(11.0)
        world.idleness.trouble("again")
    assert [line["reason"] for line in logs] == ["once", "again"]


def test_a_clock_that_jumps_ahead_takes_the_watermark_along_only_after_lateness(world: IdlenessWorld) -> None:
    world.pass_time(IDLE_AFTER)
    before = world.task.watermark
    world.clock.wall += 3_600.0
    world.pass_time(LATENESS - IDLE_AFTER)
    assert world.task.watermark == before, "the clock's jump became the watermark's"
    world.pass_time(3 * IDLE_AFTER)
    assert world.task.watermark == int(world.clock.wall * 1000) - 60_000 - 1


def test_a_clock_that_jumps_back_holds_the_watermark_until_it_has_come_past_it(world: IdlenessWorld) -> None:
    world.pass_time(IDLE_AFTER)
    before = world.task.watermark
    world.clock.wall -= 600.0
    world.pass_time(600.0 - IDLE_AFTER)
    assert world.task.watermark == before, "a watermark never falls, and a clock that is behind does not move it"
    world.pass_time(3 * IDLE_AFTER)
    assert world.task.watermark == int(world.clock.wall * 1000) - 60_000 - 1, "it sticks"


@pytest.mark.parametrize("slew", [+0.0005, -0.0005])
def test_a_clock_that_is_slewed_is_no_trouble(world: IdlenessWorld, slew: float) -> None:
    for _ in range(1_000):
        world.clock.wall += slew * IDLE_AFTER  # as fast as time servers do, 2.5 s in all
        world.pass_time(IDLE_AFTER)
        assert world.task.watermark == int(world.clock.wall * 1000) - 60_000 - 1


# --- trust that is taken over


def committed(world: IdlenessWorld, *, since: float, ago: float, wrong: int = 0) -> Position:
    """A position committed so many seconds ago, by whoever had watched for `since` seconds until now."""
    wall = int(world.clock.wall * 1000)
    found = OfferCheckpoint(
        rules_key(RULES),
        1,
        MIN_TIME,
        0,
        0,
        provenance=replace(NOT_KNOWN, committed_at=wall - int(ago * 1000)),
        trusted_since=wall - int(since * 1000),
    )
    return Position(wrong, found.encode(0))


def waited(world: IdlenessWorld) -> float:
    """Seconds until there is an idle watermark."""
    began = world.clock.monotonic
    while world.task.watermark == MIN_TIME:
        assert world.clock.monotonic - began <= 2 * LATENESS
        world.question()
        world.answer()
    return world.clock.monotonic - began


@pytest.mark.parametrize("ago", [0.0, LATENESS / 2])
def test_a_new_owner_goes_on_with_the_trust_of_a_commit_that_is_recent(new: IdlenessWorld, ago: float) -> None:
    new.idleness.drop(0)
    new.begin(committed(new, since=LATENESS, ago=ago))
    assert waited(new) == IDLE_AFTER


def test_what_is_missing_to_lateness_is_watched_by_the_new_owner(new: IdlenessWorld) -> None:
    new.idleness.drop(0)
    new.begin(committed(new, since=LATENESS - 15.0, ago=1.0))
    assert waited(new) == 15.0


@pytest.mark.parametrize(
    "told",
    [
        {"since": LATENESS, "ago": LATENESS / 2 + 0.01},
        {"since": LATENESS, "ago": -0.01},
        {"since": -9 * LATENESS, "ago": 0.0},
        {"since": LATENESS, "ago": 0.0, "wrong": 1},
    ],
    ids=["too long ago", "committed in the future", "watched from the future on", "not of this offset"],
)
def test_a_commit_that_is_old_or_dated_in_the_future_confers_no_trust(new: IdlenessWorld, told: Any) -> None:
    new.idleness.drop(0)
    new.begin(committed(new, **told))
    assert waited(new) >= LATENESS


def test_trouble_that_the_new_owner_saw_counts_whatever_the_commit_says(new: IdlenessWorld) -> None:
    new.idleness.drop(0)
    new.idleness.trouble("no leader")
    new.begin(committed(new, since=LATENESS, ago=0.0))
    assert waited(new) >= LATENESS


def test_what_is_committed_is_since_when_both_inputs_were_watched_without_trouble(new: IdlenessWorld) -> None:
    began = int(new.clock.wall * 1000)
    new.clock.go(40.0)
    assert new.idleness.trusted_since(0) == began
    new.idleness.trouble("no leader")
    new.clock.go(40.0)
    assert new.idleness.trusted_since(0) == began + 40_000


@pytest.mark.parametrize("every", [7.0, 50.0])
def test_rebalances_more_frequent_than_lateness_starve_no_quiet_partition(new: IdlenessWorld, every: float) -> None:
    while new.task.watermark == MIN_TIME:
        assert new.clock.monotonic < 50.0 + 3 * LATENESS, "no owner ever watches for the length of lateness"
        new.pass_time(every)
        since = new.clock.wall - new.idleness.trusted_since(0) / 1000
        new.idleness.drop(0)
        new.begin(committed(new, since=since, ago=0.0))


@pytest.mark.parametrize("lateness", [30, 60, 120, 300])
@pytest.mark.parametrize("second", [0, 17])
def test_what_is_committed_is_dated_so_closely_that_its_trust_outlives_frequent_rebalances(
    lateness: int, second: int
) -> None:
    world = IdlenessWorld(lateness)
    world.idleness.drop(0)
    world.clock.go(second)
    world.begin()
    rules = replace(RULES, lateness=1000 * lateness)
    task = Task(rules, partitions=1, offers=Position(0), checkouts=Position(0))
    commits: list[Position] = []
    for turn in range(1, lateness + 30):
        world.clock.go(1.0)
        world.ends.told = dict.fromkeys(world.ends.asked, 0)
        world.idleness.look({0: task}, TOPICS)
        leaves = turn % 20 == 0
        if leaves or turn % 5 == 0:  # the interval of the commits
            plan = task.prepare_commit(int(world.clock.wall * 1000), world.idleness.trusted_since(0))
            assert plan is not None
            if plan.offers not in commits:
                commits.append(plan.offers)
        if leaves:
            world.idleness.drop(0)
            world.clock.go(3.0)  # while the group shares anew
            world.idleness.begin(0, commits[-1])
    assert task.watermark > MIN_TIME, "no owner ever watches for the length of lateness"
    assert len(commits) <= 3 + 1.2 * (lateness + 30) / min(60, lateness / 4), "one that stays the same is left alone"


# --- our clock and those of others


def confirmed() -> IdlenessWorld:
    """Watched for lateness, with a clock that is about to be asked for."""
    world = IdlenessWorld(witness=True)
    world.clock.go(LATENESS)
    return world


def test_before_the_first_idle_watermark_others_are_asked_for_the_time() -> None:
    world = confirmed()
    world.turn()
    world.turn()
    assert (world.asked, world.ends.waiting) == (["api"], False)
    world.tell_time()
    world.turn()
    assert world.ends.waiting
    world.answer()
    assert world.task.watermark > MIN_TIME


@pytest.mark.parametrize("ahead", [-3_600.0, -3.1, 3.1, 120.0, 3_600.0])
def test_a_clock_that_differs_from_that_of_others_gives_no_idle_watermark_until_it_agrees(ahead: float) -> None:
    world = confirmed()
    world.tell_time(ahead)
    world.turn()
    world.turn()
    assert not world.ends.waiting
    world.tell_time()
    world.turn()
    assert world.ends.waiting


def test_an_answer_is_not_taken_when_the_clock_was_found_to_differ_since_the_question() -> None:
    world = confirmed()
    world.tell_time()
    world.question()
    world.tell_time(120.0)
    world.answer()
    assert world.task.watermark == MIN_TIME


def test_one_question_is_under_way_at_a_time_and_the_next_comes_after_a_while(world: IdlenessWorld) -> None:
    world.question()
    first = world.ends.asked_at
    world.clock.go(10 * IDLE_AFTER)
    world.turn()
    assert world.ends.asked_at == first, "asked again while it waits"
    world.answer()  # a turn that asks again at once: the last question is long ago
    second = world.ends.asked_at
    assert second > first
    world.clock.go(IDLE_AFTER - 0.1)
    world.answer()
    assert world.ends.asked_at == second
    assert not world.ends.waiting


def test_a_commit_without_trust_confers_none_however_recent_it_is(new: IdlenessWorld) -> None:
    wall = int(new.clock.wall * 1000)
    found = OfferCheckpoint(rules_key(RULES), 1, MIN_TIME, 0, 0, provenance=replace(NOT_KNOWN, committed_at=wall))
    new.begin(Position(0, found.encode(0)))
    assert new.idleness.trusted_since(0) == wall


def test_what_a_task_finds_as_it_becomes_idle_is_told_and_nothing_else(
    world: IdlenessWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings = iter([None, "a finding"])
    monkeypatch.setattr(world.task, "idle", lambda *_: next(warnings))
    world.question()
    with structlog.testing.capture_logs() as logs:
        world.answer()
    assert [line["finding"] for line in logs] == ["a finding"]


def test_a_jump_is_told_with_its_size(world: IdlenessWorld) -> None:
    world.clock.wall -= 90.0
    with structlog.testing.capture_logs() as logs:
        world.turn()
    assert [line["reason"] for line in logs if "reason" in line] == ["the wall clock jumped by -90.0 s"]
