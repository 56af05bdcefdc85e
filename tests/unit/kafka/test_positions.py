"""Rule 2: which committed positions are in doubt, and in which words the start is refused for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition

from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, each_of, new_checkouts
from consumer.core.provenance import Provenance
from consumer.core.watermark import Side
from consumer.errors import PositionsError, StartError
from consumer.kafka.positions import Doubt, Positions, check_positions, refusal

TOPICS = ("offers", "checkouts")
OURS = Provenance("c", "o-id", "k-id", *TOPICS, "https://api.example/x", mapping="m0123abcd")
OFFERS = OfferCheckpoint((1_000, 0, 2_000, True), 1, 5_000, 9, 4, provenance=OURS.at(1_790_000_000_000))
CHECKOUTS = CheckoutCheckpoint(1, 4, 0)


def place(topic: str, offset: int, metadata: str = "", partition: int = 0) -> TopicPartition:
    return TopicPartition(topic, partition, offset, metadata=metadata)


def committed(offers: TopicPartition | None = None, checkouts: TopicPartition | None = None) -> Positions:
    return Positions(
        TOPICS,
        [offers or place("offers", 7, OFFERS.encode(7)), checkouts or place("checkouts", 3, CHECKOUTS.encode(3))],
    )


def doubts(positions: Positions, now: Provenance = OURS) -> list[tuple[Doubt, str]]:
    return [(one.doubt, one.topic) for one in positions.doubts(now)]


def test_what_the_service_left_there_is_not_in_doubt() -> None:
    assert doubts(committed()) == []
    assert doubts(committed(checkouts=place("checkouts", 3, new_checkouts(3)))) == []


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize(
    ("offset", "text", "doubt"),
    [
        (-1001, "", Doubt.MISSING),
        (3, "", Doubt.UNMARKED),
        (3, "hello", Doubt.FOREIGN),
        (3, OFFERS.encode(7), Doubt.FOREIGN),
        (3, CHECKOUTS.encode(2), Doubt.FOREIGN),
        (3, new_checkouts(4), Doubt.FOREIGN),
    ],
)
def test_what_others_left_there_is(topic: str, offset: int, text: str, doubt: Doubt) -> None:
    found = committed(**{topic: place(topic, offset, text)})
    assert doubts(found) == [(doubt, topic)]
    with pytest.raises(PositionsError, match=rf"(?s){topic}\[0\]: .*`opt-out positions --accept`.*--reset-to"):
        check_positions("g", found, OURS, 1)


def test_the_mark_of_new_checkouts_is_none_for_offers() -> None:
    assert doubts(committed(offers=place("offers", 3, new_checkouts(3)))) == [(Doubt.FOREIGN, "offers")]


@pytest.mark.parametrize(
    ("name", "doubt", "topic"),
    [
        ("cluster", Doubt.OTHER_CLUSTER, "offers"),
        ("offer_topic_id", Doubt.MADE_ANEW, "offers"),
        ("checkout_topic_id", Doubt.MADE_ANEW, "checkouts"),
        ("offer_topic", Doubt.RENAMED, "offers"),
        ("checkout_topic", Doubt.RENAMED, "checkouts"),
        ("base_url", Doubt.OTHER_API, "offers"),
        ("mapping", Doubt.OTHER_MAPPING, "offers"),
    ],
)
def test_what_was_committed_for_something_else_is(name: str, doubt: Doubt, topic: str) -> None:
    now = replace(OURS, **{name: "another"})
    assert doubts(committed(), now) == [(doubt, topic)]
    with pytest.raises(PositionsError, match=rf"\({getattr(OURS, name)}, now another\)"):
        check_positions("g", committed(), now, 1)
    assert doubts(committed(), replace(OURS, **{name: ""})) == []


@pytest.mark.parametrize("name", ["cluster", "offer_topic_id", "checkout_topic_id"])
def test_what_was_told_then_and_is_not_now_stops_the_start(name: str) -> None:
    """As in the moment in which a cluster has no controller: else a topic that was made anew would be read on."""
    with pytest.raises(StartError, match="id, and did when positions were committed"):
        check_positions("g", committed(), replace(OURS, **{name: ""}), 1)
    unknown = replace(OFFERS, provenance=replace(OFFERS.provenance, **{name: ""}))
    check_positions("g", committed(place("offers", 7, unknown.encode(7))), replace(OURS, **{name: ""}), 1)


def test_what_version_1_committed_is_ours_and_says_nothing_more() -> None:
    old = "1:1000,0,2000,a:1:5000:9:4:::"
    assert doubts(committed(offers=place("offers", 7, old)), replace(OURS, base_url="another")) == []


@pytest.mark.parametrize(
    ("logs", "expected"),
    [
        ({(Side.OFFERS, 0): (0, 9), (Side.CHECKOUTS, 0): (0, 4)}, []),
        ({(Side.OFFERS, 0): (7, 9)}, []),
        ({(Side.OFFERS, 0): (8, 20)}, [(Doubt.GONE, "offers")]),
        ({(Side.OFFERS, 0): (0, 8)}, [(Doubt.CUT, "offers")]),
        ({(Side.CHECKOUTS, 0): (0, 3)}, [(Doubt.CUT, "checkouts")]),
    ],
)
def test_what_the_log_no_longer_holds_is(
    logs: dict[tuple[Side, int], tuple[int, int]], expected: list[tuple[Doubt, str]]
) -> None:
    assert [(one.doubt, one.topic) for one in committed().doubts(OURS, logs)] == expected


@pytest.mark.parametrize(
    ("now", "logs", "needs_a_yes"),
    [
        (OURS, {(Side.OFFERS, 0): (0, 8)}, False),
        (OURS, {(Side.CHECKOUTS, 0): (0, 3)}, True),
        (OURS, {(Side.CHECKOUTS, 0): (4, 9)}, False),
        (replace(OURS, cluster="another"), {}, True),
        (replace(OURS, offer_topic_id="another"), {}, True),
        (replace(OURS, checkout_topic_id="another"), {}, True),
        (replace(OURS, base_url="another"), {}, False),
    ],
)
def test_a_way_back_is_offered_only_where_it_is_not_refused_then(
    now: Provenance, logs: dict[tuple[Side, int], tuple[int, int]], needs_a_yes: bool
) -> None:
    found = list(committed().doubts(now, logs))
    assert any(one.needs_a_yes for one in found) is needs_a_yes
    words = refusal("g", found)
    assert ("There is no way back" in words) is needs_a_yes
    assert ("To go back to a time when all was well" in words) is not needs_a_yes
    assert "`opt-out positions --accept` says so" in words


def test_another_number_of_partitions_is_told_before_all_else() -> None:
    with pytest.raises(StartError, match="committed with 1 partitions, the topics now have 2: keys have moved"):
        check_positions("g", committed(checkouts=place("checkouts", -1001)), OURS, 2)


def test_many_partitions_of_one_doubt_are_one_line() -> None:
    places = [place("offers", 3, partition=p) for p in range(7)]
    places += [place("checkouts", 3, new_checkouts(3), partition=p) for p in range(7)]
    with pytest.raises(PositionsError, match=r"offers\[0\], offers\[1\], offers\[2\], offers\[3\] and 3 more: the off"):
        check_positions("g", Positions(TOPICS, places), OURS, 7)


def test_a_group_without_any_offset_is_told_from_one_that_has_lost_some() -> None:
    assert committed(place("offers", -1001), place("checkouts", -1001)).none_at_all
    assert not committed(place("offers", -1001)).none_at_all


@pytest.mark.parametrize(("then", "now"), [(None, "offers"), ("offers", None), ("offers", "items[]")])
def test_what_was_committed_by_another_setting_of_what_a_record_holds_is(then: str | None, now: str | None) -> None:
    text = replace(OFFERS, each=each_of(then)).encode(7)
    places = [place("offers", 7, text), place("checkouts", 3, CHECKOUTS.encode(3))]
    found = Positions(TOPICS, places, each_of(now))
    assert doubts(found) == [(Doubt.OTHER_EACH, "offers")]
    with pytest.raises(PositionsError, match=r"another input\.offers\.each(?s:.*)--reset-to TIME"):
        check_positions("g", found, OURS, 1)
    assert doubts(Positions(TOPICS, places, each_of(then))) == []
