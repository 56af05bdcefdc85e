"""Rule 5: a held commit is said when half of the topic's retention is used up, by the oldest record that it holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from support.kafka import Message, partition_end
from support.loop_world import LoopWorld

from consumer.core.chain import Chain
from consumer.core.checkpoint import Position
from consumer.core.commits import CommitPlan
from consumer.core.rules import MIN_TIME
from consumer.core.watermark import Side
from consumer.events import OfferPresented, Reason
from consumer.kafka.retention import Kept
from consumer.runtime import loop
from consumer.runtime.retention import RetentionWatch

HOUR = 3_600_000
NOW = 1_700_000_000_000
OLDEST = Chain([OfferPresented("s", "ACME", "o-1", NOW, 70)], NOW, Reason.DECLINED, None, False)
OFFERS = {"offers": Kept(10 * HOUR, None)}


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


class Held:
    """A partition of which so much is read, and not all is settled.

    Args:
        read: by input, the records that were read, each in a batch of its own: offset and stamp (ms before NOW).
        committed: of the offers and the checkouts; None: nothing, in this life.
        watermark: of both inputs (ms before NOW).
        kept: the stamps (ms before NOW) of offers that are kept back.
    """

    def __init__(
        self,
        read: dict[Side, list[tuple[int, int]]],
        *,
        committed: tuple[int, int] | None = (70, 700),
        watermark: int | None = 0,
        kept: tuple[int, ...] = (),
        oldest: Chain | None = OLDEST,
    ) -> None:
        value = MIN_TIME if watermark is None else NOW - watermark
        self.task: Any = SimpleNamespace(
            next_offset=lambda side: read[side][-1][0] + 1 if read.get(side) else 0,
            watermarks=SimpleNamespace(of=lambda side: SimpleNamespace(value=value)),
            oldest_unsettled=lambda: oldest,
        )
        messages = [Message("offers", 3, 900 + n, timestamp=NOW - age) for n, age in enumerate(kept)]
        self.late_run = SimpleNamespace(kept=[*messages, partition_end("offers", 3, 999)] if kept else [])
        self.read, self.committed = read, committed

    def measured(self, retention: FakeRetention) -> RetentionWatch:
        """A watch that has measured this."""
        watch = RetentionWatch(retention, ("offers", "checkouts"), lambda: NOW / 1000)  # type: ignore[arg-type]
        for side, records in self.read.items():
            for offset, age in records:
                watch.read(self, side, Message("t", 3, offset, timestamp=NOW - age))  # type: ignore[arg-type]
        plan = self.committed and CommitPlan(*map(Position, self.committed), NOW, NOW)
        watch.measure({3: self}, {3: plan} if plan else {})  # type: ignore[dict-item]
        return watch

    def warnings(self, retention: FakeRetention) -> list[dict[str, Any]]:
        """What is logged when this is looked at."""
        watch = RetentionWatch(retention, ("offers", "checkouts"), lambda: NOW / 1000)  # type: ignore[arg-type]
        for side, records in self.read.items():
            for offset, age in records:
                watch.read(self, side, Message("t", 3, offset, timestamp=NOW - age))  # type: ignore[arg-type]
        plan = self.committed and CommitPlan(*map(Position, self.committed), NOW, NOW)
        with structlog.testing.capture_logs() as lines:
            watch.look({3: self}, {3: plan} if plan else {})  # type: ignore[dict-item]
        return list(lines)


def offers_held(age: int, **more: Any) -> Held:
    """An offer at offset 70 is held, and a younger one behind it."""
    return Held({Side.OFFERS: [(69, 99 * HOUR), (70, age), (75, HOUR)]}, **more)


def test_an_offer_held_for_more_than_half_of_the_retention_is_said_with_what_to_do() -> None:
    kept = FakeRetention(OFFERS)
    assert offers_held(5 * HOUR - 2_000).warnings(kept) == []
    (line,) = offers_held(5 * HOUR + 1).warnings(kept)
    assert line.pop("event").startswith("a held commit nears the topic's retention")
    assert line.pop("held_since").startswith("2023-11-14T17:1"), "to the second"
    assert line == {
        "log_level": "warning",
        "topic": "offers",
        "partition": 3,
        "offset": 70,
        "oldest_unsettled": "ACME/o-1",
        "age_h": 5.0,
        "retention_h": 10.0,
    }


def test_checkouts_are_said_by_their_own_commit() -> None:
    (line,) = Held({Side.CHECKOUTS: [(700, 6 * HOUR)]}, oldest=None).warnings(
        FakeRetention({"checkouts": Kept(10 * HOUR, None)})
    )
    assert (line["topic"], line["offset"], line["oldest_unsettled"]) == ("checkouts", 700, None)


def test_what_is_held_from_the_start_is_said_though_nothing_was_ever_decided() -> None:
    (line,) = offers_held(HOUR, committed=None, watermark=None).warnings(FakeRetention(OFFERS))
    assert (line["offset"], line["age_h"]) == (69, 99.0)


def test_offers_that_are_kept_back_are_as_old_as_their_records_however_young_those_before_them_are() -> None:
    behind = Held({Side.OFFERS: [(69, HOUR)]}, kept=(HOUR, 7 * HOUR, HOUR))
    (line,) = behind.warnings(FakeRetention(OFFERS))
    assert (line["offset"], line["age_h"]) == (70, 7.0)


def test_an_older_record_behind_a_younger_one_counts() -> None:
    (line,) = Held({Side.OFFERS: [(70, HOUR), (80, 8 * HOUR), (90, HOUR)]}).warnings(FakeRetention(OFFERS))
    assert line["age_h"] == 8.0


def test_where_all_that_was_read_is_settled_the_input_is_as_old_as_its_watermark() -> None:
    read = {Side.OFFERS: [(69, 99 * HOUR)]}
    assert Held(read, watermark=300_000).warnings(FakeRetention(OFFERS)) == [], "a quiet topic holds nothing"
    (line,) = Held(read, watermark=6 * HOUR).warnings(FakeRetention(OFFERS))
    assert line["age_h"] == 6.0, "what is paused is not read"


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
    lines = offers_held(HOUR).warnings(kept)
    assert [(line["held_records"], line["kept_records"]) for line in lines] == ([(61, 121)] if said else [])


def test_what_is_not_known_is_not_said() -> None:
    assert offers_held(10**9).warnings(FakeRetention({})) == []
    assert Held({}).warnings(FakeRetention({"offers": Kept(1, None)})) == [], "nothing was read yet"
    assert Held({}, watermark=None).warnings(FakeRetention({"offers": Kept(1, None)})) == []
    watch = RetentionWatch(None, ("offers", "checkouts"), lambda: NOW / 1000)
    watch.look({3: offers_held(10**9)}, {})  # type: ignore[dict-item]


def test_what_is_left_is_the_retention_less_the_age_of_what_is_held() -> None:
    kept = FakeRetention({"offers": Kept(10 * HOUR, None), "checkouts": Kept(None, 10**9)})
    watch = Held({Side.OFFERS: [(70, 4 * HOUR), (75, HOUR)], Side.CHECKOUTS: [(700, HOUR)]}).measured(kept)
    assert watch.left == pytest.approx({("offers", 3): 6 * 3_600.0}, abs=2), "bytes say nothing of time"
    assert kept.asked == [("offers", 3), ("checkouts", 3)]
    assert offers_held(12 * HOUR).measured(kept).left[("offers", 3)] < 0, "it may be gone already"


def test_ends_are_those_that_the_brokers_told_last() -> None:
    kept = FakeRetention({}, {("offers", 3): (10, 130)})
    assert offers_held(HOUR).measured(kept).ends == {("offers", 3): 130}
    assert RetentionWatch(None, ("offers", "checkouts"), lambda: NOW / 1000).ends == {}


def test_the_loop_looks_at_each_report_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "PROGRESS", 0.0)
    world = LoopWorld()
    world.loop._retention = RetentionWatch(
        FakeRetention({"offers": Kept(5_000, None)}),  # type: ignore[arg-type]
        ("offers", "checkouts"),
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
