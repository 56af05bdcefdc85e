"""From the bounds that a person gave to a range, and whether the log still has what it takes to decide it.

What is read, for a range [from, to) of times: offers from `from` - lookback, since a chain may begin that long before
its last presentation; checkouts from another lookback before that, since so long before its begin a purchase counts;
both up to `to` + window + checkout_grace + lateness, or until that is decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from types import MappingProxyType

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from ..codecs.codec import Codec, presentations
from ..core.horizon import Horizon
from ..core.rules import MIN_TIME, DecisionRules
from ..core.watermark import Side
from ..errors import DecodeError, RangeError, SchemaWaitError, StartError
from ..events import OfferPresented
from ..kafka.end_offsets import TIMEOUT, bounds
from ..kafka.reader import NotAllReadError, read_all
from .scope import BackfillScope, EventTimeRange, OffsetRange, Offsets, Range, moment

SCHEMA_WAIT = 60.0
"""Seconds for which the schema of a record is waited for."""

_LOOK = 0.1
"""Seconds between two looks whether it has come: it is asked for on another thread."""

FIRST = 1_000
"""Offsets of a log's beginning that are looked at for its first record: where offsets have gaps, they may hold none."""

_NOTHING_LOST: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Missing:
    """A stretch of a log that a range needs, and that is gone: the times (ms) of its records."""

    topic: str
    partition: int
    since: int
    until: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}] from {moment(self.since)} to {moment(self.until)}"


def range_of(begin: datetime | Offsets, end: datetime | Offsets, now: int, log: Log) -> Range:
    """The range of these bounds. `now` is the wall clock (ms).

    Raises:
        RangeError: they are no range, or one that is not over yet.
    """
    if isinstance(begin, datetime) and isinstance(end, datetime):
        since, until = (round(bound.timestamp() * 1000) for bound in (begin, end))
        if since >= until:
            raise RangeError(f"--from {moment(since)} is not before --to {moment(until)}: there is no such range")
        if until > now:
            raise RangeError(
                f"--to {moment(until)} is in the future: it is {moment(now)} now, and what is presented from now on is "
                "the deployment's. Give a time that has passed."
            )
        return EventTimeRange(since, until)
    if isinstance(begin, datetime) or isinstance(end, datetime):
        raise RangeError("--from and --to must both be times, or both be offsets such as 0:1200,1:980")
    return log.offset_range(begin, end)


