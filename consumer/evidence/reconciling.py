"""`opt-out reconcile`: the inputs against the outcomes over a range of time, partition by partition.

First what the group has committed is asked for, then where the outcomes end, then where the inputs end. So what is
committed as settled has its outcome in what is read, and what an outcome is of is read too, though the service goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import Consumer

from ..audit.dead_letters import DeadLetters
from ..audit.findings import Discrepancy, Flaw, Reconciliation, Scope
from ..audit.moments import iso
from ..audit.partition_log import PartitionLog
from ..audit.reading import Place
from ..audit.reconcile import reconcile
from ..audit.two_sessions import OfferSessions
from ..codecs.codec import Codec, presentations
from ..codecs.inputs import codec_of
from ..errors import DecodeError, SchemaWaitError, StartError
from ..events import OfferPresented, Outcome
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.letter import RESUBMITTED, DeadLetter, Entry, entry_of
from ..kafka.reader import Span
from ..kafka.record import Record
from ..output import Cell, Column, Document, TableShown
from ..settings import Settings
from .judged_partition import Needed, PartitionFound, PartitionReader, audit_rules, spans_of
from .outcome_parts import TimeRange
from .progress_of_group import GroupProgress
from .spans import records_of, spans_since

COLUMNS = (
    Column("kind", "exception"),
    Column("partner_code", "partner"),
    Column("offer_id", "offer"),
    Column("session_id", "session"),
    Column("presented_at", "presented last"),
    Column("records", "records"),
    Column("what", "what is wrong"),
    Column("by_the_rules", "by the rules"),
)
"""Those of the table of exceptions."""


@dataclass(slots=True)
class Reconciled:
    """All that is to be said.

    Attributes:
        missing: in sentences, what retention has deleted; `waits`, `unread`: what could not be read.
        offers_missing: presentations of the range may be among it.
        records: how many were read.
    """

    wanted: TimeRange
    found: Reconciliation = field(default_factory=Reconciliation)
    missing: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    offers_missing: bool = False
    foreign: int = 0
    records: int = 0

    @property
    def exit_code(self) -> int:
        """1: there are exceptions. 3: there are none, but not all could be judged. 0: all is in order."""
        if not self.found.holds:
            return 1
        is_whole = self.found.is_whole and not (self.offers_missing or self.waits or self.unread)
        return 0 if is_whole else 3


def reconcile_range(
    settings: Settings, causes: Causes, wanted: TimeRange, tell: Callable[[str], None] | None = None
) -> Reconciled:
    """Read the topics and judge the chains that were presented last in the range.

    `tell` gets a line for each partition.

    Raises:
        StartError: the topics cannot be read.
    """
    now = time.time_ns() // 1_000_000
    kafka, rules = settings.kafka, audit_rules(settings.join)
    topics = kafka.offer_topic, kafka.checkout_topic, kafka.outcome_topic
    needed, result, sessions = Needed.of(wanted, rules), Reconciled(wanted), OfferSessions()
    with (
        closing(codec_of(settings, at_once=True)) as codec,
        closing(Clients(kafka, causes).log_reader()) as consumer,
    ):
        partitions = len(spans_since(consumer, kafka.offer_topic, now))
        progress = GroupProgress(consumer, settings, partitions, rules)
        result.notes += progress.notes
        dead = _DeadLetters(consumer, kafka.dead_letter_topic, wanted.begin - rules.max_skew)
        reader = PartitionReader(consumer, codec, rules, now, kafka.offer_topic)
        all_spans = spans_of(consumer, topics, needed, rules)
        for spans in all_spans:
            partition = spans.offers.partition
            scope = Scope(wanted.begin, wanted.end, topics, partition, progress.unit)
            # In a function of its own, so that no two partitions are in memory.
            records = _judge_partition(result, reader.read(spans, needed, wanted), scope, progress, dead, sessions)
            if tell is not None:
                tell(f"partition {partition + 1} of {len(all_spans)}: {records:,} records read")
        result.notes += dead.notes
        for places in sessions.twice():
            _judge_twice(result.found, _shown_at(consumer, codec, kafka.offer_topic, places), kafka.offer_topic)
    return result


def _judge_partition(
    result: Reconciled,
    read: PartitionFound,
    scope: Scope,
    progress: GroupProgress,
    dead: _DeadLetters,
    sessions: OfferSessions,
) -> int:
    """Returns how many records were read."""
    letters = partial(dead.of, scope.topics[0], scope.partition)
    reconcile(read.log, scope, result.found, progress.of(scope.partition), letters)
    _add_sessions(sessions, read.log, scope)
    _take(result, read, scope)
    return read.records


def document(result: Reconciled) -> Document:
    """As it is shown."""
    found = result.found
    counts: list[tuple[str, int]] = [("presented", found.presented)]
    counts += [(fate.lower(), found.fates[fate]) for fate in Outcome]
    counts += [
        ("open_not_decided", found.undecided),
        ("open_call_waits", found.waiting),
        ("unreadable", found.unreadable),
        ("without_outcome", found.without_outcome),
        ("not_known", found.unknown),
    ]
    chains = TableShown("Chains", (Column("fate", "fate"), Column("chains", "chains", is_number=True)), counts)
    listed = [one for kind in Flaw for one in found.listed[kind]]
    tables = {"chains": chains}
    if listed:
        tables["exceptions"] = TableShown("Exceptions", COLUMNS, [_row(one) for one in listed])
    facts = {
        "from": iso(result.wanted.begin),
        "to": iso(result.wanted.end),
        "adds_up": found.adds_up,
        "counts": {kind.value: found.exceptions[kind] for kind in Flaw},
        "not_judged": dict(found.not_judged),
        "repeated_outcomes": found.repeated,
        "replaced_outcomes": found.replaced,
        "records_read": result.records,
        **({} if listed else {"exceptions": []}),
    }
    return Document(tables, facts, list(_notes(result)))


def _notes(result: Reconciled) -> Iterator[str]:
    found = result.found
    parts = [f"{count:,} {fate.lower()}" for fate in Outcome if (count := found.fates[fate])]
    parts += [
        f"{count:,} {words}"
        for count, words in (
            (found.open, "open"),
            (found.unreadable, "records that cannot be read"),
            (found.without_outcome, "without an outcome that they must have"),
            (found.unknown, "of which it is not known"),
        )
        if count
    ]
    yield f"{found.presented:,} presented = {' + '.join(parts) or '0'}"
    if found.oldest_open is not None:
        yield f"The oldest that is open was presented last at {iso(found.oldest_open)}."
    if found.repeated:
        yield f"{found.repeated:,} outcomes stand there once more, with the same content."
    if found.replaced:
        yield f"{found.replaced:,} that were dead-lettered or released have been decided anew by a backfill since."
    if result.foreign:
        yield f"{result.foreign:,} outcomes of other offer topics were passed over."
    for why, count in found.not_judged.items():
        yield f"{count:,} do not fit the decision and are not judged: {why}."
    yield from (*result.missing, *result.waits, *result.unread, *result.notes)
    for kind, count in found.exceptions.items():
        shown = len(found.listed[kind])
        yield f"{count:,} x {kind}: {_MEANING[kind]}" + (f" {shown:,} are listed." if shown < count else "")
    if found.holds:
        yield "No exception." if result.exit_code == 0 else "No exception in what could be judged."


_MEANING = {
    Flaw.CALLED_THOUGH_BOUGHT: "the insurer was told that an offer was not bought, and it was.",
    Flaw.TWO_OUTCOMES: "an offer has two different fates.",
    Flaw.NO_OUTCOME: "by what is committed it is settled, and no outcome says how.",
    Flaw.OTHER_FATE: "the outcome is not what the reference decision comes to.",
    Flaw.UNKNOWN_CHAIN: "an outcome is of no presentation that stands in the inputs.",
    Flaw.BOUGHT_AFTER_CALL: "the offer was bought after the time that counts, and the insurer was told before.",
    Flaw.BOUGHT_LONG_BEFORE: "a purchase from longer than lookback before it was shown names the offer.",
    Flaw.TWO_SESSIONS: "an offer was shown in two sessions: a purchase in one does not count in the other.",
    Flaw.NO_DEAD_LETTER: "a record that cannot be read is settled, and not in the dead-letter topic.",
}


def _row(one: Discrepancy) -> list[object]:
    return [
        one.kind.value,
        one.partner_code,
        one.offer_id,
        one.session_id,
        iso(one.presented_at),
        Cell(
            ", ".join(map(place_text, one.places)),
            [{"topic": topic, "partition": partition, "offset": offset} for topic, partition, offset in one.places],
        ),
        one.words,
        one.by_the_rules,
    ]


def place_text(place: Place) -> str:
    """Where a record stands, as people write it."""
    topic, partition, offset = place
    return f"{topic}[{partition}]@{offset}"


def _take(result: Reconciled, read: PartitionFound, scope: Scope) -> None:
    result.records += read.records
    result.missing += read.missing
    result.waits += [f"{one} What it holds is not judged." for one in read.waits]
    result.foreign += read.foreign
    result.offers_missing |= read.offers_gone_to > result.wanted.begin
    if read.unread_outcomes:
        place = place_text((scope.topics[2], scope.partition, read.unread_outcomes[0]))
        result.unread.append(f"{len(read.unread_outcomes):,} records are no outcomes, the first at {place}.")


def _add_sessions(sessions: OfferSessions, log: PartitionLog, scope: Scope) -> None:
    for session in log.sessions.values():
        newest: dict[tuple[str, str], OfferPresented] = {}
        for event in session.shown:
            if isinstance(event, OfferPresented):
                known = newest.setdefault((event.partner_code, event.offer_id), event)
                if event.presented_at > known.presented_at:
                    newest[event.partner_code, event.offer_id] = event
        for offer, event in newest.items():
            in_range = scope.holds(event.presented_at)
            sessions.add(*offer, scope.partition, event.record_offset, in_range=in_range)


def _shown_at(
    consumer: Consumer, codec: Codec, topic: str, places: list[tuple[int, int]]
) -> list[tuple[OfferPresented, Place]]:
    """The presentations at these places of the offer that all of them have."""
    found: list[tuple[OfferPresented, Place]] = []
    for partition, offset in places:
        for message in records_of(consumer, Span(topic, partition, offset, offset + 1, offset, is_cut=False)):
            try:
                shown = codec.decode_offer(message.key(), message.value() or b"", offset, message.headers)
            except (DecodeError, SchemaWaitError):
                continue
            found += [(event, (topic, partition, offset)) for event in presentations(shown)]
    sessions: dict[tuple[str, str], set[str]] = {}
    for event, _ in found:
        sessions.setdefault((event.partner_code, event.offer_id), set()).add(event.session_id)
    return [(event, place) for event, place in found if len(sessions[event.partner_code, event.offer_id]) > 1]


def _judge_twice(found: Reconciliation, shown: list[tuple[OfferPresented, Place]], topic: str) -> None:
    if not shown:
        return
    last = max((event for event, _ in shown), key=lambda event: event.presented_at)
    sessions = " and ".join(sorted({event.session_id for event, _ in shown}))
    places = tuple(place for _, place in shown)
    offer = last.session_id, last.partner_code, last.offer_id, last.presented_at
    found.object(Discrepancy(Flaw.TWO_SESSIONS, *offer, places, f"shown in the sessions {sessions}"))


class _DeadLetters:
    """What the dead-letter topic has, read once it is asked for. `notes` say why that is not known."""

    def __init__(self, consumer: Consumer, topic: str, since: int) -> None:
        self._consumer, self._topic, self._since = consumer, topic, since
        self._found: dict[tuple[str, int], DeadLetters] | None = None
        self._is_whole = True
        self.notes: list[str] = []

    def of(self, topic: str, partition: int) -> DeadLetters | None:
        """Those of a partition's records that are there; None where it may not tell of all."""
        if self._found is None:
            self._found = {}
            try:
                for entry in self._read():
                    self._take(self._found, entry)
            except StartError as error:  # the service itself need not read that topic
                self._is_whole = False
                self.notes.append(f"Whether what cannot be read was dead-lettered is not known: {error}")
        return self._found.get((topic, partition), DeadLetters()) if self._is_whole else None

    def _take(self, found: dict[tuple[str, int], DeadLetters], entry: Entry) -> None:
        if entry.source is None:  # too large for our headers, or no dead letter of ours
            self._is_whole = False
            return
        topic, partition, offset = entry.source
        # What was re-submitted has a note too: it tells of a dead letter that retention has deleted.
        reason = entry.reason if isinstance(entry, DeadLetter) else RESUBMITTED
        of_partition = found.setdefault((topic, partition), DeadLetters())
        of_partition.add(reason, offset, entry.timestamp, entry.written_at)

    def _read(self) -> Iterator[Entry]:
        for span in spans_since(self._consumer, self._topic, self._since):
            self._is_whole &= not span.is_cut
            for message in records_of(self._consumer, span):
                yield entry_of(Record.of(message))
