"""What would become of a record if the service read it again now: whether it is worth to be re-submitted.

It is judged by its event time as it was before, and event time has gone on. So this is asked before anything is
written: many late offers in a row would hold up their partition, and each one only becomes another dead letter.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from ..checks.sample import judged
from ..codecs.codec import Codec
from ..core.dating import iso_of
from ..core.rules import DecisionRules, is_before_kafka
from ..core.watermark import InputWatermark, Side
from ..events import OfferPresented
from ..kafka.partitioners import PARTITIONERS
from ..kafka.record import Record
from ..settings import KafkaSettings


class Obstacle(Enum):
    """Why a record is left out: a name for programs, and what is said of it to people.

    Those up to SEVERAL_OFFERS are what would become of it; `--anyway` overrules them. `--again` overrules
    PERHAPS_ALREADY. The others make it impossible.
    """

    UNREADABLE = "unreadable", "they still cannot be read by these settings"
    PASSED_OVER = "passed_over", "by these settings they are of another kind, and would be passed over"
    LATE = "late", "their event time is so long ago that they would be dead-lettered as late"
    IMPLAUSIBLE = "implausible_time", "their dates are not believed, and they would be dead-lettered again"
    SEVERAL_OFFERS = "several_offers", "one offer of the record was refused, and all of them would be presented again"
    PERHAPS_ALREADY = (
        "perhaps_already",
        "notes of that time are deleted, and it cannot be told whether they were re-submitted (--again takes them)",
    )
    OTHER_PARTITION = (
        "other_partition",
        "by now their keys belong to another partition, and so do their sessions' events",
    )
    OTHER_TOPIC = "other_topic", "they are of a topic that is none of the inputs in these settings"
    UNTOLD = "untold", "where they are from is not told: they were too large for that"
    GONE = "gone", "they are here in part only, and the topic that they are from no longer has the whole"
    NO_VALUE = "no_value", "they have no value"
    TOO_LARGE = "too_large", "with the header that says so they are larger than their topic takes"

    def __init__(self, key: str, words: str) -> None:
        self.key = key
        self.words = words

    @property
    def may_be_overruled(self) -> bool:
        """Whether it is a matter of what it is good for, and not of what is possible."""
        return self in _OVERRULED


_OVERRULED = frozenset(
    {Obstacle.UNREADABLE, Obstacle.PASSED_OVER, Obstacle.LATE, Obstacle.IMPLAUSIBLE, Obstacle.SEVERAL_OFFERS}
)


def side_of(topic: str, kafka: KafkaSettings) -> Side | None:
    """Which input this topic is; None: neither."""
    return {kafka.offer_topic: Side.OFFERS, kafka.checkout_topic: Side.CHECKOUTS}.get(topic)


class Prospects:
    """Tells what would become of records.

    Args:
        codec: by the settings, for a command that waits for a registry.
        rules: as set now.
        wall: a clock in seconds. A running service is no further behind it than it is behind with its work; one that
            was stopped comes to the end of the topic before it reads what was re-submitted.
        partitions: how many a topic has.
    """

    def __init__(
        self,
        codec: Codec,
        rules: DecisionRules,
        kafka: KafkaSettings,
        wall: Callable[[], float],
        partitions: Callable[[str], int],
    ) -> None:
        self._codec = codec
        self._rules = rules
        self._kafka = kafka
        self._wall = wall
        self._partitions = partitions

    def of(self, record: Record, reason: str) -> tuple[Obstacle, str] | None:
        """What speaks against re-submitting a record that was dead-lettered for this reason; None: nothing does.

        Returns:
            The obstacle, and in words what it is in this case.

        Raises:
            OptOutError: it could not be asked how many partitions the inputs have.
        """
        side = side_of(record.topic, self._kafka)
        if side is None:
            return Obstacle.OTHER_TOPIC, f"{record.topic} is neither kafka.offer_topic nor kafka.checkout_topic"
        if record.value is None:
            return Obstacle.NO_VALUE, "it has no value"
        # Before what may be overruled, which this may not be.
        if record.key and not self._belongs(record.key, record.partition):
            return (
                Obstacle.OTHER_PARTITION,
                f"no partitioner that is known puts its key in partition {record.partition}",
            )
        return self._of_content(record, side, reason)

    # --- inside

    def _belongs(self, key: bytes, partition: int) -> bool:
        """Whether the session's events of both inputs may come to this partition.

        They do not once the topics have more partitions than when the record was written. An offer would be called
        there though it is bought: its purchase is in another partition.
        """
        counts = {self._partitions(topic) for topic in (self._kafka.offer_topic, self._kafka.checkout_topic)}
        return any(all(put(key, count) == partition for count in counts) for put in PARTITIONERS.values())

    def _of_content(self, record: Record, side: Side, reason: str) -> tuple[Obstacle, str] | None:
        sampled = judged(record, side, self._codec)
        if (problem := sampled.error or sampled.waits) is not None:
            name = f"{sampled.error.reason}: " if sampled.error is not None else ""
            return Obstacle.UNREADABLE, f"{name}{problem}"
        if not sampled.events:
            return Obstacle.PASSED_OVER, "it is of another kind, or presents nothing"
        event = sampled.events[0]
        if not isinstance(event, OfferPresented):
            return None  # a checkout is never late, and buys what it names whatever its date
        return self._of_offer(event, len(sampled.events), record.timestamp, reason)

    def _of_offer(self, event: OfferPresented, count: int, timestamp: int, reason: str) -> tuple[Obstacle, str] | None:
        now, at = int(self._wall() * 1000), event.presented_at
        when = iso_of(at) or str(at)
        if is_before_kafka(at, now) or not InputWatermark(self._rules).observe(at, timestamp, now):
            return Obstacle.IMPLAUSIBLE, f"it is dated {when}, and its record {iso_of(timestamp) or timestamp}"
        on_time_for = self._rules.late_after + self._rules.lateness
        if at < now - on_time_for:
            return Obstacle.LATE, f"it was presented at {when}, more than {on_time_for // 1000} s ago"
        if reason == "rejected" and count > 1:
            return Obstacle.SEVERAL_OFFERS, f"its record holds {count} offers"
        return None
