"""Where the consumer is, seen from outside: by what its group has committed."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ..core.checkpoint import CheckoutCheckpoint, OfferCheckpoint, UnreadableMetadata
from ..core.rules import MIN_TIME


@dataclass(frozen=True, slots=True)
class Progress:
    """As of the last commit. `watermark`: the lowest of the partitions (ms), None: not all have one. `lag`: records
    written and not applied, `uncommitted`: offers written and not committed, None: not known."""

    watermark: int | None = None
    lag: int | None = None
    uncommitted: int | None = None


class ProgressProbe:
    """Asks the broker for a group's progress on the two topics."""

    def __init__(self, bootstrap: str, group_id: str, topics: tuple[str, str], partitions: int) -> None:
        # After a broker's restart the client has to ask anew who leads: by default it does so after 15 minutes.
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "metadata.max.age.ms": 5_000})
        self._group_id = group_id
        self._offer_topic = topics[0]
        self._partitions = [TopicPartition(topic, p) for topic in topics for p in range(partitions)]

    def ask(self) -> Progress:
        """The progress now; empty if the broker does not answer within a second."""
        try:
            asked = self._admin.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(self._group_id, self._partitions)]
            )
            latest = OffsetSpec.latest()  # type: ignore[no-untyped-call] # the client has no types here
            ends = self._admin.list_offsets(dict.fromkeys(self._partitions, latest))
            committed = asked[self._group_id].result(1).topic_partitions
            end = {(at.topic, at.partition): future.result(1).offset for at, future in ends.items()}
        except (KafkaException, TimeoutError):
            return Progress()
        applied = [self._applied(position) for position in committed]
        lag = sum(end[at.topic, at.partition] - offset for at, (offset, _) in zip(committed, applied, strict=True))
        decided = [time for at, (_, time) in zip(committed, applied, strict=True) if at.topic == self._offer_topic]
        known = [time for time in decided if time is not None]
        offers = [at for at in committed if at.topic == self._offer_topic]
        uncommitted = sum(end[at.topic, at.partition] - max(0, at.offset) for at in offers)
        return Progress(min(known) if known and len(known) == len(decided) else None, lag, uncommitted)

    def _applied(self, position: TopicPartition) -> tuple[int, int | None]:
        """The next offset to be applied and, for the offer topic, D."""
        if position.offset < 0:
            return 0, None
        metadata = position.metadata or ""
        try:
            if position.topic == self._offer_topic:
                offers = OfferCheckpoint.decode(metadata, position.offset)
                return offers.next_offset, offers.decided_to if offers.decided_to > MIN_TIME else None
            return CheckoutCheckpoint.decode(metadata, position.offset).next_offset, None
        except UnreadableMetadata:
            return position.offset, None
