"""What the outcome topic tells of the chains of a range: what is settled already is not called again.

And what the dead-letter topic has of the records of that time. Both are read once, before anything is decided. What the
deployment settles after that is not known here, and called once more: a range ends before the present.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Message

from ..dead_letters.records import RecordSet
from ..errors import DecodeError, StartError
from ..events import Mode, OfferOutcome, OfferPresented, Outcome, Reason
from ..kafka.end_offsets import TIMEOUT
from ..kafka.letter import entry_of
from ..kafka.reader import NotAllReadError, Span, read_all, spans
from ..kafka.record import Record
from ..runtime.outcomes import CUT_OFF, NOT_ADMITTED
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


class GivenUp(NamedTuple):
    """Presentations of one offer and one time that joined no chain: an outcome of theirs is of one record each.

    Attributes:
        fate: of the last of them.
        offsets: of their records.
    """

    fate: KnownFate
    offsets: tuple[int, ...]


@dataclass(slots=True)
class Told:
    """The fates of the chains of a range, by the chain; and which records are dead letters, or were put back as such.

    A chain takes some hundred bytes: a hash of 16 bytes stands for its names and its time.

    Attributes:
        fates: of chains. What was given up is not among them: another record may hold the same offer with the same
            date, and join.
        before: the same of what was presented before the range: to this run it may be the begin of a chain in it.
        given_up: presentations that joined no chain, by the key that a chain has which ends with them.
        cut_off: those that a backfill has given up since a part of the log is gone, and nobody has called since.
        open: chains that a rehearsal has left open: they have no fate.
        unknown: outcomes that may be of the range, and are gone or cannot be read, in words.
    """

    fates: dict[int, KnownFate] = field(default_factory=dict)
    dead: RecordSet = field(default_factory=RecordSet)
    cut_off: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    given_up: dict[int, GivenUp] = field(default_factory=dict)
    before: Told | None = None

    def of_chain(self, presentations: Sequence[OfferPresented]) -> KnownFate | None:
        """The fate of the chain of these presentations, which are in the order of their time.

        To another run some of them may have been a chain of their own, and others late. One that was given up tells
        only of itself: the fate is that of what was presented before. But what was bought in part is bought.
        """
        sources = [self] if self.before is None else [self, self.before]
        fates = [next((s.fates[key] for s in sources if key in s.fates), None) for key in map(key_of, presentations)]
        if bought := next((fate for fate in fates if fate is not None and fate.outcome is Outcome.PURCHASED), None):
            return bought
        for one, fate in zip(reversed(presentations), reversed(fates), strict=True):
            if fate is not None or all(source.of(one) is None for source in sources):
                return fate
        return self.of(presentations[-1])

    def of(self, last: OfferPresented | OfferOutcome, *, may_join: bool = True) -> KnownFate | None:
        """The fate of the chain whose last presentation this is, or tells of; or of this record, if it was given up.

        `may_join`: see `RunMode.gives_up`.
        """
        key = key_of(last)
        if may_join and (fate := self.fates.get(key)) is not None:
            return fate
        offset = last.record_offset if isinstance(last, OfferPresented) else last.source.offset
        given_up = self.given_up.get(key)
        return None if given_up is None or offset not in given_up.offsets else given_up.fate

    def has(self, key: int) -> bool:
        """Whether anything is known of an offer and a time, be it that it is open."""
        return key in self.fates or key in self.given_up or key in self.open

    def is_anew(self, presentations: Iterable[OfferPresented]) -> None:
        """These are settled once more: that they were given up before is over."""
        self.cut_off.difference_update(map(key_of, presentations))

    def add(self, outcome: OfferOutcome) -> None:
        """One more outcome. Of several of one chain one that tells of a purchase counts, else the first that tells of a
        call, else the last: so the report counts them too."""
        key = key_of(outcome)
        if is_given_up(outcome):
            self._add_given_up(key, outcome)
            return
        known = self.fates.get(key)
        stays = known is not None and (known.is_call or known.outcome is Outcome.PURCHASED)
        if not stays or outcome.outcome is Outcome.PURCHASED:
            self.fates[key] = KnownFate(outcome.outcome, outcome.reason)
            self.cut_off.discard(key)

    def _add_given_up(self, key: int, outcome: OfferOutcome) -> None:
        before, offset = self.given_up.get(key), outcome.source.offset
        offsets = () if before is None else before.offsets
        is_repeated = offset in offsets
        fate = KnownFate(outcome.outcome, outcome.reason)
        self.given_up[key] = GivenUp(fate, offsets if is_repeated else (*offsets, offset))
        if key in self.fates:
            return
        if outcome.mode is Mode.BACKFILL and is_cut_off(outcome):
            self.cut_off.add(key)
        elif is_repeated:
            self.cut_off.discard(key)


_JOINED_NO_CHAIN = frozenset(reason for reason, _ in NOT_ADMITTED.values())


def is_given_up(outcome: OfferOutcome) -> bool:
    """Whether it is the outcome of a single record that joined no chain, and tells nothing of any chain."""
    return outcome.reason in _JOINED_NO_CHAIN


def is_cut_off(outcome: OfferOutcome) -> bool:
    """Whether an offer was given up since checkouts are gone from the log; and not since it came late by itself."""
    return outcome.reason is Reason.LATE and outcome.note == CUT_OFF


def chain_key(session_id: str, partner_code: str, offer_id: str, presented_at: int) -> int:
    """Names a chain: by 128 bits, so that two of ten million are the same by chance once in 10^24 times."""
    text = "\0".join((session_id, partner_code, offer_id, str(presented_at)))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big")


def key_of(chain: OfferOutcome | OfferPresented) -> int:
    """Of the chain whose last presentation this is, or whose outcome."""
    return chain_key(chain.session_id, chain.partner_code, chain.offer_id, chain.presented_at)


class ToldReader:
    """Reads both output topics, from a time on to their present ends.

    Args:
        consumer: as `LogReader` takes it; joins no group. Whoever made it closes it.
        decode: reads an outcome, or raises DecodeError: of another program.
    """

    def __init__(self, consumer: Consumer, decode: Callable[[bytes], OfferOutcome]) -> None:
        self._consumer = consumer
        self._decode = decode

    def read(self, kafka: KafkaSettings, range: Range, lookback: int = 0) -> Told:
        """What they tell of the offers of a range, and of those from up to `lookback` (ms) before it.

        Raises:
            StartError: a topic could not be read to its end.
        """
        before = Told()
        told, topic = Told(before=before), kafka.outcome_topic
        since, until = range.shown_between()
        there = self._spans(topic, since - lookback)
        cut = {span.partition for span in there if span.is_cut and range.has_part(span.partition)}
        # What became of an offer is told after it was presented; its own clock may be ahead by some minutes.
        for message in self._records(topic, there):
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
            if outcome.source.topic != kafka.offer_topic or not since - lookback <= outcome.presented_at < until:
                continue
            (told if outcome.presented_at >= since else before).add(outcome)
        told.unknown += [f"{topic}[{partition}], of which nothing is left" for partition in sorted(cut)]
        for message in self._records(kafka.dead_letter_topic, self._spans(kafka.dead_letter_topic, since)):
            told.dead.add(entry_of(Record.of(message)))
        return told

    def _spans(self, topic: str, since: int) -> list[Span]:
        """What may be of that time or later."""
        try:
            told = self._consumer.list_topics(topic, timeout=TIMEOUT).topics[topic]
            if told.error is not None:
                raise KafkaException(told.error)
            return spans(self._consumer, topic, told.partitions, since - _AHEAD)
        except KafkaException as error:
            raise StartError(_unread(topic, error.args[0].str())) from error

    def _records(self, topic: str, there: Iterable[Span]) -> Iterator[Message]:
        try:
            yield from read_all(self._consumer, {(topic, span.partition): (span.begin, span.end) for span in there})
        except KafkaException as error:
            raise StartError(_unread(topic, error.args[0].str())) from error
        except NotAllReadError as error:
            raise StartError(_unread(topic, str(error))) from error


_AHEAD = 3_600_000
"""Records stamped up to an hour before an offer was presented are looked at too: whose clock stamps them is a setting
of the topic, and no clock of a deployment that calls is off by so much."""


def _unread(topic: str, why: str) -> str:
    return (
        f"{topic}: what is settled already could not be read to its end: {why}. Check the broker and the right to read "
        "the topic, then start again; nothing was called."
    )
