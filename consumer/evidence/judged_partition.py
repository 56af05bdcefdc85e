"""Reads one partition of both inputs and of the outcomes for an audit, by the formats of the settings.

The outcomes tell which presentations they are of, by offset. These are read in any case, however late they came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from ..audit.calls import ReferenceRules
from ..audit.moments import iso
from ..audit.partition_log import EVER, PartitionLog
from ..audit.reading import OutcomeRecord, decode_outcome
from ..codecs.codec import Codec, presentations
from ..errors import DecodeError, SchemaWaitError, StartError
from ..events import Reason
from ..kafka.end_offsets import TIMEOUT
from ..kafka.reader import Span
from ..settings import JoinSettings
from .open_chains import rules_of
from .outcome_parts import TimeRange
from .spans import records_of, spans_since

HEAD = 20
"""Records that tell how old the beginning of a log is. Retention goes by time, but a record may come late."""


def audit_rules(join: JoinSettings) -> ReferenceRules:
    """All that an audit goes by, as the settings have it."""
    lateness, max_skew = (round(span.total_seconds() * 1000) for span in (join.lateness, join.max_skew))
    return rules_of(join)._replace(lateness=lateness, max_skew=max_skew)


class Needed(NamedTuple):
    """From when to when (ms) the events and their records have to be read for the chains of a range.

    A chain is known once what may have come before it is: it lasts for lookback at the most, and the one before may
    reach as far as window and checkout_grace. A purchase counts from lookback before the chain's begin on.
    """

    offers: TimeRange
    checkouts: TimeRange
    outcomes_from: int

    @classmethod
    def of(cls, wanted: TimeRange, rules: ReferenceRules) -> Needed:
        """For the chains that were presented last in this range."""
        lasts = rules.window + rules.checkout_grace
        offers = TimeRange(wanted.begin - rules.lookback - lasts, wanted.end + rules.lookback + lasts)
        checkouts = TimeRange(offers.begin - rules.lookback, wanted.end + lasts + rules.lookback)
        return cls(offers, checkouts, wanted.begin - rules.max_skew)


@dataclass(slots=True)
class PartitionSpans:
    """What is to be read of a partition; the outcomes' ends were asked for before the inputs'."""

    offers: Span
    checkouts: Span
    outcomes: Span
    ends: tuple[int, int]
    """Where the inputs really end: reading stops before, by time, unless an outcome asks for more."""


@dataclass(slots=True)
class PartitionFound:
    """What was read.

    Attributes:
        log: to be judged.
        records: how many.
        missing: in words, which times retention has deleted.
        offers_gone_to: until when (ms) presentations may be gone.
        waits: records whose schema is not known.
        unread_outcomes: offsets in the outcome topic of what is no outcome.
        foreign: outcomes of other offer topics.
    """

    log: PartitionLog
    records: int = 0
    missing: list[str] = field(default_factory=list)
    offers_gone_to: int = -EVER
    waits: list[str] = field(default_factory=list)
    unread_outcomes: list[int] = field(default_factory=list)
    foreign: int = 0


def spans_of(
    consumer: Consumer, topics: tuple[str, str, str], needed: Needed, rules: ReferenceRules
) -> list[PartitionSpans]:
    """What to read of each partition. To be called once it is known what the group has committed.

    A record is stamped max_skew before its event at the earliest, and lookback after it at the latest, or its date is
    not believed.

    Raises:
        StartError: the brokers do not tell, there is no such topic, or the topics do not fit together.
    """
    offer_topic, checkout_topic, outcome_topic = topics
    outcomes = {span.partition: span for span in spans_since(consumer, outcome_topic, needed.outcomes_from)}
    slack = rules.lookback + rules.lateness + rules.max_skew
    found = []
    inputs = [
        (spans_since(consumer, topic, span.begin - rules.max_skew), _offsets_at(consumer, topic, span.end + slack))
        for topic, span in ((offer_topic, needed.offers), (checkout_topic, needed.checkouts))
    ]
    (offers, offer_ends), (checkouts, checkout_ends) = inputs
    if len(offers) != len(checkouts) or len(outcomes) < len(offers):
        raise StartError(
            f"{offer_topic} has {len(offers)} partitions, {checkout_topic} {len(checkouts)}, {outcome_topic} "
            f"{len(outcomes)}: the inputs need as many as each other, the outcomes at least as many. See `opt-out "
            "topics --check`."
        )
    for shown, completed in zip(offers, checkouts, strict=True):
        partition = shown.partition
        found.append(
            PartitionSpans(
                _until(shown, offer_ends[partition]),
                _until(completed, checkout_ends[partition]),
                outcomes[partition],
                (shown.end, completed.end),
            )
        )
    return found


def _offsets_at(consumer: Consumer, topic: str, moment: int) -> dict[int, int]:
    """The first offset of each partition that is stamped then (ms) or later; below 0: there is none."""
    try:
        partitions = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions
        asked = [TopicPartition(topic, partition, max(0, moment)) for partition in partitions]
        return {place.partition: place.offset for place in consumer.offsets_for_times(asked, timeout=TIMEOUT)}
    except KafkaException as error:
        raise StartError(
            f"{topic}: the brokers do not tell where a time stands: {error.args[0].str()}. Check them, then do this "
            "again."
        ) from error


def _until(span: Span, offset: int) -> Span:
    return span if offset < 0 else span._replace(end=max(span.begin, min(span.end, offset)))


class PartitionReader:
    """Reads partition by partition.

    Args:
        consumer: see `Clients.log_reader`. It joins no group.
        codec: reads the inputs as the service does.
        now: a wall clock (ms).
        offer_topic: outcomes of presentations in other topics are passed over.
        read: told how many records were read more, for a line of progress.
    """

    def __init__(
        self,
        consumer: Consumer,
        codec: Codec,
        rules: ReferenceRules,
        now: int,
        offer_topic: str,
        read: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._consumer, self._codec, self._rules, self._now = consumer, codec, rules, now
        self._offer_topic = offer_topic
        self._read = read

    def read(self, spans: PartitionSpans, needed: Needed, wanted: TimeRange) -> PartitionFound:
        """All of one partition that the chains of the range need.

        Raises:
            StartError: it could not be read.
        """
        log = PartitionLog(self._rules, self._now)
        found = PartitionFound(log)
        log.kept = needed.offers.begin, needed.offers.end
        log.presentations_from, log.first_offset = needed.offers.begin, spans.offers.low
        sources, named = self._read_outcomes(spans.outcomes, needed, wanted, found)
        offers = spans.offers
        if sources:
            begin = max(offers.low, min(offers.begin, *sources))
            offers = offers._replace(begin=begin, end=min(spans.ends[0], max(offers.end, *sources)))
        self._read_offers(offers, found)
        self._read_checkouts(spans.checkouts, found)
        known = {checkout.checkout_id for session in log.sessions.values() for checkout in session.checkouts}
        if named - known and spans.checkouts.end < spans.ends[1]:
            rest = spans.checkouts._replace(begin=spans.checkouts.end, end=spans.ends[1], is_cut=False)
            self._read_checkouts(rest, found)
        return found

    def _read_outcomes(
        self, span: Span, needed: Needed, wanted: TimeRange, found: PartitionFound
    ) -> tuple[list[int], set[str]]:
        """Returns the offsets of the presentations that they are of, and of the ones behind, and the checkouts that
        they name."""
        sources: list[int] = []
        named: set[str] = set()
        for message in self._records(span, found, "outcomes"):
            value = message.value()
            if value is None:
                continue
            try:
                outcome = decode_outcome(value, span.partition, message.offset() or 0)
            except Exception:  # whatever bytes make the reader raise, they are no outcome
                found.unread_outcomes.append(message.offset() or 0)
                continue
            if outcome.source[0] != self._offer_topic:
                found.foreign += 1
                continue
            if self._is_of(outcome, needed):
                found.log.settle(outcome)
                if wanted.begin <= outcome.presented_at < wanted.end:
                    sources += outcome.source[2], outcome.source[2] + 1
                    if outcome.checkout_id is not None:
                        named.add(outcome.checkout_id)
        if span.is_cut and found.log.outcomes_from == -EVER:
            found.log.outcomes_from = self._now
        return sources, named

    @staticmethod
    def _is_of(outcome: OutcomeRecord, needed: Needed) -> bool:
        """One whose date is not believed may be of any time: its record tells."""
        begin, end = needed.offers
        return begin <= outcome.presented_at < end or outcome.reason == Reason.IMPLAUSIBLE_TIME

    def _read_offers(self, span: Span, found: PartitionFound) -> None:
        log = found.log
        for message in self._records(span, found, "offers"):
            offset, value, stamp = message.offset() or 0, message.value(), message.timestamp()[1]
            if value is None:
                continue
            try:
                shown = self._codec.decode_offer(message.key(), value, offset, message.headers)
            except DecodeError as error:
                log.cannot_present(offset, stamp, error.reason)
                continue
            except SchemaWaitError as error:
                found.waits.append(f"{span.topic}[{span.partition}]@{offset}: {error}")
                continue
            log.present(presentations(shown), stamp)

    def _read_checkouts(self, span: Span, found: PartitionFound) -> None:
        log = found.log
        for message in self._records(span, found, "checkouts"):
            offset, value, stamp = message.offset() or 0, message.value(), message.timestamp()[1]
            if value is None:
                continue
            try:
                done = self._codec.decode_checkout(message.key(), value, offset, message.headers)
            except DecodeError as error:
                log.cannot_complete(sessions_of_key(message.key(), error), stamp)
                continue
            except SchemaWaitError as error:
                found.waits.append(f"{span.topic}[{span.partition}]@{offset}: {error}")
                continue
            if done is not None:
                log.complete(done, stamp)

    def _records(self, span: Span, found: PartitionFound, what: str) -> Iterator[Message]:
        """The records of a span; of one that is cut, note first from when on they are all there."""
        head: deque[Message] = deque()
        records = records_of(self._consumer, span)
        count = 0
        if span.is_cut:
            for message in records:
                head.append(message)
                if len(head) >= HEAD:
                    break
            self._note_cut(span, found, what, max((m.timestamp()[1] for m in head), default=self._now))
        while head:
            count += 1
            yield head.popleft()
        for message in records:
            count += 1
            yield message
        found.records += count
        self._read(count)

    def _note_cut(self, span: Span, found: PartitionFound, what: str, newest: int) -> None:
        log, lateness = found.log, self._rules.lateness
        if what == "offers":
            found.offers_gone_to = log.presentations_from = max(log.presentations_from, newest + lateness)
        elif what == "checkouts":
            log.checkouts_from = newest + lateness
        else:
            log.outcomes_from = newest
        found.missing.append(
            f"{span.topic}[{span.partition}]: retention has deleted what stood before offset {span.begin}; {what} from "
            f"before {iso(newest if what == 'outcomes' else newest + lateness)} may be gone."
        )


def sessions_of_key(key: str | bytes | None, error: DecodeError) -> set[str]:
    """The sessions that an unreadable checkout may belong to: by its key, and by its value where that can be read."""
    try:
        session_id = key.decode() if isinstance(key, bytes) else key
    except UnicodeDecodeError:
        session_id = None
    return {session for session in (session_id, error.session_id) if session}
