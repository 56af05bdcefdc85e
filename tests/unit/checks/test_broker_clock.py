"""What a record's stamp tells of the clock of this machine, before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME

from consumer.checks import broker_clock
from consumer.checks.broker_clock import MOST_PARTITIONS, judge_stamp, newest_stamp

NOW = 1_800_000_000_000
SKEW = 300_000


@pytest.mark.parametrize(
    ("stamp", "level", "says"),
    [
        (NOW - 86_400_000, "ok", "is not behind"),
        (NOW + 2_000, "ok", "is not behind"),
        (NOW + 2_001, "warning", "2.0 s behind that of a broker"),
        (NOW + SKEW, "warning", "no quiet input's watermark would move"),
        (NOW + SKEW + 1, "error", "no offer would be decided or called"),
        (None, "ok", "no record that was read is stamped by a broker"),
    ],
)
def test_a_stamp_ahead_of_our_clock_tells_that_it_is_behind(stamp: int | None, level: str, says: str) -> None:
    check = judge_stamp(stamp, NOW, SKEW)
    assert check.level == level
    assert says in check.found
    assert bool(check.remedy) is (level != "ok")


class StampedLog:
    """The last records of partitions, by topic and partition: how they are stamped, and when."""

    def __init__(self, stamps: dict[tuple[str, int], tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
        self.stamps = stamps
        self.asked: list[tuple[str, int]] = []
        monkeypatch.setattr(broker_clock, "bounds_within", self._bounds)
        monkeypatch.setattr(broker_clock, "LogReader", lambda consumer, on_error: self)

    def _bounds(self, consumer: Any, places: Any, *_: Any) -> dict[tuple[str, int], tuple[int, int]]:
        asked = [(place.topic, place.partition) for place in places]
        self.asked += asked
        return {place: (3, 5) if place in self.stamps else (5, 5) for place in asked}

    def read(self, ranges: dict[tuple[str, int], tuple[int, int]], go_on: Any, round_s: float) -> Any:
        assert set(ranges.values()) == {(4, 5)}, "the last record alone"
        for place in ranges:
            yield StampedMessage(self.stamps[place])


class StampedMessage:
    def __init__(self, stamp: tuple[int, int]) -> None:
        self.timestamp = lambda: stamp


def test_only_the_stamps_that_brokers_gave_count_and_the_latest_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    by_broker, by_producer = TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_CREATE_TIME
    places = {("a", 0): (by_broker, 5), ("a", 1): (by_broker, 7), ("b", 0): (by_producer, 9)}
    log = StampedLog(places, monkeypatch)
    assert newest_stamp(None, [*places, ("b", 1)]) == 7  # type: ignore[arg-type]
    assert newest_stamp(None, [("b", 0)]) is None  # type: ignore[arg-type]
    assert newest_stamp(None, [("b", 1)]) is None, "it is empty"  # type: ignore[arg-type]
    log.asked.clear()
    newest_stamp(None, [("a", n) for n in range(100)])  # type: ignore[arg-type]
    assert len(log.asked) == MOST_PARTITIONS
