"""A record that holds several presentations: its offset is done when all are, and each has a fate of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from support.strategies import EACH, START, Garbage, Logs, Record, examples, logs
from support.task_steps import RULES, S, checkout_log, finish, pass_time, read_all, reasons, settle
from support.task_world import TaskWorld

from consumer.core.checkpoint import OfferCheckpoint
from consumer.core.watermark import Side
from consumer.events import MOST_ELEMENTS, OfferAmongSeveral, Reason


def page(offset: int, seconds: int, *offers: str) -> Record:
    """A record at `offset` in which these offers were shown at once."""
    time = START + seconds * S
    shown = [
        OfferAmongSeveral("s1", "ada", offer, time, offset * MOST_ELEMENTS + place)
        for place, offer in enumerate(offers)
    ]
    return Record(offset, time, shown[0], others=tuple(shown[1:]))


def world_of(*offers: Record, checkouts: list[Record] | None = None, **more: int) -> TaskWorld:
    return TaskWorld(Logs(RULES, list(offers), checkouts or [], EACH), **more)


def committed(world: TaskWorld) -> tuple[int, OfferCheckpoint]:
    offset = world.broker[0].offset
    return offset, OfferCheckpoint.decode(world.broker[0].metadata, offset)


def test_the_offset_is_done_when_all_are() -> None:
    world = world_of(page(0, 0, "a", "b", "c"), page(1, 1, "d"))
    read_all(world)
    pass_time(world, 150)
    assert [chain.offer_id for chain in world.in_flight] == ["a", "b", "c", "d"]
    for offer in ("a", "d", "c"):
        settle(world, offer)
        assert world.commit()
        assert committed(world)[0] == 0, "b is not settled, so that its record is not"
    assert committed(world)[1].unsettled == {1}
    settle(world, "b")
    world.commit()
    assert committed(world)[0] == 2


def test_a_restart_calls_the_one_that_was_not_settled_and_no_other_of_its_record() -> None:
    world = world_of(page(5, 0, "a", "b", "c"), page(7, 1, "d", "e"))
    read_all(world)
    pass_time(world, 150)
    for offer in ("a", "c", "d", "e"):  # the insurer refuses b, and it is held
        settle(world, offer)
    world.commit()
    for _ in range(3):
        world.crash()
        world.rebuild()
        world.decide()
        assert [chain.offer_id for chain in world.in_flight] == ["b"]
        world.commit()
    finish(world)
    assert reasons(world, 3) == [("b", Reason.ABANDONED)]
    world.commit()
    assert committed(world)[0] == 10, "where the log ends, behind a marker"


def test_each_offer_of_a_record_has_its_own_fate() -> None:
    bought = checkout_log((0, 10, "b"))
    world = world_of(page(0, 0, "a", "b", "c"), checkouts=bought)
    read_all(world)
    pass_time(world, 150)
    finish(world)
    assert reasons(world, 0) == [("a", Reason.DECLINED), ("b", Reason.PURCHASED), ("c", Reason.DECLINED)]


def test_an_offer_that_stands_twice_in_a_record_is_one_presentation() -> None:
    world = world_of(page(0, 0, "a", "b", "a"))
    read_all(world)
    pass_time(world, 150)
    assert reasons(world, 0) == [("a", Reason.ABANDONED), ("b", Reason.ABANDONED)]
    settle(world, "b")
    world.commit()
    assert committed(world) == (0, replace(committed(world)[1], unsettled=frozenset({0, 2})))
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("a", Reason.ABANDONED)]


def test_a_commit_cuts_no_chain_that_reaches_from_one_record_into_another() -> None:
    """b is shown twice, and the record between is held; then b's second record is cut from its first by no commit."""
    world = world_of(page(0, 0, "a", "b"), page(1, 50, "b", "c"), metadata_limit=4096)
    read_all(world)
    pass_time(world, 101)
    settle(world, "a")
    world.commit()
    assert committed(world)[0] == 0, "b may still be shown again"
    pass_time(world, 151)
    settle(world, "b")
    world.commit()
    assert committed(world)[0] == 1, "of record 0 all is settled; of record 1 c is not"
    world.crash()
    finish(world)
    assert reasons(world, 1) == [("c", Reason.ABANDONED)], "what is read again of b is known to be settled"


