"""A watermark that stands still is told once, with its cause, and its end is; one that follows the clock is not."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from support.builders import NOW, checkout, end, offer
from support.loop_world import assign, revoke
from support.runner_world import committed_after
from support.standing_world import ASSIGNED, LATENESS, UNASSIGNED, StandingWorld

from consumer.core.watermark import Side
from consumer.runtime.idleness import IdleFacts
from consumer.runtime.standstill import PATIENCE, Cause, InputFacts, cause_of


@pytest.fixture
def new() -> StandingWorld:
    """A task that has just begun."""
    made = StandingWorld()
    made.begin()
    return made


@pytest.fixture
def quiet(new: StandingWorld) -> StandingWorld:
    """A task whose topics are quiet, and idle."""
    new.follow_clock()
    return new


# --- what is no standstill


def test_no_line_while_the_watermark_follows_the_clock(quiet: StandingWorld) -> None:
    quiet.pass_time(600)
    assert quiet.lines == []


def test_no_line_while_the_watermark_follows_the_clock_in_long_steps() -> None:
    world = StandingWorld(join={"idle_after": timedelta(minutes=2)})
    world.begin()
    world.follow_clock()
    world.pass_time(900)
    assert world.lines == []


def test_no_line_while_records_move_it(new: StandingWorld) -> None:
    for n in range(400):
        at = NOW + 1_000 * n
        new.read(offer(n, at, stamp=at), checkout(n, at, stamp=at))
    assert new.lines == []


def test_no_line_for_a_task_that_restores_and_makes_progress() -> None:
    world = StandingWorld()
    restoring(world, records=200)
    for n in range(150):
        world.pass_time(1, offer(n, 10_000 + n, session=f"s{n}"))
    assert world.runner.task.restoring
    assert world.lines == []


def restoring(world: StandingWorld, records: int) -> None:
    """Begin with the commit of a task that had read so many offers and decided none."""
    offers, checkouts = committed_after(list(range(records)))
    for topic, position in (("offers", offers), ("checkouts", checkouts)):
        world.consumer.committed_offsets[topic, 0] = position.offset
        world.consumer.texts[topic, 0, position.offset] = position.metadata
    world.consumer.ends = {"offers": records, "checkouts": 0}
    world.ends.told = {"offers": records, "checkouts": 0}
    world.turn(assign)
    assert world.runner.task.restoring


# --- when it is told


def test_it_is_told_once_after_a_minute_with_where_and_since_when(new: StandingWorld) -> None:
    new.ends.told["checkouts"] = 7
    new.read(end("checkouts", 0))
    new.pass_time(round(PATIENCE) - 2)
    assert new.lines == []
    new.pass_time(3)
    (line,) = new.lines
    assert (line["log_level"], line["partition"], line["input"], line["topic"]) == (
        "warning", 0, "checkouts", "checkouts",
    )  # fmt: skip
    assert (line["cause"], line["offset"], line["end"]) == ("transaction", 0, 7)
    assert line["since"] == "1970-01-01T00:16:40.000+00:00"
    assert line["waited_s"] == PATIENCE
    assert "transaction" in line["what"]
    new.pass_time(1_200)
    assert len(new.lines) == 1


def test_its_end_is_told(new: StandingWorld) -> None:
    new.ends.told["checkouts"] = 1
    new.read(end("checkouts", 0))
    new.pass_time(400)
    new.read(checkout(0, NOW + 390_000, stamp=NOW + 390_000))
    (line,) = new.ended
    assert (line["log_level"], line["partition"]) == ("info", 0)
    assert line["waited_s"] == pytest.approx(402, abs=2)
    assert line["held_by"] == ["checkouts: transaction"]
    new.pass_time(2 * round(LATENESS))
    assert len(new.lines) == 2


def test_another_cause_is_told_too_but_none_twice(new: StandingWorld) -> None:
    new.pass_time(70)
    assert new.causes == [("offers", "distrusted")]
    new.ends.told["checkouts"] = 1
    new.pass_time(30, end("checkouts", 0))
    for _ in range(5):
        new.ends.frozen = True
        new.pass_time(40)
        new.ends.frozen = False
        new.pass_time(40)
    assert new.causes[1:] == [("checkouts", "transaction"), ("offers", "silent"), ("checkouts", "silent")]


def test_a_cause_of_a_moment_is_not_told(new: StandingWorld) -> None:
    new.ends.told["checkouts"] = 1
    new.pass_time(90, end("checkouts", 0))
    new.ends.frozen = True
    new.pass_time(15)
    new.ends.frozen = False
    new.pass_time(40)
    assert new.causes == [("checkouts", "transaction")]


def test_a_loop_that_stood_still_is_no_watermark_that_does(quiet: StandingWorld) -> None:
    quiet.pass_time(1, step=3_600.0)
    quiet.pass_time(60)
    assert quiet.lines == []


def test_a_loop_that_stands_still_again_and_again_hides_nothing(new: StandingWorld) -> None:
    new.ends.told["checkouts"] = 1
    new.pass_time(5, end("checkouts", 0))
    for _ in range(10):
        new.pass_time(1, step=12.0)
        new.pass_time(5)
    assert new.causes == [("checkouts", "transaction")]


def test_a_task_that_comes_anew_in_the_turn_in_which_it_goes_begins_anew(new: StandingWorld) -> None:
    new.pass_time(90)
    assert "stands still" in new.health.ready().reason
    new.turn(revoke, assign)
    new.pass_time(2)
    assert "stands still" not in new.health.ready().reason


def test_nothing_more_is_told_of_a_task_that_is_gone(new: StandingWorld) -> None:
    new.pass_time(90)
    assert len(new.lines) == 1
    new.turn(revoke)
    new.pass_time(30)
    assert len(new.lines) == 1
    assert new.health.ready().reason == "the group has not said yet which partitions are this member's"
    new.turn(assign)
    new.pass_time(round(PATIENCE) - 2)
    assert len(new.lines) == 1, "it begins anew"


def test_a_member_that_is_ready_says_so_and_stays_ready(new: StandingWorld) -> None:
    new.ends.told["checkouts"] = 1
    new.pass_time(30, end("checkouts", 0))
    assert new.health.ready().reason == "running partitions 0"
    new.pass_time(40)
    told = new.health.ready()
    assert told.ok
    assert told.reason.startswith(
        "running partitions 0; the watermark of partition 0 stands still since 1970-01-01T00:16:40.000+00:00, held by "
        "checkouts[0] at offset 0: records stand from this offset on"
    )
    new.read(checkout(0, NOW + 390_000, stamp=NOW + 390_000))
    new.pass_time(400)
    assert new.health.ready().reason == "running partitions 0"


def test_a_member_without_an_assignment_says_so_once_and_when_it_has_one() -> None:
    world = StandingWorld()
    world.pass_time(round(PATIENCE) - 1)
    assert world.lines == []
    world.pass_time(600)
    (line,) = world.lines
    assert (line["event"], line["log_level"], line["waited_s"]) == (UNASSIGNED, "warning", PATIENCE)
    assert line["since"] == "1970-01-01T00:16:40.000+00:00"
    world.consumer.polls.append(assign)
    world.pass_time(1)
    assert [line["event"] for line in world.lines] == [UNASSIGNED, ASSIGNED]
    world.turn(revoke)
    world.pass_time(70)
    assert [line["event"] for line in world.lines] == [UNASSIGNED, ASSIGNED, UNASSIGNED]


# --- its causes


def test_quiet_topics_after_a_start(new: StandingWorld) -> None:
    new.pass_time(round(LATENESS) + 20)
    assert new.causes == [("offers", "distrusted")]
    assert new.lines[0]["until"] == "1970-01-01T00:21:40.000+00:00"
    assert new.lines[0]["after"] == "the inputs were not watched before"
    assert len(new.ended) == 1


def test_quiet_topics_after_trouble(quiet: StandingWorld) -> None:
    quiet.loop._idleness.trouble("broker 3 went away")
    quiet.pass_time(round(LATENESS) + 20)
    assert quiet.causes == [("offers", "distrusted")]
    assert quiet.lines[0]["after"] == "broker 3 went away"
    assert len(quiet.ended) == 1


def test_a_broker_that_does_not_answer(quiet: StandingWorld) -> None:
    quiet.ends.frozen = True
    quiet.pass_time(90)
    assert quiet.causes == [("offers", "silent")]
    assert 50 < quiet.lines[0]["unanswered_s"] <= 60
    quiet.ends.frozen = False
    quiet.pass_time(20)
    assert len(quiet.ended) == 1


def test_one_partition_of_which_the_broker_says_nothing(quiet: StandingWorld) -> None:
    quiet.ends.silent = {"checkouts"}
    quiet.pass_time(90)
    assert quiet.causes == [("checkouts", "silent")]


def test_records_that_do_not_come(quiet: StandingWorld) -> None:
    quiet.ends.told["offers"] = 3
    quiet.pass_time(90)
    assert quiet.causes == [("offers", "unread")]


def test_records_none_of_which_is_dated_later(quiet: StandingWorld) -> None:
    for n in range(90):
        quiet.ends.told["checkouts"] = n + 100
        quiet.pass_time(1, checkout(n, NOW - 10_000))
    assert quiet.causes == [("checkouts", "reading")]


def test_a_clock_that_nobody_confirms() -> None:
    world = StandingWorld(witness=True)
    world.begin()
    world.pass_time(90)
    assert world.causes == [("offers", "clock")]


def test_a_clock_that_is_behind_what_was_read(quiet: StandingWorld) -> None:
    quiet.now -= 3_600
    quiet.pass_time(round(LATENESS) + 90)
    assert quiet.causes == [("offers", "distrusted"), ("offers", "behind")]


def test_records_dated_ahead_of_a_clock_that_nobody_confirms() -> None:
    world = StandingWorld(witness=True)
    world.begin()
    world.read(checkout(0, NOW + 1_000_000))
    world.pass_time(90)
    assert world.causes == [("checkouts", "ahead")]


def test_offers_that_are_kept_back() -> None:
    world = StandingWorld(late_run=1)
    world.begin()
    world.read(offer(0, NOW), checkout(0, NOW))
    world.follow_clock()
    world.read(*(offer(n, NOW + 3_600_000, session=f"s{n}", offer_id=f"o{n}") for n in range(1, 5)))
    world.pass_time(90)
    assert world.causes == [("offers", "kept_back")]


def test_reading_that_is_paused(quiet: StandingWorld) -> None:
    quiet.set_max_unsettled(0)
    quiet.ends.told = {"offers": 5, "checkouts": 0}
    quiet.pass_time(90)
    assert quiet.causes == [("offers", "unsettled")]


def test_offers_that_are_read_no_further_while_decisions_are_held(quiet: StandingWorld) -> None:
    quiet.loop.suspension.stops_offers = frozenset  # type: ignore[method-assign]
    quiet.ends.told = {"offers": 5, "checkouts": 0}
    quiet.loop.tasks.changed = True
    quiet.pass_time(90)
    assert quiet.causes == [("offers", "suspended")]


def test_a_task_that_restores_and_does_not_come_on() -> None:
    world = StandingWorld()
    restoring(world, records=200)
    world.pass_time(1, offer(0, 10_000, session="s0"))
    world.pass_time(90)
    assert world.causes == [("offers", "unread")]
    assert world.lines[0]["offset"] == 1
    world.pass_time(1, offer(1, 10_001, session="s1"))
    assert len(world.ended) == 1


IDLE = IdleFacts(end=0, unanswered=0.0, distrusted_until=None, distrusted_after="", trouble=None, would_be=1)
FACTS: dict[str, Any] = {"watermark": 0, "next_offset": 0, "read_ago": 100.0, "partition_end": 0, "idle": IDLE}


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({}, Cause.UNKNOWN),
        ({"in_doubt": True}, Cause.UNKNOWN),
        ({"in_doubt": True, "idle": IDLE._replace(end=1)}, Cause.IN_DOUBT),
        ({"idle": IDLE._replace(end=None)}, Cause.UNREAD),
        ({"idle": IDLE._replace(end=1)}, Cause.TRANSACTION),
        ({"idle": IDLE._replace(end=1), "partition_end": None}, Cause.UNREAD),
        ({"idle": IDLE._replace(end=1), "full": True}, Cause.UNSETTLED),
        ({"idle": IDLE._replace(would_be=0)}, Cause.BEHIND),
    ],
)
def test_the_cause_of_what_is_known(more: dict[str, Any], cause: Cause) -> None:
    assert cause_of(InputFacts(**FACTS | more)) is cause


def test_while_it_is_in_doubt_whether_the_topics_are_the_same() -> None:
    world = StandingWorld()
    world.begin()
    world.follow_clock()
    world.ends.told["checkouts"] = 5
    object.__setattr__(world.edges, "topic_watch", SimpleNamespace(certain=False))
    world.pass_time(90)
    assert world.causes == [("checkouts", "in_doubt")]


def test_causes_that_take_turns_are_not_silent(quiet: StandingWorld) -> None:
    quiet.ends.told["checkouts"] = 5
    watch = SimpleNamespace(certain=False)
    object.__setattr__(quiet.edges, "topic_watch", watch)
    for _ in range(120):
        quiet.pass_time(5)
        watch.certain = not watch.certain
    (line,) = quiet.lines
    assert line["cause"] in {"in_doubt", "unread"}
    assert 2 * PATIENCE <= line["waited_s"] <= 2 * PATIENCE + 2
    quiet.ends.told["checkouts"] = 0
    watch.certain = True
    quiet.pass_time(20)
    assert [ended["held_by"] for ended in quiet.ended] == [[f"checkouts: {line['cause']}"]]


def test_every_side_has_a_name_that_people_know() -> None:
    assert [side.name.lower() for side in Side] == ["offers", "checkouts"]
