"""Rule 2: the outcomes tell what was settled since a time, and where they cannot, nothing is taken for settled."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition
from support.kafka import Consumer, Message, partition_end

from consumer.codecs.plain import PlainCodec
from consumer.errors import PositionsError, StartError
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.kafka import settled_since
from consumer.kafka.settled_since import SettledSince
from consumer.settings import KafkaSettings

KAFKA = KafkaSettings(group_id="g", offer_topic="offers", checkout_topic="checkouts", outcome_topic="outcomes")
T = 1_800_000_000_000
SKEW = 1_000
CODEC = PlainCodec()


def outcome(settled_at: int, presented_at: int, **more: Any) -> OfferOutcome:
    told: dict[str, Any] = {
        "offer_id": "o", "partner_code": "p", "session_id": "s",
        "outcome": Outcome.OPTED_OUT, "reason": Reason.DECLINED,
        "checkout_id": None, "presented_at": T + presented_at, "decided_at": T + presented_at + 100,
        "settled_at": T + settled_at, "status_code": 204, "attempts": 1, "details": Details(),
        "source": RecordRef("offers", 0, 7), "mode": Mode.LIVE, "note": None,
    }  # fmt: skip
    return OfferOutcome(**told | more)


class OutcomeLog(Consumer):
    """One partition of outcomes, stamped when they were settled."""

    def __init__(self, *told: OfferOutcome | bytes | None, ends: bool = True) -> None:
        super().__init__()
        stamps = [one.settled_at if isinstance(one, OfferOutcome) else T for one in told]
        self.stamps = {"outcomes": stamps}
        self.closed = False
        self._values = [CODEC.encode_outcome(one) if isinstance(one, OfferOutcome) else one for one in told]
        self._ends = ends
        self._next = 0

    def assign(self, places: list[TopicPartition]) -> None:
        self._next = places[0].offset

    def consume(self, most: int, timeout: float) -> list[Message]:
        if not self._ends:
            return [Message(None, 0, 0, error=KafkaError(KafkaError._ALL_BROKERS_DOWN))]
        records = [Message("outcomes", 0, n, b"k", value) for n, value in enumerate(self._values) if n >= self._next]
        self._next = len(self._values)
        return [*records, partition_end("outcomes", 0, len(self._values))]

    def pause(self, places: object) -> None: ...
    def resume(self, places: object) -> None: ...
    def unassign(self) -> None: ...
    def close(self) -> None:
        self.closed = True


def ask(consumer: OutcomeLog) -> dict[int, int]:
    try:
        return SettledSince(lambda: consumer, KAFKA, CODEC.decode_outcome, SKEW).earliest_shown(T)  # type: ignore[arg-type,return-value]
    finally:
        assert consumer.closed


def test_the_earliest_of_those_that_were_settled_since_is_told() -> None:
    assert ask(OutcomeLog(outcome(-1, -900), outcome(0, -300), outcome(5, -500), outcome(9, 1))) == {0: T - 500}


def test_nothing_is_told_where_none_was_settled_since() -> None:
    assert ask(OutcomeLog()) == {}
    assert ask(OutcomeLog(outcome(-5_000, -9_000))) == {}
    assert ask(OutcomeLog(outcome(-500, -900))) == {}


def test_each_partition_of_the_offers_has_its_own() -> None:
    told = outcome(1, -300), outcome(2, -500, source=RecordRef("offers", 3, 1))
    assert ask(OutcomeLog(*told)) == {0: T - 300, 3: T - 500}


@pytest.mark.parametrize(
    "more",
    [
        {"source": RecordRef("others", 0, 7)},
        {"mode": Mode.BACKFILL},
        {"outcome": Outcome.DEAD_LETTERED, "reason": Reason.LATE},
        {"outcome": Outcome.DEAD_LETTERED, "reason": Reason.IMPLAUSIBLE_TIME},
        {"outcome": Outcome.RELEASED, "reason": Reason.RELEASED},
    ],
)
def test_what_no_decision_of_this_deployment_settled_leads_no_further_back(more: dict[str, Any]) -> None:
    assert ask(OutcomeLog(outcome(1, -300), outcome(2, -10_000, **more))) == {0: T - 300}


def test_a_tombstone_is_no_outcome() -> None:
    assert ask(OutcomeLog(None, outcome(1, -300))) == {0: T - 300}


def test_outcomes_that_retention_deleted_are_not_taken_for_none() -> None:
    log = OutcomeLog(outcome(-9_000, -9_500), outcome(1, -300))
    log.begins["outcomes"] = 1
    with pytest.raises(PositionsError, match=r"outcomes\[0\]: .*may be gone.* Nothing was changed.* later time"):
        ask(log)


def test_older_outcomes_may_be_gone() -> None:
    log = OutcomeLog(outcome(-9_000, -9_500), outcome(-8_000, -9_000), outcome(1, -300))
    log.begins["outcomes"] = 1
    assert ask(log) == {0: T - 300}


def test_what_cannot_be_read_may_be_any_outcome() -> None:
    with pytest.raises(PositionsError, match=r"outcomes\[0\] offset 1 is no outcome: .* Nothing was changed"):
        ask(OutcomeLog(outcome(1, -300), b"garbage"))


def test_a_broker_that_gives_none_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settled_since, "TIMEOUT", 2)
    with pytest.raises(StartError, match=r"could not be read: .* Nothing was changed"):
        ask(OutcomeLog(outcome(1, -300), ends=False))


@pytest.mark.parametrize("question", ["list_topics", "offsets_for_times", "get_watermark_offsets"])
def test_a_broker_that_refuses_is_not_taken_for_none(question: str) -> None:
    log = OutcomeLog(outcome(1, -300))
    log.errors[question] = [KafkaError.TOPIC_AUTHORIZATION_FAILED]
    with pytest.raises(StartError, match="right to read the topic"):
        ask(log)


def test_a_partition_of_which_no_offset_is_told_is_not_taken_for_empty() -> None:
    class Refuses(OutcomeLog):
        def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[Any]:
            return [SimpleNamespace(partition=0, offset=-1, error=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))]

    with pytest.raises(StartError):
        ask(Refuses(outcome(1, -300)))


def test_a_topic_that_is_not_there_is_not_one_without_outcomes() -> None:
    class HasNone(OutcomeLog):
        def list_topics(self, topic: str, timeout: float) -> Any:
            error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
            return SimpleNamespace(topics={topic: SimpleNamespace(partitions={}, error=error)})

    with pytest.raises(StartError, match=r"could not be read: .* Nothing was changed"):
        ask(HasNone(outcome(1, -300)))
