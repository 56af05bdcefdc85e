"""A group of which nobody is a member, whose positions `PositionChanges` changes: its broker, and its two logs."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, ClassVar

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from support.kafka import Consumer, Message, Place, partition_end

from consumer.core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, are_new_checkouts
from consumer.core.provenance import Provenance
from consumer.core.rules import DecisionRules
from consumer.kafka.leader_epochs import NO_EPOCH, ReadTo
from consumer.kafka.position_changes import Change, PositionChanges
from consumer.kafka.start_offsets import StartOffsets
from consumer.settings import KafkaSettings

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
KEY = (100, 10, 300, True)
NOW = 1_800_000_000_000
OURS = Provenance("c", "o-id", "k-id", "offers", "checkouts", "https://api.example/x")
KAFKA = KafkaSettings(group_id="g", offer_topic="offers", checkout_topic="checkouts")
OFFERS = OfferCheckpoint(KEY, 1, 5_000, 9, 4, unsettled=frozenset({8}), provenance=OURS, trusted_since=4_000)
CHECKOUTS = CheckoutCheckpoint(1, 4, 700, lookback=300)
FIRST = NOW - 5_000


class PlayedReader:
    """Reads a log of the consumer's whose stamps are known; another one as `answer` says."""

    answer: ClassVar[list[Message]] = [Message("checkouts", 0, 0, timestamp=FIRST), partition_end("checkouts", 0, 100)]

    def __init__(self, consumer: Consumer, gap: range = range(0)) -> None:
        self._consumer = consumer
        self._gap = gap
        self._place = TopicPartition("", 0, 0)

    def assign(self, places: list[TopicPartition]) -> None:
        (self._place,) = places

    def consume(self, most: int, timeout: float) -> list[Message]:
        topic, begin = self._place.topic, self._place.offset
        if topic not in self._consumer.stamps:
            return (
                self.answer if topic == "checkouts" else [Message(topic, 0, self._behind_gap(begin), timestamp=FIRST)]
            )
        stamps = self._consumer.stamps[topic]
        records = [Message(topic, 0, offset, timestamp=at) for offset, at in enumerate(stamps) if offset >= begin]
        return [*records[:most], partition_end(topic, 0, len(stamps))][:most]

    def _behind_gap(self, offset: int) -> int:
        return self._gap.stop if offset in self._gap else offset

    def pause(self, places: object) -> None: ...
    def resume(self, places: object) -> None: ...
    def unassign(self) -> None: ...
    def close(self) -> None: ...


class ChangesWorld:
    """A group that has committed offset 7 of the offers and 3 of the checkouts; both logs hold 0 to 100.

    Attributes:
        gap: offsets of the offers where no record stands.
        cuts: by topic, where its log was cut below what was read of it, before it grew again.
        held_against: how far each topic had been read, and in which epoch, as its log was looked at last.
    """

    def __init__(self, now: Provenance = OURS, rules: DecisionRules = RULES, each: str = "") -> None:
        self.consumer = Consumer()
        self.commit("offers", 7, OFFERS.encode(7))
        self.commit("checkouts", 3, CHECKOUTS.encode(3))
        self.state: Any = ConsumerGroupState.EMPTY
        self.now = now
        self.rules = rules
        self.each = each
        self.unmatched_limit = 50
        self.gap = range(0)
        self.cuts: dict[str, int] = {}
        self.held_against: dict[str, ReadTo] = {}

    def commit(self, topic: str, offset: int, text: str) -> None:
        self.consumer.committed_offsets[topic, 0] = offset
        self.consumer.texts[topic, 0, offset] = text

    def describe_consumer_groups(self, groups: list[str], request_timeout: float) -> dict[str, Future[Any]]:
        future: Future[Any] = Future()
        if isinstance(self.state, KafkaError):
            future.set_exception(KafkaException(self.state))
        else:
            future.set_result(SimpleNamespace(state=self.state, members=["m"]))
        return {"g": future}

    def earliest_shown(self, moment: int) -> dict[int, int]:
        """As `SettledSince`: nothing was settled since."""
        return {}

    @property
    def starts(self) -> StartOffsets:
        return StartOffsets(KAFKA, self.rules, 1, self.now, each=self.each, cut_logs=self)  # type: ignore[arg-type]

    def of(self, read: Mapping[Place, ReadTo], timeout: float | None = None) -> dict[Place, int]:
        """As `CutLogs`: what was cut of the logs whose epochs are known."""
        self.held_against = {topic: to for (topic, _), to in read.items()}
        return {
            place: self.cuts[place[0]] for place, to in read.items() if to.epoch != NO_EPOCH and place[0] in self.cuts
        }

    @property
    def changes(self) -> PositionChanges:
        return PositionChanges(
            self.consumer, self, lambda: PlayedReader(self.consumer, self.gap), self.starts,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            group="g", provenance=self.now, rules=self.rules, partitions=1, unmatched_limit=self.unmatched_limit,
        )  # fmt: skip

    def accept(self) -> list[Change]:
        return self.changes.accept(NOW)

    def left(self, topic: str) -> tuple[int, str]:
        offset = self.consumer.committed_offsets[topic, 0]
        return offset, self.consumer.texts[topic, 0, offset]

    def offers(self) -> tuple[int, OfferCheckpoint]:
        offset, text = self.left("offers")
        return offset, OfferCheckpoint.decode(text, offset)

    def checkouts(self) -> tuple[int, CheckoutCheckpoint | None]:
        """None where the horizon is to be learnt."""
        offset, text = self.left("checkouts")
        return offset, None if are_new_checkouts(text, offset) else CheckoutCheckpoint.decode(text, offset)
