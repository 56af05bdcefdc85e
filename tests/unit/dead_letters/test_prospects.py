"""What would become of a record: held against what a task would do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consumer.codecs.plain import PlainCodec
from consumer.core.rules import DecisionRules
from consumer.core.watermark import Side
from consumer.dead_letters.prospects import Obstacle, Prospects, side_of
from consumer.events import OfferPresented
from consumer.kafka.partitioners import PARTITIONERS
from consumer.kafka.record import Record
from consumer.settings import KafkaSettings

NOW = 1_790_000_000_000
RULES = DecisionRules(window=60_000, checkout_grace=5_000, lookback=120_000, lateness=10_000, max_skew=20_000)
ON_TIME_FOR = 75_000
KAFKA = KafkaSettings()
CODEC = PlainCodec()


def offer(at: int = NOW, session: str = "s1") -> bytes:
    return CODEC.encode_offer(
        {"event_id": "e", "session_id": session, "partner_code": "P", "offer_id": "o", "presented_at": at}
    )


def checkout(at: int) -> bytes:
    event = {"event_id": "e", "session_id": "s1", "checkout_id": "c", "completed_at": at, "purchased_offer_ids": []}
    return CODEC.encode_checkout(event)


def of(value: bytes | None, *, topic: str = KAFKA.offer_topic, stamp: int = NOW, reason: str = "undecodable") -> Any:
    record = Record(topic, 0, 5, stamp, b"s1", value)
    found = Prospects(CODEC, RULES, KAFKA, lambda: NOW / 1000, lambda _: 1).of(record, reason)
    return None if found is None else found[0]


def test_what_can_be_read_in_time_is_of_use() -> None:
    assert of(offer()) is None
    assert of(offer(NOW - ON_TIME_FOR), stamp=NOW - ON_TIME_FOR) is None


def test_an_offer_is_late_as_soon_as_a_watermark_that_keeps_up_finds_it_so() -> None:
    at = NOW - ON_TIME_FOR - 1
    assert of(offer(at), stamp=at) is Obstacle.LATE
    assert of(offer(at), stamp=at, reason="rejected") is Obstacle.LATE


@pytest.mark.parametrize("at", [NOW + 20_001, NOW - 121_000, 5])
def test_a_date_that_is_not_believed(at: int) -> None:
    assert of(offer(at)) is Obstacle.IMPLAUSIBLE


def test_what_still_cannot_be_read_says_why() -> None:
    assert of(b"\xff") is Obstacle.UNREADABLE
    assert of(offer(session="another")) is Obstacle.UNREADABLE
    record = Record(KAFKA.offer_topic, 0, 5, NOW, b"s1", offer(session="another"))
    found = Prospects(CODEC, RULES, KAFKA, lambda: NOW / 1000, lambda _: 1).of(record, "key_mismatch")
    assert found is not None
    assert found[1].startswith("key_mismatch: ")


def test_a_checkout_is_never_late() -> None:
    assert of(checkout(5_000), topic=KAFKA.checkout_topic) is None


def test_what_is_of_no_input_or_empty() -> None:
    assert of(offer(), topic="elsewhere") is Obstacle.OTHER_TOPIC
    assert of(None) is Obstacle.NO_VALUE
    assert side_of(KAFKA.checkout_topic, KAFKA) is Side.CHECKOUTS
    assert side_of(KAFKA.outcome_topic, KAFKA) is None


@pytest.mark.parametrize("put", PARTITIONERS.values())
def test_only_where_its_key_belongs_a_record_is_of_use(put: Callable[[bytes, int], int]) -> None:
    """Whatever else speaks against it, which may be overruled: its session's purchases are elsewhere."""
    for partition in range(6):
        prospects = Prospects(CODEC, RULES, KAFKA, lambda: NOW / 1000, lambda _: 6)
        found = prospects.of(Record(KAFKA.offer_topic, partition, 5, NOW, b"s1", b"\xff"), "undecodable")
        assert found is not None
        belongs = partition in {by(b"s1", 6) for by in PARTITIONERS.values()}
        assert found[0] is (Obstacle.UNREADABLE if belongs else Obstacle.OTHER_PARTITION)
    grown = {KAFKA.offer_topic: 6, KAFKA.checkout_topic: 12}
    prospects = Prospects(CODEC, RULES, KAFKA, lambda: NOW / 1000, grown.__getitem__)
    session = next(
        f"s{n}" for n in range(99) if {by(f"s{n}".encode(), 12) for by in PARTITIONERS.values()} <= {*range(6, 12)}
    )
    record = Record(KAFKA.offer_topic, put(session.encode(), 6), 5, NOW, session.encode(), offer(session=session))
    found = prospects.of(record, "undecodable")
    assert found is not None
    assert found[0] is Obstacle.OTHER_PARTITION, "the purchases go by the other topic's number"


def test_a_record_without_a_key_belongs_nowhere_else() -> None:
    prospects = Prospects(CODEC, RULES, KAFKA, lambda: NOW / 1000, lambda _: 6)
    found = prospects.of(Record(KAFKA.offer_topic, 5, 5, NOW, None, offer()), "key_mismatch")
    assert found is not None
    assert found[0] is Obstacle.UNREADABLE


class SeveralCodec(PlainCodec):
    """Reads so many offers in each record."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def decode_offer(self, key: bytes | None, value: bytes, offset: int, headers: Any = None) -> Any:
        return [OfferPresented("s1", "P", f"o{n}", NOW, offset) for n in range(self.count)]


@pytest.mark.parametrize(
    ("count", "reason", "obstacle"),
    [
        (3, "rejected", Obstacle.SEVERAL_OFFERS),
        (1, "rejected", None),
        (3, "undecodable", None),
        (0, "undecodable", Obstacle.PASSED_OVER),
    ],
)
def test_a_record_of_which_one_offer_was_refused_would_present_the_others_too(
    count: int, reason: str, obstacle: Obstacle | None
) -> None:
    prospects = Prospects(SeveralCodec(count), RULES, KAFKA, lambda: NOW / 1000, lambda _: 1)
    found = prospects.of(Record(KAFKA.offer_topic, 0, 5, NOW, b"s1", b"v"), reason)
    assert (None if found is None else found[0]) is obstacle


def test_only_what_is_possible_may_be_overruled() -> None:
    assert {one.key for one in Obstacle if one.may_be_overruled} == {
        "unreadable", "late", "implausible_time", "passed_over", "several_offers"
    }  # fmt: skip
