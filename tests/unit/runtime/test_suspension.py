"""What is held counts from when the hold began: what was undecided before, or came with a task, stops no reading.

Offers that are not read bring no match, and so never end a hold by unmatched ids.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.builders import checkout, offer
from support.guarded_instance import LATER, RULES, Instance
from support.kafka import Message
from support.loop_world import LoopWorld
from support.strategies import START

from consumer.core.guards import SuspendedBy
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.runtime import suspension as suspension_module
from consumer.runtime.suspension import Suspension

LIMIT = 3


def held_instance() -> Instance:
    """Ten presentations undecided, and three purchased ids that match none."""
    instance = Instance(limit=LIMIT, silence=0)
    for number in range(10):
        instance.offer(number, f"o{number}", session=f"s{number}")
    for number in range(3):
        instance.checkout(9, f"booking-{number}", session=f"s{number}")
    instance.idle(20)
    return instance


def restarted(instance: Instance, suspension: Suspension) -> Task:
    """The task anew from what it would commit; the guards look at it before and after it has read again."""
    (old,) = instance.tasks
    plan = old.prepare_commit()
    assert plan is not None
    task = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    suspension.judge([task])
    for event, stamp in instance.logs[0][1][plan.checkouts.offset :]:
        task.checkout(copy(event), stamp, LATER)
    for shown, stamp in instance.logs[0][0][plan.offers.offset :]:
        task.offer(shown, stamp, LATER)
    assert not task.restoring
    suspension.judge([task])
    return task


def test_offers_undecided_before_a_hold_stop_no_reading() -> None:
    instance, suspension = held_instance(), Suspension(RULES, LIMIT, most_undecided=4)
    suspension.judge(instance.tasks)
    assert suspension.by is SuspendedBy.UNMATCHED
    assert not suspension.stops_offers(instance.tasks)


def test_offers_read_again_after_a_restart_in_a_hold_stop_no_reading() -> None:
    instance, suspension = held_instance(), Suspension(RULES, LIMIT, most_undecided=4)
    instance.guards.judge(instance.tasks)
    task = restarted(instance, suspension)
    assert suspension.by is SuspendedBy.UNMATCHED
    assert task.undecided == 10
    assert not suspension.stops_offers([task]), "no offer would be read any more, and none match"


def test_offers_of_a_task_that_comes_during_a_hold_stop_no_reading() -> None:
    here, there, suspension = held_instance(), held_instance(), Suspension(RULES, LIMIT, most_undecided=4)
    suspension.judge(here.tasks)
    there.guards.judge(there.tasks)
    (old,) = there.tasks
    plan = old.prepare_commit()
    assert plan is not None
    came = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    both = [*here.tasks, came]
    suspension.judge(both)
    for event, stamp in there.logs[0][1][plan.checkouts.offset :]:
        came.checkout(copy(event), stamp, LATER)
    for shown, stamp in there.logs[0][0][plan.offers.offset :]:
        came.offer(shown, stamp, LATER)
    suspension.judge(both)
    assert not suspension.stops_offers(both)


def test_what_comes_after_does() -> None:
    instance, suspension = held_instance(), Suspension(RULES, LIMIT, most_undecided=4)
    suspension.judge(instance.tasks)
    for number in range(4):
        instance.offer(20 + number, f"p{number}", session=f"t{number}")
    assert suspension.stops_offers(instance.tasks)
    assert instance.tasks[0].watermarks.of(Side.OFFERS).value < START + 24


def test_with_too_much_held_the_checkouts_that_are_written_again_are_read_and_end_the_hold() -> None:
    world = LoopWorld(join={"unmatched_limit": 3, "checkout_silence": timedelta(0)})
    world.begin()
    world.set_max_unsettled(4)
    world.turn([offer(n, 10_000, session=f"s{n}", offer_id=f"o{n}") for n in range(4)])
    world.turn([checkout(n, 10_000, f"booking-{n}", session=f"s{n}") for n in range(3)])
    world.idle(10_020)
    world.turn([offer(n, 10_100, session=f"s{n}", offer_id=f"o{n}") for n in range(4, 8)])
    assert world.consumer.paused == {"offers"}
    # The producer goes on, further ahead than a window: what it writes again stands behind that.
    world.turn([checkout(n, 20_000, f"booking-{n}", session=f"t{n}") for n in range(3, 6)])
    assert world.consumer.paused == {"offers"}, "what would end the hold is not read"
    world.turn([checkout(6, 10_001, "o1", session="s1")])
    assert world.loop.suspension.by is SuspendedBy.NONE


# --- in the loop


def silent_world(**join: Any) -> LoopWorld:
    """A checkout, then offers for longer than checkout_silence, with none of them due by then."""
    world = LoopWorld(join={"checkout_silence": timedelta(seconds=5), **join})
    world.begin()
    world.turn(
        [checkout(0, 10_000), offer(0, 10_000), *(offer(n, 10_000 + 2_000 * n, session=f"s{n}") for n in range(1, 5))]
    )
    world.idle(18_000)
    return world


def test_while_decisions_are_held_nothing_is_called_and_nothing_committed() -> None:
    world = silent_world()
    assert world.delivery.calls == []
    world.commit()
    assert world.committed == 0


def test_decisions_go_on_by_themselves_after_a_silence() -> None:
    world = silent_world()
    world.turn([checkout(1, 18_500)])
    assert world.delivery.calls == []
    world.idle(18_502)
    assert world.delivery.calls == [], "lateness has not passed since"
    world.idle(18_503)
    assert len(world.delivery.calls) == 4


def test_a_silence_that_is_read_in_one_batch_is_waited_for_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    world = LoopWorld(join={"checkout_silence": timedelta(seconds=5)})
    world.begin()
    shown = [offer(n, 10_000 + 2_000 * n, session=f"s{n}", offer_id=f"o{n}") for n in range(5)]
    world.turn([*shown, checkout(0, 10_000), checkout(1, 18_500)])
    assert world.delivery.calls == []
    world.turn([checkout(2, 12_500, "o1", session="s1")])
    world.idle(18_502)
    assert world.delivery.calls == [], "lateness has not passed since"
    world.idle(18_503)
    assert [call.offer_id for call in world.delivery.calls] == ["o0", "o2", "o3"]
    assert "decisions" not in capsys.readouterr().out


def test_while_decisions_are_held_so_many_offers_are_read_and_checkouts_without_end() -> None:
    world = silent_world()
    world.set_max_unsettled(3)
    world.turn([offer(5, 18_000, session="s5"), offer(6, 18_000, session="s6")])
    assert world.consumer.paused == set()
    world.turn([offer(7, 18_000, session="s7")])
    assert world.consumer.paused == {"offers"}
    world.turn([checkout(1, 18_500)])
    assert world.consumer.paused == {"offers"}
    world.idle(18_503)
    world.delivery.answer()
    world.turn()
    assert world.consumer.paused == set()
    assert world.runner.task.undecided == 4, "s4 and what came after are not due yet"


def test_a_hold_says_why_and_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    world = silent_world()
    world.turn([checkout(1, 18_500)])
    world.idle(18_503)
    told = capsys.readouterr().out
    held, landing = told.index("no checkout comes"), told.index("checkouts come again:")
    assert held < landing < told.rindex("decisions go on ")
    assert "newest_checkout=1970-01-01T00:00:10.000+00:00" in told


def test_a_hold_without_any_checkout_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    world = LoopWorld(join={"checkout_silence": timedelta(seconds=5)})
    world.begin()
    world.turn([offer(0, 10_000), offer(1, 16_000)])
    world.loop.suspension.report([world.runner.task])
    world.idle(16_000)
    assert "newest_checkout=None" in capsys.readouterr().out


# --- how many checkouts are kept while no offers are read


def booking(n: int, at: int, session: str) -> Message:
    return checkout(n, at, f"booking{n}", session=session, checkout_id=f"c{n}", stamp=at)


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("booking ids, each in a session of its own", SuspendedBy.UNMATCHED),
        ("booking ids, all in one session", SuspendedBy.UNMATCHED),
        ("misdated, each in a session of its own", SuspendedBy.MISDATED),
    ],
)
def test_checkouts_are_kept_with_a_bound_whatever_their_dates_and_sessions(
    kind: str, by: SuspendedBy, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, stamp = 50, 990_000
    monkeypatch.setattr(suspension_module, "_LEAST_KEPT", most)
    world = LoopWorld(join={"unmatched_limit": 3, "checkout_silence": timedelta(0), "max_skew": timedelta(seconds=1)})
    world.now = 1_000.0
    world.begin()
    world.set_max_unsettled(5)

    def bad(n: int) -> Message:
        if by is SuspendedBy.MISDATED:
            return checkout(n, stamp // 1_000, f"o{n}", session=f"c{n}", checkout_id=f"c{n}", stamp=stamp)
        return booking(n, stamp + 20 * n, "constant" if "one session" in kind else f"c{n}")

    world.turn([bad(n) for n in range(5)])
    world.turn([offer(n, stamp + n, session=f"s{n}", offer_id=f"x{n}", stamp=stamp) for n in range(3)])
    world.idle(991_000)
    world.turn()
    assert world.loop.suspension.by is by
    world.turn([offer(3 + n, stamp + n, session=f"t{n}", offer_id=f"y{n}", stamp=stamp) for n in range(10)])
    world.turn()
    assert "offers" in world.consumer.paused
    read = 5
    while read < 6 * most and "checkouts" not in world.consumer.paused:
        world.turn([bad(read)])
        if by is SuspendedBy.UNMATCHED:  # what is dated wrong moves no watermark, and comes without a pause
            world.runner.task.idle(Side.CHECKOUTS, stamp + 20 * read)
        read += 1
    assert "checkouts" in world.consumer.paused
    kept = world.runner.task.kept_checkouts
    assert kept >= most, "many, for the one that lets go"
    assert by is SuspendedBy.UNMATCHED or kept <= most + 10


def test_a_silence_began_by_the_log_and_so_did_a_run_of_misdated_checkouts() -> None:
    rules = replace(RULES, checkout_silence=30)
    instance, suspension = Instance(limit=LIMIT, silence=30), Suspension(rules, LIMIT, most_undecided=4)
    assert suspension.begun(instance.tasks) == {}
    instance.checkout(5, session="other")
    instance.offer(90, "o1")
    instance.idle(91)
    suspension.judge(instance.tasks)
    assert suspension.by is SuspendedBy.SILENCE
    (task,) = instance.tasks
    assert suspension.begun(instance.tasks) == {"checkout_silence": task.guard.newest_checkout + 30}
    suspension.by = SuspendedBy.MISDATED
    assert suspension.begun(instance.tasks) == {}
    task.guard.misdated.add(71)
    task.guard.misdated.add(72)
    assert suspension.begun(instance.tasks) == {"misdated": 71}


def test_a_silence_is_not_told_as_a_gap_that_ends_by_itself_as_well() -> None:
    instance, suspension = held_instance(), Suspension(RULES, LIMIT, most_undecided=4)
    suspension.judge(instance.tasks)
    suspension._behind_gap = dict.fromkeys(instance.tasks, 0)
    assert suspension.words(instance.tasks).keys() == {"unmatched"}
    suspension.by = SuspendedBy.NONE
    assert suspension.words(instance.tasks).keys() == {"gap"}
