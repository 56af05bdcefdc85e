"""What the outcome topic tells of the chains of a range: what is settled already is not called again.

And what the dead-letter topic has of the records of that time. Both are read once, before anything is decided. What the
deployment settles after that is not known here, and called once more: a range ends before the present.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from ..errors import DecodeError, StartError
from ..events import Mode, OfferOutcome, OfferPresented, Outcome, Reason
from ..kafka.end_offsets import bounds
from ..kafka.reader import NotAllReadError, ranges_since, read_all
from ..settings import KafkaSettings
from .scope import Range, moment


class KnownFate(NamedTuple):
    """What became of a chain, or would."""

    outcome: Outcome
    reason: Reason

    @property
    def is_call(self) -> bool:
        """Whether the insurer was told, or would be."""
        return self.outcome in {Outcome.OPTED_OUT, Outcome.NOT_FOUND}


@dataclass(slots=True)
class Told:
    """The fates of the chains of a range, by the chain; and which records are dead letters.

    A chain takes some hundred bytes: a hash of 16 bytes stands for its names and its time.

    Attributes:
        late_by_backfill: how many were dead-lettered as late by a backfill, since a part of the log is gone.
        unknown: outcomes that may be of the range, and are gone or cannot be read, in words.
    """

    fates: dict[int, KnownFate] = field(default_factory=dict)
    dead: set[tuple[str, int, int]] = field(default_factory=set)
    late_by_backfill: int = 0
    unknown: list[str] = field(default_factory=list)

    def of(self, shown: OfferPresented) -> KnownFate | None:
        """The fate of the chain whose last presentation this is."""
        return self.fates.get(chain_key(shown.session_id, shown.partner_code, shown.offer_id, shown.presented_at))

    def add(self, outcome: OfferOutcome) -> None:
        """One more outcome. Of several of one chain the first that tells of a call counts, or the last."""
        key = chain_key(outcome.session_id, outcome.partner_code, outcome.offer_id, outcome.presented_at)
        known = self.fates.get(key)
        if known is None or not known.is_call:
            self.fates[key] = KnownFate(outcome.outcome, outcome.reason)
        if known is None and outcome.mode is Mode.BACKFILL and outcome.reason is Reason.LATE:
            self.late_by_backfill += 1


def chain_key(session_id: str, partner_code: str, offer_id: str, presented_at: int) -> int:
    """Names a chain: by 128 bits, so that two of ten million are the same by chance once in 10^24 times."""
    text = "\0".join((session_id, partner_code, offer_id, str(presented_at)))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big")


class ToldReader:
    """Reads both output topics, from a time on to their present ends.

    Args:
        consumer: as `LogReader` takes it; joins no group. Whoever made it closes it.
        decode: reads an outcome, or raises DecodeError: of another program.
    """

    def __init__(self, consumer: Consumer, decode: Callable[[bytes], OfferOutcome]) -> None:
        self._consumer = consumer
        self._decode = decode

    def read(self, kafka: KafkaSettings, range: Range) -> Told:
        """What they tell of the offers of a range.

        Raises:
            StartError: a topic could not be read to its end.
        """
        told, topic = Told(), kafka.outcome_topic
        since, until = range.shown_between()
        cut = {partition for partition in self._cut(topic, since) if range.has_part(partition)}
        # What became of an offer is told after it was presented; its own clock may be ahead by some minutes.
        for message in self._records(topic, since):
            partition, value = message.partition() or 0, message.value()
            if partition in cut:
                cut.discard(partition)
                if (first := message.timestamp()[1]) > since:
                    told.unknown.append(f"{topic}[{partition}] from {moment(since)} to {moment(min(first, until))}")
            if value is None:
                continue
            try:
                outcome = self._decode(value)
            except DecodeError as error:
                told.unknown.append(f"{topic}[{partition}]@{message.offset()}, which cannot be read: {error}")
                continue
            if outcome.source.topic == kafka.offer_topic and since <= outcome.presented_at < until:
                told.add(outcome)
        told.unknown += [f"{topic}[{partition}], of which nothing is left" for partition in sorted(cut)]
        for message in self._records(kafka.dead_letter_topic, since):
            if place := _source_of(message):
                told.dead.add(place)
        return told

    def _cut(self, topic: str, since: int) -> list[int]:
        """The partitions of which retention may have deleted records that are stamped since then."""
        try:
            ranges = ranges_since(self._consumer, topic, since - _AHEAD)
            lows = {place: bounds(self._consumer, TopicPartition(*place))[0] for place in ranges}
        except KafkaException as error:
            raise StartError(_unread(topic, error.args[0].str())) from error
        return [place[1] for place, (begin, _) in ranges.items() if lows[place] > 0 and begin <= lows[place]]

    def _records(self, topic: str, since: int) -> Iterator[Message]:
        try:
            yield from read_all(self._consumer, ranges_since(self._consumer, topic, since - _AHEAD))
        except KafkaException as error:
            raise StartError(_unread(topic, error.args[0].str())) from error
        except NotAllReadError as error:
            raise StartError(_unread(topic, str(error))) from error


_AHEAD = 3_600_000
"""Records stamped up to an hour before an offer was presented are looked at too: whose clock stamps them is a setting
of the topic, and no clock of a deployment that calls is off by so much."""


def _source_of(message: Message) -> tuple[str, int, int] | None:
    """Where a dead letter came from; None: it does not say so."""
    told = message.headers() or []
    headers = dict(told.items() if isinstance(told, dict) else told)
    try:
        topic, partition, offset = (_text(headers[f"source.{name}"]) for name in ("topic", "partition", "offset"))
        return topic, int(partition), int(offset)
    except (KeyError, ValueError):
        return None


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _unread(topic: str, why: str) -> str:
    return (
        f"{topic}: what is settled already could not be read to its end: {why}. Check the broker and the right to read "
        "the topic, then start again; nothing was called."
    )
