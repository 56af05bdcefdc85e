"""`opt-out explain`: finds what the topics have of one offer, and reads no more than it must.

Where an offer is known by its session, the session's key tells the partition. Otherwise the outcomes tell the session,
or, where it has none, the offers' topic. Around the times that are known by then the inputs are read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from ..audit.explain import InputState, OfferLife, OfferName, Whereabouts, explain
from ..audit.moments import iso
from ..audit.partition_log import PartitionLog
from ..audit.reading import OutcomeRecord, Place, decode_outcome
from ..codecs.codec import Codec, presentations
from ..codecs.inputs import codec_of
from ..errors import DecodeError, SchemaWaitError, StartError
from ..events import OfferPresented, Reason
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.end_offsets import TIMEOUT
from ..kafka.partitioners import PARTITIONERS
from ..kafka.reader import Span
from ..output import Cell, Column, Document, TableShown
from ..settings import Settings
from .judged_partition import audit_rules, sessions_of_key
from .progress_of_group import GroupProgress
from .reconciling import place_text
from .spans import records_of, spans_since

COLUMNS = (
    Column("time", "time"),
    Column("partner_code", "partner"),
    Column("session_id", "session"),
    Column("what", "what"),
    Column("record", "record"),
    Column("words", "in words"),
)
"""Those of the time line."""

ELSEWHERE = -1
"""In place of a partition: the presentation stood in an offer topic that had another name, or more partitions."""


@dataclass(slots=True)
class Explained:
    """What was found. `read` says in sentences where it was looked for."""

    offer_id: str
    lives: list[OfferLife] = field(default_factory=list)
    read: list[str] = field(default_factory=list)


def explain_offer(
    settings: Settings, causes: Causes, offer_id: str, partner: str | None, session: str | None
) -> Explained:
    """Find the offer, and tell its life in each session.

    Raises:
        StartError: the topics cannot be read.
    """
    with (
        closing(codec_of(settings, at_once=True)) as codec,
        closing(Clients(settings.kafka, causes).log_reader()) as consumer,
    ):
        return _Search(settings, consumer, codec, offer_id, partner).explained(session)


def document(found: Explained) -> Document:
    """As it is shown."""
    rows: list[list[object]] = []
    notes: list[str] = []
    for life in found.lives:
        session, partner, offer_id = life.offer
        rows += [
            [iso(e.at), partner, session, e.what, "" if e.place is None else _cell(e.place), e.words]
            for e in life.entries
        ]
        notes += [f"Offer {offer_id} of partner {partner} in session {session}:", *(f"- {s}" for s in life.sentences)]
    lives = [
        {"offer_id": life.offer.offer_id, "partner_code": life.offer.partner_code, "session_id": life.offer.session_id}
        | {"sentences": life.sentences}
        for life in found.lives
    ]
    timeline = TableShown(f"Offer {found.offer_id}", COLUMNS, rows)
    return Document({"timeline": timeline}, {"lives": lives}, [*notes, *found.read])


def _cell(place: Place) -> Cell:
    topic, partition, offset = place
    return Cell(place_text(place), {"topic": topic, "partition": partition, "offset": offset})


class _Search:
    def __init__(
        self, settings: Settings, consumer: Consumer, codec: Codec, offer_id: str, partner: str | None
    ) -> None:
        self._settings, self._consumer, self._codec = settings, consumer, codec
        self._kafka, self._rules = settings.kafka, audit_rules(settings.join)
        self._topics = self._kafka.offer_topic, self._kafka.checkout_topic, self._kafka.outcome_topic
        self._offer_id, self._partner = offer_id, partner
        self._now = time.time_ns() // 1_000_000
        self._result = Explained(offer_id)
        # What is committed is asked for first: see `reconciling`.
        offers = self._whole(self._kafka.offer_topic)
        self._progress = GroupProgress(consumer, settings, len(offers), self._rules)
        self._outcomes = self._whole(self._kafka.outcome_topic)
        self._offers, self._checkouts = self._whole(self._kafka.offer_topic), self._whole(self._kafka.checkout_topic)

    def explained(self, session: str | None) -> Explained:
        """All that is to be told."""
        if session is None:
            self._by_offer()
        else:
            self._by_session(session)
        return self._result

    # --- finding

    def _by_offer(self) -> None:
        outcomes = list(self._outcomes_of(self._outcomes, None))
        lives: dict[tuple[str, str], int] = {}
        for outcome in outcomes:
            name = outcome.session_id, outcome.partner_code
            lives[name] = max(lives.get(name, ELSEWHERE), self._partition_of(outcome))
        times: dict[tuple[str, str], list[int]] = {}
        for outcome in outcomes:
            times.setdefault((outcome.session_id, outcome.partner_code), []).append(_time_of(outcome))
        if not lives:
            for partition, event, at in self._shown(self._offers, None):
                lives[event.session_id, event.partner_code] = partition
                times.setdefault((event.session_id, event.partner_code), []).append(at)
        for (session_id, partner), partition in lives.items():
            self._tell(session_id, [partner], partition, outcomes, times[session_id, partner])

    def _by_session(self, session_id: str) -> None:
        count = len(self._offers)
        by_key = sorted({by(session_id.encode(), count) for by in PARTITIONERS.values()})
        for partitions in (by_key, [number for number in range(count) if number not in by_key]):
            spans = [span for span in self._outcomes if span.partition in partitions]
            outcomes = list(self._outcomes_of(spans, session_id))
            shown = list(self._shown([self._offers[number] for number in partitions], session_id))
            found = [(self._partition_of(o), o.partner_code, _time_of(o)) for o in outcomes]
            found += [(partition, event.partner_code, at) for partition, event, at in shown]
            numbers = {partition for partition, _, _ in found}
            for partition in sorted(numbers - {ELSEWHERE} or numbers):
                here = [one for one in found if one[0] == partition]
                partners = sorted({partner for _, partner, _ in here})
                self._tell(session_id, partners, partition, outcomes, [at for _, _, at in here])
            if found:
                return

    def _partition_of(self, outcome: OutcomeRecord) -> int:
        """That of the offers which it is of."""
        topic, partition, _ = outcome.source
        return partition if topic == self._kafka.offer_topic and partition < len(self._offers) else ELSEWHERE

    def _outcomes_of(self, spans: Sequence[Span], session_id: str | None) -> Iterator[OutcomeRecord]:
        offer_id, records = self._offer_id.encode(), 0
        for span in spans:
            for message in records_of(self._consumer, span):
                records += 1
                value = message.value()
                # Its text stands in the record as it is: the others need not be decoded.
                if value is None or offer_id not in value:
                    continue
                try:
                    outcome = decode_outcome(value, span.partition, message.offset() or 0)
                except Exception:  # noqa: S112 - whatever bytes make the reader raise, they are no outcome
                    continue
                if self._is_wanted(outcome.session_id, outcome.partner_code, outcome.offer_id, session_id):
                    yield outcome
        self._note(spans, records)

    def _shown(self, spans: Sequence[Span], session_id: str | None) -> Iterator[tuple[int, OfferPresented, int]]:
        """Each with its partition and the time (ms) around which to read: its own, or its record's, if that is not
        near."""
        records, key = 0, None if session_id is None else session_id.encode()
        for span in spans:
            for message in records_of(self._consumer, span):
                records += 1
                value = message.value()
                if value is None or (key is not None and _bytes(message.key()) != key):
                    continue
                try:
                    shown = self._codec.decode_offer(message.key(), value, message.offset() or 0, message.headers)
                except (DecodeError, SchemaWaitError):
                    continue
                for event in presentations(shown):
                    if self._is_wanted(event.session_id, event.partner_code, event.offer_id, session_id):
                        stamp, at = message.timestamp()[1], event.presented_at
                        is_near = stamp < 0 or abs(stamp - at) <= self._rules.lookback
                        yield span.partition, event, at if is_near else stamp
        self._note(spans, records)

    def _is_wanted(self, session: str, partner: str, offer_id: str, session_id: str | None) -> bool:
        return offer_id == self._offer_id and self._partner in (None, partner) and session_id in (None, session)

    # --- telling

    def _tell(
        self, session_id: str, partners: Iterable[str], partition: int, outcomes: list[OutcomeRecord], times: list[int]
    ) -> None:
        """Read the session around these times (ms), and tell the life of the offer in it."""
        rules, key = self._rules, session_id.encode()
        lasts = rules.window + rules.checkout_grace
        since = min(times) - 2 * rules.lookback - lasts - rules.max_skew
        until = max(times) + 3 * rules.lookback + 2 * lasts + rules.lateness + rules.max_skew
        log, stamps = PartitionLog(rules, self._now), dict[Place, int]()
        for outcome in outcomes:
            if outcome.session_id == session_id and self._partition_of(outcome) in {partition, ELSEWHERE}:
                log.settle(outcome)
        if partition == ELSEWHERE:
            where = Whereabouts(self._topics, partition, self._progress.unit, None, (), self._now)
            for partner in partners:
                self._result.lives.append(explain(log, OfferName(session_id, partner, self._offer_id), where, {}))
            return
        log.expect(session_id)
        sources = [o.source[2] for o in log.sessions[session_id].outcomes if self._partition_of(o) == partition]
        for is_checkout, whole in enumerate((self._offers[partition], self._checkouts[partition])):
            span = self._between(whole, since, until)
            if sources and not is_checkout:
                begin = max(span.low, min(span.begin, *sources))
                span = span._replace(begin=begin, end=min(whole.end, max(span.end, max(sources) + 1)))
            records = 0
            for message in records_of(self._consumer, span):
                records += 1
                if message.value() is not None and _bytes(message.key()) == key:
                    stamps[span.topic, span.partition, message.offset() or 0] = message.timestamp()[1]
                    self._take(log, message, is_checkout=bool(is_checkout))
            self._note([span], records, f"from {iso(since)} to {iso(until)}")
        where = Whereabouts(
            self._topics,
            partition,
            self._progress.unit,
            self._progress.of(partition),
            (self._state(self._offers[partition], 0), self._state(self._checkouts[partition], 1)),
            self._now,
            partition in self._progress.doubtful,
            self._progress.other_settings.get(partition, ""),
        )
        for partner in partners:
            self._result.lives.append(explain(log, OfferName(session_id, partner, self._offer_id), where, stamps))

    def _take(self, log: PartitionLog, message: Message, *, is_checkout: bool) -> None:
        """One record of the session."""
        value, offset, stamp = message.value() or b"", message.offset() or 0, message.timestamp()[1]
        try:
            if is_checkout:
                done = self._codec.decode_checkout(message.key(), value, offset, message.headers)
                if done is not None:
                    log.complete(done, stamp)
            else:
                log.present(
                    presentations(self._codec.decode_offer(message.key(), value, offset, message.headers)), stamp
                )
        except DecodeError as error:
            if is_checkout:
                log.cannot_complete(sessions_of_key(message.key(), error), stamp)
        except SchemaWaitError as error:
            self._result.read.append(f"{message.topic()}[{message.partition()}]@{offset}: {error}")

    def _state(self, span: Span, is_checkout: int) -> InputState:
        known = self._progress.checkpoints.get(span.partition)
        read_to = None if known is None else known.next_checkout if is_checkout else known.next_offset
        last = span._replace(begin=max(span.begin, span.end - 1))
        newest = [message.timestamp()[1] for message in records_of(self._consumer, last)]
        return InputState(span.topic, span.partition, read_to, span.end, newest[-1] if newest else None)

    def _between(self, span: Span, since: int, until: int) -> Span:
        """The part of a partition that is stamped from one time to another (ms)."""
        begin, end = (self._offset_at(span, moment) for moment in (since, until))
        begin = span.end if begin is None else max(span.begin, begin)
        return span._replace(begin=begin, end=span.end if end is None else max(begin, min(end, span.end)))

    def _offset_at(self, span: Span, moment: int) -> int | None:
        try:
            asked = [TopicPartition(span.topic, span.partition, max(0, moment))]
            (found,) = self._consumer.offsets_for_times(asked, timeout=TIMEOUT)
        except KafkaException as error:
            raise StartError(
                f"{span.topic}: the brokers do not tell where a time stands: {error.args[0].str()}. Check them, then "
                "do this again."
            ) from error
        return found.offset if found.offset >= 0 else None

    def _whole(self, topic: str) -> list[Span]:
        """All that is left of a topic."""
        return [span._replace(begin=span.low) for span in spans_since(self._consumer, topic, 0)]

    def _note(self, spans: Sequence[Span], records: int, when: str = "whole") -> None:
        if spans:
            numbers = ", ".join(str(span.partition) for span in spans)
            self._result.read.append(f"Read: {spans[0].topic}[{numbers}] {when}, {records:,} records.")


def _time_of(outcome: OutcomeRecord) -> int:
    """The time (ms) around which to read: when it was presented, or, if that date is not believed, when it was told."""
    return outcome.settled_at if outcome.reason == Reason.IMPLAUSIBLE_TIME else outcome.presented_at


def _bytes(key: str | bytes | None) -> bytes | None:
    return key.encode() if isinstance(key, str) else key