def test_a_record_that_cannot_be_read_is_dead_lettered_once_and_holds_the_commit_until_then() -> None:
    world = world_of(page(0, 0, "a", "b"), Record(1, START, Garbage("s1")), page(2, 1, "c"))
    read_all(world)
    pass_time(world, 150)
    for offer in ("a", "b", "c"):
        settle(world, offer)
    world.commit()
    offset, found = committed(world)
    assert (offset, found.dead) == (1, {MOST_ELEMENTS})
    assert found.unsettled == set(range(MOST_ELEMENTS, 2 * MOST_ELEMENTS)), "nobody knows what it holds"
    world.crash()
    world.rebuild()
    assert world.dead_in_flight == [(Side.OFFERS, 1)], "its dead letter was not written"
    world.acknowledge(0)
    world.decide()
    world.commit()
    assert committed(world)[0] == 5, "where the log ends, behind a marker"
    finish(world)


def test_a_record_given_up_as_late_and_accepted_by_a_restart_loses_none_of_its_offers() -> None:
    """Its dead letter was not written. What is committed lies so far behind that a restart finds it in time.

    Without all of its places in the list, its first offer would be called and the others taken for settled.
    """
    world = world_of(page(0, 0, "held"), page(1, 200, "x"), page(2, 10, "a", "b"), strict=False)
    world.read_some(2, 0)
    pass_time(world, 320)
    world.commit()
    world.read(Side.OFFERS)
    assert world.dead == {2 * MOST_ELEMENTS, 2 * MOST_ELEMENTS + 1}
    world.commit()
    world.crash()
    finish(world)
    told = [offer for offer, _ in reasons(world, 1)]
    assert told == ["a", "b", "held", "x"]


@pytest.mark.parametrize("count", [1, MOST_ELEMENTS])
def test_a_record_may_hold_as_many_as_are_taken(count: int) -> None:
    names = [f"o{number}" for number in range(count)]
    world = world_of(page(0, 0, *names), page(1, 0, *reversed(names)))
    read_all(world)
    pass_time(world, 150)
    while len(world.in_flight) > 1:
        settle(world, world.in_flight[0].offer_id)
        world.commit()
        assert committed(world)[0] == 0
        world.crash()
        world.rebuild()
        world.decide()
    finish(world)
    world.commit()
    assert committed(world)[0] == 4, "where the log ends, behind a marker"


def steps() -> Iterator[str]:
    """A life in which something stands between any two records, decisions, answers and commits."""
    for side in (0, 1, 0, 1, 0, 1):
        yield f"read {side}"
        yield "commit"
    for _ in range(6):
        yield "idle"
        yield "decide"
        yield "settle"
        yield "acknowledge"
        yield "commit"


LIFE = list(steps())


@pytest.mark.parametrize("fatal", range(len(LIFE)))
@pytest.mark.parametrize("how", [0, 4, 5, 6, 7], ids=["whole", "answer lost", "offers", "checkouts", "request lost"])
def test_a_crash_at_every_point_misses_none_and_calls_none_that_was_bought(fatal: int, how: int) -> None:
    log = [page(0, 0, "a", "b", "c"), Record(2, START, Garbage("s1")), page(4, 20, "b", "d", "d")]
    world = TaskWorld(Logs(RULES, log, checkout_log((0, 5, "b"), (1, 30, "d")), EACH), halves=True)
    for number, step in enumerate(LIFE):
        what, _, choice = step.partition(" ")
        match what:
            case "read":
                world.read(int(choice))
            case "idle":
                world.idle(Side.OFFERS)
                world.idle(Side.CHECKOUTS)
            case "decide":
                world.decide()
            case "settle":
                world.settle(1)
            case "acknowledge":
                world.acknowledge(0)
            case "commit":
                world.commit(how if number == fatal - 1 else 0)
        if number == fatal:
            world.crash()
    finish(world)
    assert {(d.fate.offer_id, d.fate.reason) for d in world.decisions} == {
        ("a", Reason.DECLINED),
        ("b", Reason.PURCHASED),
        ("c", Reason.DECLINED),
        ("d", Reason.PURCHASED),
    }


@examples(150)
@given(logs(several=True))
def test_offers_have_the_fates_that_they_would_have_in_records_of_their_own(drawn: Logs) -> None:
    alone = [
        Record(shown.offset, record.timestamp, shown, record.happened)
        for record in drawn.offers
        for shown in record.shown
    ]
    worlds = [TaskWorld(drawn), TaskWorld(replace(drawn, offers=alone, each=""))]
    for world in worlds:
        world.finish()
        world.check_all_told()
    one, other = (Counter(decision.fate for decision in world.decisions) for world in worlds)
    assert one == other
