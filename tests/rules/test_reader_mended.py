"""An offer that could not be read, is listed as unsettled, and can be read once the service has started again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from support.builders import checkout, offer, raw
from support.loop_world import LoopWorld

from consumer.events import Outcome

BAD = b"\x00 another schema"


def started_again(before: LoopWorld, **more: Any) -> LoopWorld:
    world = LoopWorld(**more)
    world.begin_after(before)
    return world


def fates(world: LoopWorld) -> list[tuple[str, int, Outcome]]:
    return [(one.offer_id, one.presented_at, one.outcome) for one in world.sink.outcomes]


CHECKOUTS = [
    checkout(0, 105_000, "o1", session="s1"),
    checkout(1, 250_000, session="s8"),
    checkout(2, 399_000, session="s9"),
]

JOIN = {"window": timedelta(seconds=100), "lookback": timedelta(seconds=200)}


def read(world: LoopWorld, *offers: Any, until: int) -> None:
    begin = {topic: world.consumer.assigned[topic] for topic in ("offers", "checkouts")}
    world.turn([one for one in CHECKOUTS if one.offset() >= begin["checkouts"]])
    world.turn([one for one in offers if one.offset() >= begin["offers"]])
    world.idle(until)


def test_a_bought_offer_that_was_shown_again_in_a_record_that_could_not_be_read_is_not_called() -> None:
    """o1 is bought at 105 s, shown at 300 s, and again at 350 s in a record that cannot be read: one chain by the
    window of 100 s, bought within lookback (200 s) before it.

    1. Both are read, and 440 s come while the second is unsettled (a backlog: the thousand behind it are not read yet).
    2. The chain of the first alone is settled as PURCHASED. Two commits: offset 1, which lists the second, and of the
       checkouts what is needed from there on: no longer the one that bought it, which no chain known needs.
    3. The process ends; the reader is mended; it starts again, and reads from there. The second presentation is on
       time, and no checkout of it is known to be gone.
    """
    world = LoopWorld(join=JOIN)
    world.begin()
    read(world, offer(0, 300_000), raw("offers", 1, "s1", BAD, 350_000), until=440_000)
    assert fates(world) == [("o1", 300_000, Outcome.PURCHASED)]
    world.commit()
    world.commit()
    assert world.consumer.committed_offsets["offers", 0] == 1
    assert world.consumer.committed_offsets["checkouts", 0] == 1

    again = started_again(world, join=JOIN)
    read(again, offer(1, 350_000), until=600_000)
    assert [call.offer_id for call in again.delivery.calls] == [], "it was bought"


def test_by_the_log_alone_it_is_bought() -> None:
    """The control of the one above."""
    world = LoopWorld(join=JOIN)
    world.begin()
    read(world, offer(0, 300_000), offer(1, 350_000), until=600_000)
    assert fates(world) == [("o1", 350_000, Outcome.PURCHASED)]
    assert world.delivery.calls == []


def test_what_could_not_be_read_is_late_once_it_can_be_if_decisions_have_gone_on() -> None:
    """It is dated before D. What it needs of the checkouts is not retained, and what it belongs to may be settled."""
    world = LoopWorld(join=JOIN)
    world.begin()
    o2 = offer(1, 420_000, session="s2", offer_id="o2")
    read(world, raw("offers", 0, "s3", BAD, 300_000), o2, until=440_000)
    world.commit()
    assert world.consumer.committed_offsets["offers", 0] == 0

    again = started_again(world, join=JOIN)
    read(again, offer(0, 300_000, session="s3", offer_id="o3"), o2, until=600_000)
    assert [call.offer_id for call in again.delivery.calls] == ["o2"]
    assert [reason for _, reason in again.sink.dead] == ["late"]
