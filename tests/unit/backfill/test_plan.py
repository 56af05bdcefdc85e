"""From bounds to a range, and what of the log that takes; see `integration/test_backfill.py` for a real one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from support.kafka import Message, partition_end

from consumer.backfill.plan import Log, Missing, range_of
from consumer.backfill.scope import BackfillScope, EventTimeRange, OffsetRange
from consumer.core.horizon import Horizon
from consumer.core.rules import DecisionRules
from consumer.errors import DecodeError, RangeError, SchemaWaitError, StartError
from consumer.events import OfferPresented

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
T = 1_790_000_000_000
NOW = T + 10_000


class Codec:
    """A value is the time at which its offer was presented; `garbage` is none."""

    def decode_offer(self, key: object, value: bytes, offset: int, headers: object) -> OfferPresented:
        if value == b"garbage":
            raise DecodeError("undecodable", "it is garbage")
        return OfferPresented("s", "ada", "o", T + int(value), offset)


class TwoStampedLogs:
    """Topics of one partition; a log is (its first offset, [(stamp, value), …])."""

    def __init__(self, **logs: tuple[int, list[tuple[int, bytes]]]) -> None:
        self._logs = logs
        self._at: TopicPartition | None = None

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        low, records = self._logs[place.topic]
        return low, low + len(records)

    def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition, self._behind(place)) for place in places]

    def _behind(self, place: TopicPartition) -> int:
        low, records = self._logs[place.topic]
        return next((low + n for n, (stamp, _) in enumerate(records) if T + stamp >= place.offset), -1)

    def assign(self, places: list[TopicPartition]) -> None:
        (self._at,) = places

    def consume(self, most: int, timeout: float) -> list[Message]:
        assert self._at is not None
        topic, (low, records) = self._at.topic, self._logs[self._at.topic]
        found = [
            Message(topic, 0, low + n, b"s", value, timestamp=T + stamp)
            for n, (stamp, value) in enumerate(records)
            if low + n >= self._at.offset
        ]
        return [*found, partition_end(topic, 0, low + len(records))]

    def pause(self, places: object) -> None: ...
    def resume(self, places: object) -> None: ...
    def unassign(self) -> None: ...


def log(**logs: tuple[int, list[tuple[int, bytes]]]) -> Log:
    return Log(TwoStampedLogs(**logs), ("offers", "checkouts"), 1, RULES, Codec())  # type: ignore[arg-type]


def at(ms: int) -> datetime:
    return datetime.fromtimestamp((T + ms) / 1000, UTC)


def test_two_times_are_a_range_that_is_over() -> None:
    assert range_of(at(0), at(1_000), NOW, log()) == EventTimeRange(T, T + 1_000)
    assert range_of(at(0), at(10_000), NOW, log()) == EventTimeRange(T, NOW), "it ends now"


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (at(5), at(5), "is not before --to"),
        (at(6), at(5), "is not before --to"),
        (at(0), at(10_001), "is in the future"),
        (at(0), {0: 5}, "must both be times"),
        ({0: 5}, at(0), "must both be times"),
        ({0: 5}, {0: 5, 1: 6}, "must name the same partitions"),
        ({1: 5}, {1: 6}, "none with number 1"),
        ({0: 4}, {0: 6}, "is no range of them"),
        ({0: 6}, {0: 5}, "is no range of them"),
        ({0: 5}, {0: 9}, "is no range of them"),
        ({0: 5}, {0: 5}, "holds no offer"),
        ({0: 7}, {0: 8}, "holds no offer"),
    ],
)
def test_what_is_no_range_is_said(begin: Any, end: Any, words: str) -> None:
    there = log(offers=(5, [(0, b"0"), (1, b"1"), (2, b"garbage")]))
    with pytest.raises(RangeError, match=words):
        range_of(begin, end, NOW, there)


def test_a_range_of_offsets_has_the_times_of_its_offers_that_are_believed() -> None:
    believed = [(101, b"151"), (102, b"-198")]
    not_believed = [(101, b"152"), (102, b"-199"), (103, b"9000"), (104, b"garbage")]
    there = log(offers=(5, [*believed, *not_believed]))
    assert range_of({0: 5}, {0: 11}, NOW, there) == OffsetRange({0: 5}, {0: 11}, T - 198, {0: T + 151 + 1})


class CodecThatAsks(Codec):
    """Knows the schema once so many seconds have passed."""

    def __init__(self, seconds: float) -> None:
        self.now, self._known_at = 0.0, seconds

    def decode_offer(self, key: object, value: bytes, offset: int, headers: object) -> OfferPresented:
        if self.now < self._known_at:
            raise SchemaWaitError("schema id 1: it is being asked for")
        return super().decode_offer(key, value, offset, headers)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_range_of_offsets_waits_for_the_schemas_of_its_records() -> None:
    logs = TwoStampedLogs(offers=(5, [(0, b"0"), (100, b"100")]))

    def range_by(codec: CodecThatAsks) -> object:
        topics = "offers", "checkouts"
        there = Log(logs, topics, 1, RULES, codec, lambda: codec.now, codec.sleep)  # type: ignore[arg-type]
        return range_of({0: 5}, {0: 7}, NOW, there)

    assert range_by(CodecThatAsks(30.0)) == OffsetRange({0: 5}, {0: 7}, T, {0: T + 101})
    with pytest.raises(StartError, match=r"offers\[0\]@5 .*schema id 1"):
        range_by(CodecThatAsks(1_000.0))


SCOPE = BackfillScope(EventTimeRange(T, T + 1_000), RULES)
OFFERS_FROM = T - 300 - 50
CHECKOUTS_FROM = OFFERS_FROM - 300 - 5 - 50


def test_offers_are_read_from_lookback_before_and_checkouts_from_another_one_before_that() -> None:
    assert log().reads_from(SCOPE) == OFFERS_FROM


@pytest.mark.parametrize(
    ("offers_begin", "checkouts_begin", "missing"),
    [
        ((0, T + 500), (0, T + 500), []),
        ((1, OFFERS_FROM), (1, CHECKOUTS_FROM), []),
        ((1, OFFERS_FROM + 1), (1, CHECKOUTS_FROM), [Missing("offers", 0, OFFERS_FROM, OFFERS_FROM + 1)]),
        ((1, OFFERS_FROM), (1, CHECKOUTS_FROM + 9), [Missing("checkouts", 0, CHECKOUTS_FROM, CHECKOUTS_FROM + 9)]),
        ((1, T + 5_000), (1, CHECKOUTS_FROM), [Missing("offers", 0, OFFERS_FROM, T + 1_000)]),
    ],
)
def test_what_retention_has_deleted_of_it_is_named(
    offers_begin: tuple[int, int], checkouts_begin: tuple[int, int], missing: list[Missing]
) -> None:
    there = log(
        offers=(offers_begin[0], [(offers_begin[1] - T, b"0")]),
        checkouts=(checkouts_begin[0], [(checkouts_begin[1] - T, b"0")] * Horizon.HEAD),
    )
    assert there.missing(SCOPE) == missing


def test_a_gap_in_a_partition_that_the_range_does_not_name_is_no_gap() -> None:
    scope = BackfillScope(OffsetRange({1: 0}, {1: 5}, T, {1: T + 1}), RULES)
    logs = TwoStampedLogs(offers=(7, []), checkouts=(7, []))
    there = Log(logs, ("offers", "checkouts"), 1, RULES, Codec())  # type: ignore[arg-type]
    assert there.missing(scope) == []


def test_a_log_of_which_all_is_deleted_lacks_the_whole_of_it() -> None:
    there = log(offers=(7, []), checkouts=(0, []))
    assert there.missing(SCOPE) == [Missing("offers", 0, OFFERS_FROM, T + 1_000)]
    assert "offers[0] from 20" in str(there.missing(SCOPE)[0])


@pytest.mark.parametrize(("lost", "is_missing"), [(CHECKOUTS_FROM, False), (CHECKOUTS_FROM + 1, True)])
def test_checkouts_that_the_deployment_knows_to_be_lost_are_missing_wherever_the_log_begins(
    lost: int, is_missing: bool
) -> None:
    for first in (0, 1):
        there = log(offers=(0, []), checkouts=(first, [(CHECKOUTS_FROM - T, b"0")] * Horizon.HEAD))
        assert bool(there.missing(SCOPE, {0: lost})) is is_missing
        assert there.missing(SCOPE, {1: lost}) == [], "of another partition"
    assert there.missing(SCOPE, {0: T + 5_000}) == [Missing("checkouts", 0, CHECKOUTS_FROM, T + 1_000)]


def test_a_broker_that_goes_away_while_a_range_is_planned_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(logs: object, places: object, timeout: float) -> Any:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    monkeypatch.setattr(TwoStampedLogs, "offsets_for_times", away)
    with pytest.raises(StartError, match="offers and checkouts: the broker does not say"):
        log(offers=(0, []), checkouts=(0, [])).ends_for(SCOPE)


def test_it_is_read_to_lateness_behind_what_is_due_or_to_the_end() -> None:
    due = 1_000 + 110 + 5
    there = log(offers=(0, [(0, b"0"), (due, b"0"), (due + 1, b"0")]), checkouts=(3, [(0, b"0")]))
    assert there.ends_for(SCOPE) == {("offers", 0): 1, ("checkouts", 0): 4}
