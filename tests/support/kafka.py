"""A Kafka client that a test plays: records, the end of a partition, and a consumer whose answers are scripted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from consumer.core.checkpoint import OfferCheckpoint, new_checkouts
from consumer.core.rules import MIN_TIME

Place = tuple[str, int]
"""Topic and partition."""

Headers = Sequence[tuple[str, str | bytes | None]]


class Message:
    """A record, or an error in a record's place, which has a topic only if it is about one. `timestamp` is in ms."""

    def __init__(
        self,
        topic: str | None,
        partition: int,
        offset: int,
        key: bytes | None = None,
        value: bytes | None = None,
        *,
        timestamp: int = 0,
        headers: Headers | None = None,
        error: KafkaError | None = None,
        epoch: int | None = None,
    ) -> None:
        self._epoch = epoch
        self._topic, self._partition, self._offset = topic, partition, offset
        self._key, self._value = key, value
        self._timestamp, self._headers, self._error = timestamp, headers, error

    def topic(self) -> str | None:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp

    def headers(self) -> list[tuple[str, str | bytes | None]] | None:
        return None if self._headers is None else list(self._headers)

    def error(self) -> KafkaError | None:
        return self._error

    def leader_epoch(self) -> int | None:
        return self._epoch


def marked(topic: str, offset: int, partitions: int = 1) -> str:
    """Metadata of ours for a position of which nothing is known; a topic of offers has `offer` in its name."""
    if "offer" in topic:
        return OfferCheckpoint((1_000, 0, 2_000, True), partitions, MIN_TIME, offset, 0).encode(offset)
    return new_checkouts(offset)


def partition_end(topic: str, partition: int, offset: int) -> Message:
    """What the client says where a partition ends for now: `offset` is the next to be written."""
    return Message(topic, partition, offset, error=KafkaError(KafkaError._PARTITION_EOF))


class Consumer:
    """What a service asks of its consumer beside records. A test that needs polls or an assignment adds them.

    Args:
        partitions: of each topic.
        committed: the group's offset in every partition of which `committed_offsets` says nothing; -1001: none.

    Attributes:
        committed_offsets: what the group has committed.
        commits: the offsets of each commit, and `metadata` of the last.
        epochs: the leader epoch of the last commit of each partition, if it had one.
        texts: the metadata that stands with an offset, by topic, partition and offset.
        low, high: where each partition begins and ends, unless `begins` says otherwise of its topic.
        at: the offset that any time leads to, unless `stamps` tell of its topic.
        firsts: by topic where its first record stands, if that is not where it begins.
        stamps: by topic, the timestamps of the records of each of its partitions, from offset 0 on.
        errors: by a question's name, the codes with which it fails in turn, before it is answered.
        refused: by topic, the error with which its part of a commit comes back.
        most_metadata: characters; what is longer is refused.
        asked: the names of all questions in their order.
    """

    def __init__(self, *, partitions: int = 1, committed: int = -1001) -> None:
        self.partitions: int | None = partitions
        self.committed_offsets: dict[Place, int] = defaultdict(lambda: committed)
        self.commits: list[dict[Place, int]] = []
        self.metadata: dict[Place, str] = {}
        self.epochs: dict[Place, int] = {}
        self.texts: dict[tuple[str, int, int], str] = {}
        self.low, self.high = 0, 100
        self.begins: dict[str, int] = {}
        self.at = -1
        self.firsts: dict[str, int] = {}
        self.stamps: dict[str, list[int]] = {}
        self.errors: dict[str, list[int]] = defaultdict(list)
        self.refused: dict[str, object] = {}
        self.most_metadata = 4_096
        self.asked: list[str] = []

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._ask("committed")
        return [self._committed(p.topic, p.partition) for p in places]

    def _committed(self, topic: str, partition: int) -> TopicPartition:
        """What was committed; where a test only named an offset, as the service would have committed it."""
        offset = self.committed_offsets[topic, partition]
        metadata = self.texts.get((topic, partition, offset))
        if metadata is None and offset >= 0:
            metadata = marked(topic, offset, self.partitions or 1)
        epoch = self.epochs.get((topic, partition), -1)
        return TopicPartition(topic, partition, offset, metadata=metadata or "", leader_epoch=epoch)

    def get_watermark_offsets(self, place: TopicPartition, timeout: float, cached: bool) -> tuple[int, int]:
        self._ask("get_watermark_offsets")
        end = len(self.stamps[place.topic]) if place.topic in self.stamps else self.high
        return self.begins.get(place.topic, self.low), end

    def offsets_for_times(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._ask("offsets_for_times")
        return [TopicPartition(p.topic, p.partition, self._at(p.topic, p.offset)) for p in places]

    def _at(self, topic: str, moment: int) -> int:
        if topic not in self.stamps:
            return self.at if moment else self.firsts.get(topic, self.begins.get(topic, self.low))
        from_low = enumerate(self.stamps[topic][self.begins.get(topic, self.low) :], self.begins.get(topic, self.low))
        return next((offset for offset, stamp in from_low if stamp >= moment), -1)

    def list_topics(self, topic: str, timeout: float) -> Any:
        self._ask("list_topics")
        if self.partitions is None:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=range(self.partitions), error=None)})

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[Any]:
        self._ask("commit")
        self.commits.append({(p.topic, p.partition): p.offset for p in offsets})
        self.metadata = {(p.topic, p.partition): p.metadata or "" for p in offsets}
        taken = [p for p in offsets if self._refusal(p) is None and not self._is_too_long(p)]
        self.texts |= {(p.topic, p.partition, p.offset): p.metadata or "" for p in taken}
        self.committed_offsets.update({(p.topic, p.partition): p.offset for p in taken})
        self.epochs.update({(p.topic, p.partition): -1 if p.leader_epoch is None else p.leader_epoch for p in taken})
        if any(self._is_too_long(place) for place in offsets):
            # For all of the request, as the real client does, though the broker has taken the others.
            raise KafkaException(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE))
        return [
            SimpleNamespace(topic=p.topic, partition=p.partition, offset=p.offset, error=self._refusal(p))
            for p in offsets
        ]

    def _is_too_long(self, place: TopicPartition) -> bool:
        return len(place.metadata or "") > self.most_metadata

    def _refusal(self, place: TopicPartition) -> object | None:
        return self.refused.get(place.topic)

    def _ask(self, question: str) -> None:
        self.asked.append(question)
        if self.errors[question]:
            raise KafkaException(KafkaError(self.errors[question].pop(0)))