class Log:
    """What is there of the two topics.

    Args:
        consumer: as `LogReader` takes it. Whoever made it closes it.
        topics: of the offers and of the checkouts.
        partitions: how many each of them has.
        rules: as set now.
        codec: reads the offers of a range of offsets, for their times.
        monotonic: a clock in seconds.
        sleep: lets some seconds pass.
    """

    def __init__(
        self,
        consumer: Consumer,
        topics: tuple[str, str],
        partitions: int,
        rules: DecisionRules,
        codec: Codec,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._consumer = consumer
        self._topics = topics
        self._partitions = partitions
        self._rules = rules
        self._codec = codec
        self._monotonic, self._sleep = monotonic, sleep

    def offset_range(self, begins: Offsets, ends: Offsets) -> OffsetRange:
        """The range of these offsets of the offer topic, with the times that their records have.

        Raises:
            RangeError: they are no range of this topic.
        """
        topic, latest, earliest = self._topics[0], dict[int, int](), list[int]()
        if begins.keys() != ends.keys():
            raise RangeError("--from and --to must name the same partitions: an offset for each, such as 0:1200,1:980")
        for partition, begin in begins.items():
            if partition >= self._partitions:
                raise RangeError(
                    f"{topic} has partitions 0 to {self._partitions - 1}, and none with number {partition}"
                )
            low, high = self._asked(topic, partition)
            end = ends[partition]
            if not low <= begin <= end <= high:
                raise RangeError(
                    f"{topic}[{partition}] holds offsets {low} to {high}, and {begin} to {end} is no range of them. "
                    "`--from` names the first offset, `--to` the one behind the last."
                )
            times = [time for message in self._read(topic, partition, begin, end) for time in self._times(message)]
            if times:
                earliest.append(min(times))
                latest[partition] = max(times) + 1
        if not latest:
            raise RangeError(f"between these offsets {topic} holds no offer: there is nothing to settle")
        return OffsetRange(begins, ends, min(earliest), latest)

    def reads_from(self, scope: BackfillScope) -> int:
        """The time (ms) from which offers are read, by the stamps of their records; checkouts from before it."""
        return scope.begin - self._rules.max_skew

    def missing(self, scope: BackfillScope, lost: Mapping[int, int] = _NOTHING_LOST) -> list[Missing]:
        """What the range needs of the logs and is gone from them. `lost`: by partition the time (ms) below which
        checkouts are gone, wherever their log begins; see `deployment.lost_checkouts`."""
        offers_from = self.reads_from(scope)
        needed = offers_from, offers_from - self._rules.lookback - self._rules.lateness - self._rules.max_skew
        until = scope.range.shown_between()[1]
        found = []
        for side in Side:
            topic = self._topics[side]
            for partition in range(self._partitions):
                if not scope.range.has_part(partition):
                    continue
                first = self._first(side, partition, until)
                if side is Side.CHECKOUTS:
                    first = max(first, lost.get(partition, MIN_TIME))
                if first > needed[side]:
                    found.append(Missing(topic, partition, needed[side], min(first, until)))
        return found

    def _first(self, side: Side, partition: int, until: int) -> int:
        """The time (ms) from which a log has all; `MIN_TIME`: it still has its first offset. `until`: it has none."""
        low, high = self._asked(self._topics[side], partition)
        if low == 0:
            return MIN_TIME
        # How old the beginning of the checkouts is, so many of them tell: by fewer, nobody believes it.
        count = Horizon.HEAD if side is Side.CHECKOUTS else 1
        stamps = list(islice(self._stamps(self._topics[side], partition, low, min(high, low + FIRST)), count))
        return max(stamps) if len(stamps) == count else until

    def ends_for(self, scope: BackfillScope) -> dict[tuple[str, int], int]:
        """About where each partition is read to: for the progress only."""
        times = {partition: scope.done_at(partition) + self._rules.lateness for partition in range(self._partitions)}
        places = [
            TopicPartition(topic, partition, max(0, at)) for topic in self._topics for partition, at in times.items()
        ]
        try:
            found = self._consumer.offsets_for_times(places, timeout=TIMEOUT)
        except KafkaException as error:
            raise _silent(" and ".join(self._topics), error) from error
        return {
            (place.topic, place.partition): place.offset
            if place.offset >= 0
            else self._asked(place.topic, place.partition)[1]
            for place in found
        }

    def _asked(self, topic: str, partition: int) -> tuple[int, int]:
        try:
            return bounds(self._consumer, TopicPartition(topic, partition))
        except KafkaException as error:
            raise _silent(f"{topic}[{partition}]", error) from error

    def _times(self, message: Message) -> Iterator[int]:
        """When the offers of a record were presented (ms), as far as that is believed: no other one joins."""
        stamp, value, rules = message.timestamp()[1], message.value(), self._rules
        if value is None:
            return
        try:
            shown = self._decoded(message, value)
        except DecodeError:
            return
        for one in shown:
            if stamp < 0 or stamp - rules.lookback <= one.presented_at <= stamp + rules.max_skew:
                yield one.presented_at

    def _decoded(self, message: Message, value: bytes) -> Sequence[OfferPresented]:
        """The offers of a record. Its schema is waited for: left out, it would be out of the range, and never called.

        Raises:
            DecodeError: it cannot be read.
            StartError: its schema is still not known.
        """
        offset = message.offset() or 0
        deadline = self._monotonic() + SCHEMA_WAIT
        while True:
            try:
                return presentations(self._codec.decode_offer(message.key(), value, offset, message.headers))
            except SchemaWaitError as error:
                if self._monotonic() >= deadline:
                    raise StartError(
                        f"{message.topic()}[{message.partition()}]@{offset} is of the range, and when it was presented "
                        f"cannot be told: {error}. See that the registry answers and knows it, then start again; "
                        "nothing was called."
                    ) from error
                self._sleep(_LOOK)

    def _stamps(self, topic: str, partition: int, begin: int, end: int) -> Iterator[int]:
        """The stamps (ms) of the records of a range of offsets, as far as they have any."""
        for message in self._read(topic, partition, begin, end):
            stamp = message.timestamp()[1]
            if stamp >= 0:
                yield stamp

    def _read(self, topic: str, partition: int, begin: int, end: int) -> Iterator[Message]:
        try:
            yield from read_all(self._consumer, {(topic, partition): (begin, end)})
        except NotAllReadError as error:
            raise StartError(
                f"{topic}[{partition}] could not be read from {begin} to {end}: {error}. Check the broker, then start "
                "again; nothing was called."
            ) from error


def _silent(what: str, error: KafkaException) -> StartError:
    return StartError(
        f"{what}: the broker does not say what it holds: {error.args[0].str()}. Check the broker, then start again; "
        "nothing was called."
    )
