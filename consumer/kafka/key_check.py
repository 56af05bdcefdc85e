"""Samples the keys of both topics, before anything is decided and for as long as the service runs.

At the start, the first and the last records of what each partition is to be read from are looked at, by a consumer that
joins no group and commits nothing: the last tell of the producers of today, the first of those whose records are
decided next. Older records do not matter, and after producers were put right they must not hold up a new group.

From then on some records of each batch are looked at: a topic may be empty at the start, and producers change.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Consumer, KafkaException, Message

from ..errors import StartError, StopError
from ..settings import KafkaSettings
from .causes import Causes
from .config import SMALL_FETCHES
from .group import unread
from .partitioners import WINDOW, Agreement, Finding, SampledKeys
from .reader import LogReader

log = structlog.get_logger(__name__)

AT_START = 15.0
"""Seconds that reading may take at the start. What a partition does not give by then is seen while running."""

_ROUND = 0.02
"""Seconds that the client waits for more, at the start: it gives the last records only then, since fewer are left than
it is asked for."""

EACH_SECOND = 1_500
"""Records looked at in a second while running; what was not used is kept for a second. At 6 us each that is a
hundredth of the loop's time. Up to so many records a second it is all of them; when catching up, one in some dozens."""

REMINDER = 60.0
"""Seconds between two lines of the log about misplaced keys."""

_ADVICE = (
    "Offers would miss the checkouts that bought them, so no offer is called and nothing is committed. Either the "
    "producers differ, or the topics got more partitions while these records were in them. Give all producers of both "
    "topics one partitioner (Java's clients have murmur2 by default; librdkafka and what is built on it has crc32, and "
    "takes partitioner = murmur2_random). What is written already stays where it is: go on with a new kafka.group_id "
    "and with kafka.start_from at the time of that change, plus lookback and lateness."
)


class KeyCheck:
    """Refuses to go on when the topics' producers disagree. Used by the poll thread alone.

    Args:
        partitions: how many partitions each of the two topics has.
        monotonic: a clock in seconds.
        causes: is told of errors.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        partitions: int,
        monotonic: Callable[[], float] = time.monotonic,
        causes: Causes | None = None,
    ) -> None:
        self._causes = causes or Causes(settings)
        self._topics = settings.offer_topic, settings.checkout_topic
        self._group = settings.group_id
        self._count = partitions
        self._monotonic = monotonic
        self._keys = SampledKeys(self._topics, partitions)
        self._left = float(EACH_SECOND)
        self._filled_at = monotonic()
        self._told: Agreement | None = None
        self._misplaced = 0
        self._next_reminder = 0.0

    def at_start(self, consumer: Callable[..., Consumer]) -> None:
        """Look at what the group is going to read. To be called when it is settled where that begins.

        `consumer` makes a consumer, given a handler for its errors and settings that differ from the service's own.

        Raises:
            StartError: the producers disagree, or the broker does not answer.
        """
        if self._count == 1:
            return
        reader = consumer(self._causes.heard, **SMALL_FETCHES)
        try:
            self._sample(reader)
        except KafkaException as error:
            raise StartError(
                f"group {self._group}: the broker does not give the keys to be sampled: {error.args[0]}. Check the "
                "broker, then start again; nothing was decided."
            ) from error
        finally:
            reader.close()
        self._judge(StartError)

    def look(self, messages: Sequence[Message]) -> None:
        """Look at some of these records, before they are applied.

        Raises:
            StopError: the producers disagree.
        """
        if not messages or self._count == 1:
            return
        now = self._monotonic()
        self._left = min(EACH_SECOND, self._left + (now - self._filled_at) * EACH_SECOND)
        self._filled_at = now
        # Half of what is left: the batches that come at once after a start all get their part.
        sample = messages[:: math.ceil(len(messages) / max(1.0, self._left / 2))]
        self._left -= len(sample)
        if sum(self._add(message) for message in sample):
            self._judge(StopError)

    # --- inside

    def _add(self, message: Message) -> bool:
        key, partition, offset = message.key(), message.partition(), message.offset()
        # A record without a key belongs to no session, and is no evidence: it may be put anywhere.
        if message.error() is not None or not key or partition is None or offset is None:
            return False
        key = key.encode() if isinstance(key, str) else key
        self._keys.add(int(message.topic() == self._topics[1]), key, partition, offset)
        return True

    def _judge(self, refusal: type[StartError] | type[StopError]) -> None:
        finding = self._keys.find()
        if finding.verdict is Agreement.DISAGREE:
            raise refusal(
                f"{self._topics[0]} and {self._topics[1]} do not put a session in the same partition: {finding.words}. "
                f"{_ADVICE}"
            )
        self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        if finding.verdict is not self._told:
            self._told = finding.verdict
            if finding.verdict is Agreement.AGREE:
                log.info("the producers' partitioners agree", partitioner=finding.by, found=finding.words)
            elif finding.verdict is Agreement.TOO_FEW:
                log.info("too few keys yet to tell the producers' partitioners", found=finding.words)
            else:
                log.warning(
                    "the producers' partitioner is neither murmur2 nor crc32: it cannot be checked",
                    found=finding.words,
                )
        now = self._monotonic()
        if finding.by is not None and finding.misplaced > self._misplaced and now >= self._next_reminder:
            self._next_reminder = now + REMINDER
            log.warning(
                "some keys are in a wrong partition", keys=finding.misplaced, such_as=self._keys.example(finding.by)
            )
        self._misplaced = finding.misplaced

    def _sample(self, consumer: Consumer) -> None:
        """Look at the first and the last records of what is to be read, as far as they come in time."""
        deadline = self._monotonic() + AT_START
        reader = LogReader(consumer, self._on_read_error)
        spans = unread(consumer, self._topics, self._count)
        each = -(-WINDOW // (2 * self._count))
        first = {place: (begin, min(end, begin + each)) for place, (begin, end) in spans.items()}
        last = {place: (max(begin + each, end - each), end) for place, (begin, end) in spans.items()}
        for part, wanted in (("first", first), ("last", last)):
            ranges = {place: span for place, span in wanted.items() if span[0] < span[1]}
            if not ranges:
                continue
            messages = reader.read(ranges, lambda: self._monotonic() < deadline, round_s=_ROUND)
            found = Counter(message.topic() for message in messages if self._add(message))
            keys, without = found.total(), sorted({topic for topic, _ in ranges} - found.keys())
            log.info("keys were sampled", part=part, keys=keys, partitions=len(ranges))
            if reader.unread:
                places = [f"{topic}[{partition}]" for topic, partition in sorted(reader.unread)]
                log.warning("not all keys were sampled in time: the rest is seen while running", partitions=places)
            elif without:
                # Such as markers of transactions and what was aborted. It is no sign that all is well.
                log.warning(
                    "no keys were sampled: where they should be are no records with a key", part=part, topics=without
                )

    def _on_read_error(self, message: Message) -> None:
        if (error := message.error()) is not None:
            self._causes.heard(error, topic=message.topic(), partition=message.partition())
