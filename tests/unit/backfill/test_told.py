"""What is settled already: by the outcomes, and by the dead letters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from support.kafka import Message, partition_end
from support.outcomes import outcome_of

from consumer.backfill.scope import EventTimeRange, OffsetRange
from consumer.backfill.told import KnownFate, Told, ToldReader, chain_key
from consumer.errors import DecodeError, StartError
from consumer.events import (
    MOST_ELEMENTS,
    Mode,
    OfferAmongSeveral,
    OfferOutcome,
    OfferPresented,
    Outcome,
    Reason,
    RecordIdentity,
    RecordRef,
)
from consumer.kafka.dead_letter import Headers, forms
from consumer.kafka.letter import note_of
from consumer.kafka.record import Record
from consumer.runtime.outcomes import CUT_OFF, NOT_ADMITTED
from consumer.settings import KafkaSettings

KAFKA = KafkaSettings(bootstrap_servers="b", offer_topic="offers", outcome_topic="outcomes", dead_letter_topic="dead")
T = 1_790_000_000_000


def given_up(offset: int, reason: Reason) -> OfferOutcome:
    return replace(outcome_of(Outcome.DEAD_LETTERED, reason), source=RecordRef("offers", 0, offset))


GIVEN_UP = replace(outcome_of(Outcome.DEAD_LETTERED, Reason.LATE, mode=Mode.BACKFILL), note=CUT_OFF)


def test_a_chain_is_known_by_its_session_offer_and_last_presentation() -> None:
    told = Told()
    told.add(outcome_of())
    assert told.of(OfferPresented("s", "ada", "o", T, 5)) == KnownFate(Outcome.OPTED_OUT, Reason.DECLINED)
    for session, partner, offer_id, at in (("t", "ada", "o", T), ("s", "eve", "o", T), ("s", "ada", "p", T)):
        assert told.of(OfferPresented(session, partner, offer_id, at, 5)) is None
    assert told.of(OfferPresented("s", "ada", "o", T + 1, 5)) is None
    assert chain_key("a", "b", "c", 1) != chain_key("ab", "", "c", 1)


@pytest.mark.parametrize("call_first", [False, True])
def test_of_two_outcomes_of_a_chain_the_call_counts(call_first: bool) -> None:
    told = Told()
    both = [outcome_of(), outcome_of(Outcome.DEAD_LETTERED)]
    for one in both if call_first else reversed(both):
        told.add(one)
    assert list(told.fates.values()) == [KnownFate(Outcome.OPTED_OUT, Reason.DECLINED)]


@pytest.mark.parametrize("other", [Outcome.OPTED_OUT, Outcome.NOT_FOUND, Outcome.DEAD_LETTERED, Outcome.IGNORED])
@pytest.mark.parametrize("bought_first", [False, True])
def test_a_chain_that_was_told_to_be_bought_stays_bought_whatever_else_is_told(
    other: Outcome, bought_first: bool
) -> None:
    """By force what was told to be bought is never called; the report counts it as bought too."""
    told = Told()
    both = [outcome_of(Outcome.PURCHASED, Reason.PURCHASED), outcome_of(other)]
    for one in both if bought_first else reversed(both):
        told.add(one)
    assert list(told.fates.values()) == [KnownFate(Outcome.PURCHASED, Reason.PURCHASED)]


@pytest.mark.parametrize("reason", [reason for reason, _ in NOT_ADMITTED.values()])
def test_what_became_of_a_record_that_joined_no_chain_is_that_record_s_alone(reason: Reason) -> None:
    told = Told()
    for offset in (7, 9, 7):
        told.add(given_up(offset, reason))
    fate = KnownFate(Outcome.DEAD_LETTERED, reason)
    assert [told.of(OfferPresented("s", "ada", "o", T, offset)) for offset in (5, 7, 9)] == [None, fate, fate]
    assert told.of(OfferAmongSeveral("s", "ada", "o", T, 7 * MOST_ELEMENTS + 2)) == fate, "the record, not the place"
    assert told.of(given_up(9, reason)) == fate
    assert told.of(given_up(5, reason)) is None


CALLED = KnownFate(Outcome.OPTED_OUT, Reason.DECLINED)
BOUGHT = KnownFate(Outcome.PURCHASED, Reason.PURCHASED)
IS_LATE = KnownFate(Outcome.DEAD_LETTERED, Reason.LATE)


@pytest.mark.parametrize(
    ("told_of", "fate"),
    [
        ({3: None, 5: None}, None),
        ({3: CALLED, 5: None}, None),
        ({3: None, 5: CALLED}, CALLED),
        ({3: None, 5: IS_LATE}, None),
        ({3: IS_LATE, 5: None}, None),
        ({3: IS_LATE, 5: IS_LATE}, IS_LATE),
        ({3: CALLED, 5: IS_LATE}, CALLED),
        ({3: BOUGHT, 5: IS_LATE}, BOUGHT),
        ({3: BOUGHT, 5: None}, BOUGHT),
        ({3: BOUGHT, 5: CALLED}, BOUGHT),
        ({3: IS_LATE, 5: BOUGHT}, BOUGHT),
    ],
)
def test_of_a_chain_a_record_that_was_given_up_tells_only_of_itself_and_a_purchase_of_all(
    told_of: dict[int, KnownFate | None], fate: KnownFate | None
) -> None:
    """Two presentations, in the records at 3 and 5, of which to another run each may have been by itself."""
    told = Told()
    for offset, one in told_of.items():
        if one is not None:
            source = RecordRef("offers", 0, offset)
            told.add(replace(outcome_of(one.outcome, one.reason, T + offset), source=source))
    assert told.of_chain([OfferPresented("s", "ada", "o", T + offset, offset) for offset in told_of]) == fate


def test_of_records_of_one_time_that_were_given_up_in_part_there_is_a_chain_without_a_fate() -> None:
    told = Told()
    told.add(given_up(3, Reason.LATE))
    both = [OfferPresented("s", "ada", "o", T, offset) for offset in (3, 5)]
    assert told.of_chain(both) is None
    told.add(given_up(5, Reason.LATE))
    assert told.of_chain(both) == IS_LATE


def test_what_was_told_of_before_the_range_may_be_the_begin_of_a_chain_in_it() -> None:
    outcomes = {
        b"0": outcome_of(Outcome.PURCHASED, Reason.PURCHASED, T - 300, offer_id="in"),
        b"1": outcome_of(Outcome.PURCHASED, Reason.PURCHASED, T - 301, offer_id="before"),
        b"2": outcome_of(at=T - 1, offer_id="called"),
        b"3": outcome_of(at=T - 1, offer_id="called, then late"),
        b"4": replace(outcome_of(Outcome.DEAD_LETTERED, Reason.LATE, T), offer_id="called, then late"),
        b"5": replace(outcome_of(Outcome.DEAD_LETTERED, Reason.LATE, T - 1), offer_id="late"),
        b"6": replace(outcome_of(Outcome.DEAD_LETTERED, Reason.LATE, T), offer_id="late"),
    }
    records = [Message("outcomes", 0, number, b"k", value) for number, value in enumerate(outcomes)]
    consumer = TwoTopics({"outcomes": records, "dead": []})
    reader = ToldReader(consumer, lambda value: outcomes[value])  # type: ignore[arg-type]
    told = reader.read(KAFKA, EventTimeRange(T, T + 10), 300)

    def shown_twice(one: OfferOutcome) -> list[OfferPresented]:
        return [OfferPresented("s", "ada", one.offer_id, at, 0) for at in (min(one.presented_at, T - 1), T)]

    fates = {one.offer_id: told.of_chain(shown_twice(one)) for one in outcomes.values()}
    assert fates == {"in": BOUGHT, "before": None, "called": None, "called, then late": CALLED, "late": IS_LATE}
    assert not told.fates, "they are no chains of the range"


@pytest.mark.parametrize("chain_first", [False, True])
def test_a_chain_s_fate_is_no_other_by_a_record_that_joined_none(chain_first: bool) -> None:
    told = Told()
    both = [outcome_of(Outcome.PURCHASED, Reason.PURCHASED), given_up(7, Reason.LATE)]
    for one in both if chain_first else reversed(both):
        told.add(one)
    for offset in (5, 7):
        assert told.of(OfferPresented("s", "ada", "o", T, offset)) == KnownFate(Outcome.PURCHASED, Reason.PURCHASED)


def test_a_gap_is_closed_by_the_chain_or_where_the_record_itself_is_late_and_not_by_another_record() -> None:
    told = Told()
    told.add(GIVEN_UP)
    told.add(given_up(7, Reason.LATE))
    assert told.cut_off, "it was another record that is late by itself"
    told.add(given_up(0, Reason.LATE))
    assert not told.cut_off


def test_what_a_backfill_gave_up_for_a_gap_is_counted_once() -> None:
    told = Told()
    for mode in (Mode.BACKFILL, Mode.BACKFILL):
        told.add(replace(GIVEN_UP, mode=mode))
    told.add(replace(GIVEN_UP, offer_id="by the deployment", mode=Mode.LIVE))
    told.add(replace(GIVEN_UP, offer_id="late by itself", note="presented so long ago"))
    assert len(told.cut_off) == 1


def test_a_gap_that_another_run_has_closed_by_a_call_is_none_any_more() -> None:
    told = Told()
    told.add(GIVEN_UP)
    told.add(outcome_of(mode=Mode.BACKFILL))
    assert not told.cut_off
    told.add(GIVEN_UP)
    assert not told.cut_off


def test_by_force_what_was_given_up_is_settled_once_more() -> None:
    told = Told()
    told.add(GIVEN_UP)
    told.is_anew([OfferPresented("s", "ada", "o", T, 5)])
    assert not told.cut_off


class TwoTopics:
    """A consumer of `outcomes`, whose values are keys of `records`, and of `dead`, whose headers tell a source."""

    def __init__(
        self, records: dict[str, list[Message]], *, silent: bool = False, low: int = 0, asked: int = 0
    ) -> None:
        self._records, self._silent = records, silent
        self._low, self._asked = {"outcomes": low, "dead": 0}, asked
        self._at: list[TopicPartition] = []
        self.asked_from: dict[str, int] = {}

    def list_topics(self, topic: str, timeout: float) -> Any:
        class Told:
            partitions = (0,)
            error = None

        class All:
            topics = {topic: Told}  # noqa: RUF012 - one answer

        return All

    def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self.asked_from[places[0].topic] = places[0].offset
        return [TopicPartition(places[0].topic, 0, max(self._asked, self._low[places[0].topic]))]

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        low = self._low[place.topic]
        return low, low + len(self._records[place.topic])

    def assign(self, places: list[TopicPartition]) -> None:
        self._at = places

    def consume(self, most: int, timeout: float) -> list[Message]:
        topic = self._at[0].topic
        end = self._low[topic] + len(self._records[topic])
        return [] if self._silent else [*self._records[topic], partition_end(topic, 0, end)]

    def pause(self, places: object) -> None: ...
    def resume(self, places: object) -> None: ...
    def unassign(self) -> None: ...


def as_read(headers: Headers) -> list[tuple[str, str | bytes | None]]:
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in headers]


def letter(offset: int, record: Record) -> Message:
    """The dead letter of a record, as the service writes it."""
    form = next(forms(record, "undecodable", "why"))
    return Message("dead", record.partition, offset, form.key, form.value, headers=as_read(form.headers))


def test_both_topics_are_read_and_what_is_another_s_or_of_another_time_is_left_out() -> None:
    outcomes = [
        outcome_of(at=T - 1, offer_id="before"),
        outcome_of(at=T, offer_id="first"),
        outcome_of(at=T + 9, offer_id="last"),
        outcome_of(at=T + 10, offer_id="behind"),
        outcome_of(at=T, offer_id="other topic", topic="others"),
    ]
    values = {str(number).encode(): one for number, one in enumerate(outcomes)}

    def decode(value: bytes) -> OfferOutcome:
        if value not in values:
            raise DecodeError("undecodable", "it is garbage")
        return values[value]

    records = [Message("outcomes", 0, number, b"k", value) for number, value in enumerate([*values, b"garbage", None])]
    dead = [letter(0, Record("offers", 0, 7, T, b"k", b"v")), Message("dead", 0, 1, b"k", b"v")]
    consumer = TwoTopics({"outcomes": records, "dead": dead})
    told = ToldReader(consumer, decode).read(KAFKA, EventTimeRange(T, T + 10))  # type: ignore[arg-type]
    assert [told.of(OfferPresented("s", "ada", one.offer_id, one.presented_at, 0)) is not None for one in outcomes] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert RecordIdentity(RecordRef("offers", 0, 7), T) in told.dead
    assert told.unknown == ["outcomes[0]@5, which cannot be read: it is garbage"], "it may tell of a call"
    assert all(asked < T for asked in consumer.asked_from.values()), "a stamp may be before the presentation's date"


def test_a_dead_letter_or_a_note_is_of_the_record_with_that_timestamp_and_not_of_another_in_its_place() -> None:
    """The topic was made anew, or its log was cut and has grown again."""
    place = RecordRef("dead", 0, 0)
    old, noted, by_older = (RecordRef("offers", 0, offset) for offset in (7, 8, 9))
    note = note_of(RecordIdentity(noted, T), place, noted)
    without = [(name, value if name != "resubmitted.from" else "dead[0]@0") for name, value in
               note_of(RecordIdentity(by_older, T), place, by_older)]  # fmt: skip
    dead = [
        letter(0, Record(*old, T, b"k", b"v")),
        Message("dead", 0, 1, headers=as_read(note), timestamp=T + 5),
        Message("dead", 0, 2, headers=as_read(without), timestamp=T + 5),
    ]
    reader = ToldReader(TwoTopics({"outcomes": [], "dead": dead}), lambda value: outcome_of())  # type: ignore[arg-type]
    told = reader.read(KAFKA, EventTimeRange(T, T + 10))
    stamps = T - 1, T, T + 5, T + 6
    assert [[RecordIdentity(one, stamp) in told.dead for stamp in stamps] for one in (old, noted, by_older)] == [
        [False, True, False, False],
        [False, True, False, False],
        [True, True, True, False],
    ]


def test_a_record_that_has_headers_like_a_dead_letter_s_tells_of_no_other() -> None:
    """It was too large for ours, so that those which it has are its own."""
    own = next(forms(Record("offers", 0, 7, T, b"k", b"v"), "late", "why")).headers
    dead = [Message("dead", 0, 0, b"k", b"v", headers=as_read([*own, ("trace", "x")]))]
    reader = ToldReader(TwoTopics({"outcomes": [], "dead": dead}), lambda value: outcome_of())  # type: ignore[arg-type]
    told = reader.read(KAFKA, EventTimeRange(T, T + 10))
    assert RecordIdentity(RecordRef("offers", 0, 7), T) not in told.dead


def test_a_topic_that_is_not_read_to_its_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.kafka.reader.PATIENCE", 0.0)
    consumer = TwoTopics({"outcomes": [Message("outcomes", 0, 0, b"k", b"v")], "dead": []}, silent=True)
    with pytest.raises(StartError, match="could not be read to its end"):
        ToldReader(consumer, lambda value: outcome_of()).read(KAFKA, EventTimeRange(T, T + 10))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "asked", "unknown"),
    [
        (T + 4, 5, ["outcomes[0] from 2026-09-21T14:13:20Z to 2026-09-21T14:13:20Z"]),
        (T, 5, []),
        (T + 4, 6, []),
        (None, 5, ["outcomes[0], of which nothing is left"]),
    ],
)
def test_outcomes_that_retention_has_deleted_are_not_taken_for_never_told(
    first: int | None, asked: int, unknown: list[str]
) -> None:
    """Unless one is left that was told before the range begins."""
    left = [] if first is None else [Message("outcomes", 0, n, b"k", b"v", timestamp=first) for n in (5, 6)]
    for range, expected in (
        (EventTimeRange(T, T + 10), unknown),
        (OffsetRange({1: 0}, {1: 9}, T, {1: T + 10}), []),
    ):
        consumer = TwoTopics({"outcomes": left, "dead": []}, low=5, asked=asked)
        assert ToldReader(consumer, lambda value: outcome_of()).read(KAFKA, range).unknown == expected  # type: ignore[arg-type]
