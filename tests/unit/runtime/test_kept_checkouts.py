"""Checkouts that move no watermark are kept with a bound, whatever else goes on, and the stop is found again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.builders import checkout, offer
from support.kafka import Message, new_checkouts
from support.loop_world import LoopWorld

from consumer.core.guards import SuspendedBy
from consumer.core.watermark import Side
from consumer.runtime import suspension

T = 1_800_000_000_000
MOST = 100
BATCH = 10
STOPPED = "checkouts are read no further in these partitions"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspension, "_LEAST_KEPT", MOST)
    monkeypatch.setattr(suspension, "_LEAST_STOPPED", BATCH)


def world_of(limit: int = 3, most: int = 1, before: LoopWorld | None = None) -> LoopWorld:
    """A day behind; with what the world `before` has committed."""
    join: dict[str, Any] = {"window": timedelta(minutes=30), "lookback": timedelta(hours=2), "unmatched_limit": limit}
    world = LoopWorld(join=join)
    world.now = T / 1000 + 86_400
    world.set_max_unsettled(most)
    if before is not None:
        for (topic, partition), offset in before.consumer.commits[-1].items():
            world.consumer.committed_offsets[topic, partition] = offset
            world.consumer.texts[topic, partition, offset] = before.consumer.metadata[topic, partition]
    world.begin()
    return world


def offers() -> list[Message]:
    return [offer(n, T + 60_000 * n, session=f"s{n}", offer_id=f"o{n}", stamp=T + 60_000 * n) for n in range(60)]


def begun(limit: int = 3, most: int = 1) -> LoopWorld:
    """One checkout is dated right, and the offers are a window ahead of it."""
    world = world_of(limit, most)
    world.turn([right(0, T)])
    world.turn(offers())
    assert world.consumer.paused == {"offers"}
    return world


def right(n: int, at: int) -> Message:
    return checkout(n, at, session=f"right{n}", stamp=at)


def misdated(n: int) -> Message:
    return checkout(n, (T + n) // 1000, session=f"x{n}", stamp=T + n)


def frozen(n: int) -> Message:
    """Its clock stands still, and stamps too."""
    return checkout(n, T, session=f"x{n}", stamp=T)


KINDS = pytest.mark.parametrize(
    ("kind", "limit", "by"),
    [
        (misdated, 3, SuspendedBy.MISDATED),
        (misdated, 0, SuspendedBy.NONE),
        (frozen, 3, SuspendedBy.NONE),
        (frozen, 0, SuspendedBy.NONE),
    ],
    ids=["misdated", "misdated, no guard", "frozen", "frozen, no guard"],
)


def read(world: LoopWorld, kind: Any, first: int, until: int = 10 * MOST) -> int:
    """Read on to the stop, or to that offset. Returns the next offset."""
    while first < until and "checkouts" not in world.consumer.paused:
        world.turn([kind(n) for n in range(first, first + BATCH)])
        first += BATCH
    return first


@KINDS
def test_they_are_read_no_further_and_a_line_says_where(kind: Any, limit: int, by: SuspendedBy) -> None:
    world = begun(limit)
    with capture_logs() as logs:
        read(world, kind, 1)
        world.turn()
    assert world.loop.suspension.by is by
    assert MOST <= world.runner.task.kept_checkouts <= MOST + 2 * BATCH
    (told,) = [line for line in logs if line["event"].startswith("checkouts are read")]
    assert told["event"].startswith(STOPPED)
    assert told["partitions"] == [0]
    assert MOST <= told["counted"] <= told["kept"] == world.runner.task.kept_checkouts


@KINDS
def test_a_restart_finds_the_same_stop_and_goes_on_with_a_higher_limit(kind: Any, limit: int, by: SuspendedBy) -> None:
    """However often it is started again: memory does not grow with the restarts. It is the same but for a batch, since
    what is read in one turn with what moves the watermark is not counted."""
    world = begun(limit)
    stopped_at = first_stop = read(world, kind, 1)
    log = [right(0, T), *map(kind, range(1, 10 * MOST))]
    for _ in range(3):
        world.commit()
        world = world_of(limit, before=world)
        begins = world.consumer.committed_offsets["checkouts", 0]
        assert world.runner.task.restoring
        for at in range(begins, stopped_at, BATCH):  # what had been read is read again, to its end
            assert "checkouts" not in world.consumer.paused, "it would never be restored"
            world.turn(log[at : min(stopped_at, at + BATCH)])
        world.turn(offers())
        assert not world.runner.task.restoring
        stopped_at = read(world, kind, stopped_at)
        assert stopped_at <= first_stop + BATCH
        assert "checkouts" in world.consumer.paused
        assert world.loop.suspension.by is by
    world.set_max_unsettled(2 * MOST)
    world.loop.tasks.changed = True
    with capture_logs() as logs:
        world.turn()
    assert "checkouts" not in world.consumer.paused
    assert len([line for line in logs if line["event"] == "checkouts are read again"]) == 1
    # A restart remembers misdated checkouts as a silence: it ends by checkouts that come to where the offers are.
    for n in range(70):
        world.turn([right(stopped_at + n, T + 1_000 + 60_000 * n)])
    assert world.loop.suspension.by is SuspendedBy.NONE


def test_such_as_move_the_watermark_are_read_without_end() -> None:
    world = begun()
    with capture_logs() as logs:
        assert read(world, lambda n: right(n, T + n), 1) == 10 * MOST + 1
    assert not [line for line in logs if line["event"].startswith("checkouts are read")]


def test_at_the_end_of_the_log_the_clock_moves_the_watermark_and_what_is_kept_is_bounded_by_that() -> None:
    """Unless they hold decisions: then what a session has open keeps all of its checkouts."""
    for kind, stops in ((frozen, False), (misdated, True)):
        world = begun()
        first = 1
        while first < 5 * MOST and "checkouts" not in world.consumer.paused:
            world.turn([kind(n) for n in range(first, first + BATCH)])
            world.runner.task.idle(Side.CHECKOUTS, T + first)
            first += BATCH
        assert ("checkouts" in world.consumer.paused) is stops


def test_what_had_stopped_nothing_before_a_restart_stops_nothing_while_it_is_read_again() -> None:
    """Without a guard, read as they come: the watermark has gone on with the clock. Then the process starts again."""
    world = begun(limit=0)
    first = 1
    while first < 3 * MOST:
        world.turn([misdated(n) for n in range(first, first + BATCH)])
        world.idle(T + first)
        first += BATCH
    assert "checkouts" not in world.consumer.paused
    world.commit()
    world = world_of(0, before=world)
    begins = world.consumer.committed_offsets["checkouts", 0]
    assert first - begins > 2 * MOST
    for at in range(begins, first, BATCH):
        world.turn([right(n, T) if n == 0 else misdated(n) for n in range(at, min(first, at + BATCH))])
    world.turn(offers())
    assert not world.runner.task.restoring
    assert "checkouts" not in world.consumer.paused
    assert read(world, misdated, first) <= first + MOST + BATCH, "from there on they count"


@pytest.mark.parametrize("most", [1, 3 * MOST])
def test_a_task_that_has_to_learn_where_its_log_was_cut_reads_no_more_of_them_than_others(most: int) -> None:
    """The horizon is told by checkouts whose dates are believed, or by the end of the log."""
    world = LoopWorld(join={"unmatched_limit": 0})
    world.now = T / 1000 + 86_400
    world.set_max_unsettled(most)
    for topic, text in (("checkouts", new_checkouts(7)),):
        world.consumer.committed_offsets[topic, 0] = 7
        world.consumer.texts[topic, 0, 7] = text
    world.begin()
    assert world.runner.task.restoring
    assert world.runner.task.restore_until(Side.CHECKOUTS) is None
    read(world, misdated, 7)
    assert world.runner.task.restoring
    assert max(most, MOST) <= world.runner.task.kept_checkouts <= max(most, MOST) + 2 * BATCH
