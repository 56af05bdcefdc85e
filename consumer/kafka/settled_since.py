"""What was settled since a time, as the outcome topic tells: it was not settled by then, whatever was due.

How far a run had decided at some time is not told by that time. Behind a gap between two checkouts, under a guard,
after a start, with a higher `join.lateness`, or while the insurer did not answer, offers wait for minutes or for days.
But each offer that is settled has an outcome, flushed before the commit that relies on it. So what a way back leaves
settled is what is settled now, less what has an outcome from after that time.

Of a partition of outcomes that begins behind its first offset, some are gone. Where the first that is left is from
before that time, all since are there: outcomes are deleted from the oldest on. Where it is not, or none is left, only
the topic's settings tell. Retention has deleted none that is younger than `retention.ms`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from ..errors import DecodeError, PositionsError, StartError
from ..events import Mode, OfferOutcome, Reason
from ..settings import KafkaSettings
from .end_offsets import TIMEOUT, bounds
from .reader import NotAllReadError, read_all
from .start_offsets import readable
from .topics import TopicConfig

_NOT_DECIDED = frozenset({Reason.LATE, Reason.IMPLAUSIBLE_TIME, Reason.RELEASED})
"""Reasons for which no way back is to lead further back: the record joined no chain, and its date may be anything; or
an operator let the offer go on purpose, perhaps after weeks."""

_TO_TYPE = 60_000
"""Milliseconds until a time that an error says is typed in: what is kept goes on with the clock."""


class SettledSince:
    """Asks the outcome topic.

    Args:
        reader: makes a consumer with `config.record_reader_config`.
        decode: reads an outcome, or raises `DecodeError`.
        max_skew: by how much (ms) a broker's clock may differ from that of `settled_at`, and from ours.
        kept: the settings of the outcome topic; None if the broker does not tell. Asked only where it matters.
        wall: our clock, in seconds.
    """

    def __init__(
        self,
        reader: Callable[[], Consumer],
        settings: KafkaSettings,
        decode: Callable[[bytes], OfferOutcome],
        max_skew: int,
        kept: Callable[[], TopicConfig | None] = lambda: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._reader = reader
        self._settings = settings
        self._decode = decode
        self._max_skew = max_skew
        self._kept = kept
        self._wall = wall

    def earliest_shown(self, moment: int) -> dict[int, int]:
        """Of the chains that were settled at `moment` (wall clock, ms) or later: when the earliest of them was
        presented last (ms), by the partition of the offer topic. One of which none was settled since is left out.

        No chain is due before it was presented last, by whatever settings.

        Raises:
            PositionsError: the outcomes since then are not all there, or one cannot be read.
            StartError: the broker does not give them.
        """
        topic = self._settings.outcome_topic
        consumer = self._reader()
        try:
            ranges = self._since(consumer, topic, moment)
            return self._earliest(consumer, ranges, moment) if ranges else {}
        except KafkaException as error:
            raise StartError(_unread(topic, error.args[0].str())) from error
        finally:
            consumer.close()

    def _since(self, consumer: Consumer, topic: str, moment: int) -> dict[tuple[str, int], tuple[int, int]]:
        """By partition, the first outcome that may be from then or later, and the end."""
        since = max(moment - self._max_skew, 0)
        told = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic]
        if told.error is not None:  # no topic, or none that we may read: not one without outcomes
            raise KafkaException(told.error)
        partitions = told.partitions
        ranges = {}
        for place in consumer.offsets_for_times([TopicPartition(topic, p, since) for p in partitions], timeout=TIMEOUT):
            if place.error is not None:
                raise KafkaException(place.error)
            low, end = bounds(consumer, TopicPartition(topic, place.partition))
            begin = place.offset if 0 <= place.offset <= end else end
            if begin <= low and low > 0:
                self._need_proof(f"{topic}[{place.partition}]", since, some_left=low < end)
            if begin < end:
                ranges[topic, place.partition] = begin, end
        return ranges

    def _need_proof(self, place: str, since: int, *, some_left: bool) -> None:
        """Of this partition some outcomes are gone: see that all of them were older than `since` (ms)."""
        kept = self._kept()
        gone = f"{place}: of the outcomes since that time some may be gone, so what was settled by then is not known."
        if kept is None:
            raise PositionsError(
                f"{gone} The broker does not tell how long it keeps them. Nothing was changed. Allow DescribeConfigs "
                "on the topic, or choose a later time."
            )
        if kept.most_bytes is not None and some_left:
            raise PositionsError(f"{gone} retention.bytes deletes them. Nothing was changed. Choose a later time.")
        if kept.retention is None:
            return
        # The broker that deleted them may have been ahead of us.
        deleted_to = int(self._wall() * 1000) - int(kept.retention.total_seconds() * 1000) + self._max_skew
        if since <= deleted_to:
            raise PositionsError(
                f"{gone} They are kept for {kept.retention} (retention.ms). Nothing was changed. Choose a time after "
                f"{readable(deleted_to + self._max_skew + _TO_TYPE)}."
            )

    def _earliest(
        self, consumer: Consumer, ranges: dict[tuple[str, int], tuple[int, int]], moment: int
    ) -> dict[int, int]:
        earliest: dict[int, int] = {}
        for outcome in self._outcomes(consumer, ranges):
            if outcome.source.topic != self._settings.offer_topic or outcome.mode is not Mode.LIVE:
                continue
            if outcome.settled_at >= moment and outcome.reason not in _NOT_DECIDED:
                partition, at = outcome.source.partition, outcome.presented_at
                earliest[partition] = min(at, earliest.get(partition, at))
        return earliest

    def _outcomes(self, consumer: Consumer, ranges: dict[tuple[str, int], tuple[int, int]]) -> Iterator[OfferOutcome]:
        try:
            for message in read_all(consumer, ranges):
                if (value := message.value()) is not None:
                    yield self._decoded(message, value)
        except NotAllReadError as error:
            raise StartError(_unread(self._settings.outcome_topic, str(error))) from error

    def _decoded(self, message: Message, value: bytes) -> OfferOutcome:
        try:
            return self._decode(value)
        except DecodeError as error:
            raise PositionsError(
                f"{message.topic()}[{message.partition()}] offset {message.offset()} is no outcome: {error}. What was "
                "settled by that time is not known. Nothing was changed. Choose a time after that record."
            ) from error


def _unread(topic: str, why: str) -> str:
    return (
        f"{topic}: what was settled since that time could not be read: {why}. Nothing was changed. Check the broker "
        "and the right to read the topic, then do this again."
    )
