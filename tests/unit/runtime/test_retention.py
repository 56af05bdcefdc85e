"""A held commit is said when half of the topic's retention is used up, and not before."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from support.loop_world import LoopWorld

from consumer.core.chain import Chain
from consumer.core.checkpoint import Position
from consumer.core.commits import CommitPlan
from consumer.core.rules import MIN_TIME
from consumer.events import OfferPresented, Reason
from consumer.kafka.retention import Kept
from consumer.runtime import loop
from consumer.runtime.retention import RetentionWatch

HOUR = 3_600_000
LOOKBACK = 2 * HOUR
NOW = 1_700_000_000_000
OLDEST = Chain([OfferPresented("s", "ACME", "o-1", NOW, 70)], NOW, Reason.DECLINED, None, False)


class FakeRetention:
    """The brokers' answers."""

    def __init__(self, kept: dict[str, Kept], bounds: dict[tuple[str, int], tuple[int, int]] | None = None) -> None:
        self._kept, self._bounds = kept, bounds or {}
        self.asked: list[Any] = []

    def kept(self, topic: str) -> Kept | None:
        return self._kept.get(topic)

    def ask_bounds(self, places: list[tuple[str, int]]) -> None:
        self.asked += places

    def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        return self._bounds


def warnings(retention: FakeRetention, *, held_ms: int, oldest: Chain | None = OLDEST) -> list[dict[str, Any]]:
    """What is logged where a commit holds an offer that is so old, at offsets 70 and 700."""
    watch = RetentionWatch(retention, ("offers", "checkouts"), LOOKBACK, lambda: NOW / 1000)  # type: ignore[arg-type]
    plan = CommitPlan(Position(70), Position(700), NOW - held_ms - LOOKBACK, NOW)
    with structlog.testing.capture_logs() as lines:
        watch.look({3: plan}, {3: oldest})
    return list(lines)


def test_an_offer_held_for_more_than_half_of_the_retention_is_said_with_what_to_do() -> None:
    kept = FakeRetention({"offers": Kept(10 * HOUR, None)})
    assert warnings(kept, held_ms=5 * HOUR) == []
    (line,) = warnings(kept, held_ms=5 * HOUR + 1)
    assert line.pop("event").startswith("a held commit nears the topic's retention")
    assert line == {
        "log_level": "warning",
        "topic": "offers",
        "partition": 3,
        "offset": 70,
        "held_since": "2023-11-14T17:13:19+00:00",
        "oldest_unsettled": "ACME/o-1",
        "age_h": 5.0,
        "retention_h": 10.0,
    }
    assert kept.asked == [], "there is no bound in bytes"


def test_checkouts_are_held_for_lookback_longer() -> None:
    kept = FakeRetention({"checkouts": Kept(10 * HOUR, None)})
    assert warnings(kept, held_ms=3 * HOUR) == []
    (line,) = warnings(kept, held_ms=3 * HOUR + 1, oldest=None)
    assert (line["topic"], line["offset"], line["oldest_unsettled"]) == ("checkouts", 700, None)


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        pytest.param((10, 130), False, id="half of what is kept is behind the commit"),
        pytest.param((10, 131), True, id="more than half is not settled"),
        pytest.param((0, 1_000), False, id="nothing was ever deleted"),
        pytest.param(None, False, id="not told yet"),
    ],
)
def test_where_bytes_bound_the_topic_records_are_counted(bounds: tuple[int, int] | None, said: bool) -> None:
    kept = FakeRetention({"offers": Kept(None, 10**9)}, {} if bounds is None else {("offers", 3): bounds})
    lines = warnings(kept, held_ms=HOUR)
    assert [(line["held_records"], line["kept_records"]) for line in lines] == ([(61, 121)] if said else [])
    assert kept.asked == [("offers", 3)], "for the next look"


def test_what_is_not_known_is_not_said() -> None:
    assert warnings(FakeRetention({}), held_ms=10**9) == []
    watch = RetentionWatch(None, ("offers", "checkouts"), LOOKBACK, lambda: NOW / 1000)
    watch.look({0: CommitPlan(Position(0), Position(0), 0, 0)}, {})
    undecided = RetentionWatch(
        FakeRetention({"offers": Kept(1, None)}),  # type: ignore[arg-type]
        ("offers", "checkouts"),
        LOOKBACK,
        lambda: NOW / 1000,
    )
    with structlog.testing.capture_logs() as lines:
        undecided.look({0: CommitPlan(Position(0), Position(0), MIN_TIME, MIN_TIME)}, {})
    assert lines == []


def test_the_loop_looks_at_each_report_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PROGRESS", 0.0)
    world = LoopWorld()
    world.loop._retention = RetentionWatch(
        FakeRetention({"offers": Kept(5_000, None)}),  # type: ignore[arg-type]
        ("offers", "checkouts"),
        2_000,
        world.edges.clock.wall,
    )
    world.begin()
    world.decide()  # an offer presented at 10 s is called, and not answered
    world.commit()
    with structlog.testing.capture_logs() as lines:
        world.turn()
    found = [line for line in lines if line["event"].startswith("a held commit nears")]
    assert [(line["offset"], line["oldest_unsettled"]) for line in found] == [(0, "P/o1")]
    world.delivery.answer()
    world.turn()
    world.commit()  # it says what no later one need hold
    world.idle(int(world.now * 1000))
    world.commit()
    with structlog.testing.capture_logs() as lines:
        world.turn()
    assert [line for line in lines if line["event"].startswith("a held commit nears")] == []
