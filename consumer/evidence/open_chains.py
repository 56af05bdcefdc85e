"""Chains that have no outcome yet, as the inputs tell: what has been presented and is still open.

The group has committed the lowest offset that is not settled, and flushed the outcomes of all below it before. So open
chains stand from the committed offsets on, and no more is read of the inputs: as a rule the last window and what is
being called. A group that has committed nothing has its inputs read from the range's begin.

What belongs to one chain is told by the reference decision of `audit`, and not by the join. Whether a chain is open is
told by the outcomes: one of the same session, offer and time of the last presentation settles it.

The committed offset may cut a chain in two. So the commit tells besides what is settled from there on, and which
presentations begin a chain only because the one before had lasted for lookback: read from its middle on, that chain
would end elsewhere, and where it ended no outcome would be found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeAlias

from confluent_kafka import Consumer, TopicPartition

from ..audit.calls import ReferenceRules
from ..audit.committed import Committed
from ..audit.decision import Fate, fates
from ..codecs.codec import Codec, presentations
from ..codecs.inputs import codec_of
from ..errors import DecodeError, SchemaWaitError
from ..events import CheckoutCompleted, Details, OfferPresented
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.group import committed_by
from ..kafka.reader import Span
from ..kafka.record import Record
from ..row_file import RowColumn, explained, open_duckdb, write_parquet
from ..settings import JoinSettings, Settings
from .outcome_parts import TimeRange
from .progress_of_group import GroupProgress
from .spans import SLACK_MS, records_of, spans_since

COLUMNS = (
    RowColumn("session_id", "text"),
    RowColumn("partner_code", "text"),
    RowColumn("offer_id", "text"),
    RowColumn("presented_at", "time"),
    RowColumn("product_code", "text"),
    RowColumn("country", "text"),
)


class OpenRead(NamedTuple):
    """What was read of the inputs: how many records, and why chains may be missing, in sentences."""

    records: int
    notes: list[str]


def candidates_of(folder: Path, partition: int | str = "*") -> str:
    """The files of a partition, or of all, as DuckDB reads them: chains that are open unless they have an outcome."""
    return str(folder / f"presented-{partition}.parquet")


def rules_of(join: JoinSettings) -> ReferenceRules:
    """The spans of the decision as the settings have them."""
    window, grace, lookback = (
        round(span.total_seconds() * 1000) for span in (join.window, join.checkout_grace, join.lookback)
    )
    return ReferenceRules(window, grace, lookback, join.abandoned == "opt-out")


def read_candidates(settings: Settings, causes: Causes, wanted: TimeRange, folder: Path) -> OpenRead:
    """Write the chains of this range that may be open to files in `folder`; see `candidates_of`.

    To be called before the outcomes are read: what is settled meanwhile has an outcome by then.

    Raises:
        StartError: the inputs, or what the group has committed, cannot be read.
        OutputFileError: the folder has no room.
    """
    kafka, rules = settings.kafka, rules_of(settings.join)
    records = 0
    with (
        closing(codec_of(settings, at_once=True)) as codec,
        closing(Clients(kafka, causes).log_reader()) as consumer,
        closing(open_duckdb(folder, memory="256MB")) as db,
    ):
        # A chain lasts for lookback at the most, and a checkout may buy it from lookback before its begin on.
        since = wanted.begin - rules.lookback - SLACK_MS
        # In this order: a group that goes on meanwhile has committed more by a later question, and never less.
        checkout_spans, _ = _not_settled(consumer, kafka.checkout_topic, since - rules.lookback)
        progress = GroupProgress(consumer, settings, len(checkout_spans), rules)
        offer_spans, notes = _not_settled(consumer, kafka.offer_topic, since)
        for offers_span, checkouts_span in zip(offer_spans, checkout_spans, strict=True):
            read = _InputsRead(codec, consumer)
            known = _Known.of(progress, offers_span.partition)
            found = read.chains(known.begun(offers_span), checkouts_span, rules, wanted, known)
            with explained(folder):
                path = Path(candidates_of(folder, offers_span.partition))
                write_parquet(db, path, COLUMNS, [_row(fate, details) for fate, details in found])
            records += read.records
            notes += read.notes
    return OpenRead(records, notes)


def _not_settled(consumer: Consumer, topic: str, since_ms: int) -> tuple[list[Span], list[str]]:
    """What may be open in a topic, by partition: from the committed offset on, or from that time if there is none.

    And why some of it may be gone, in sentences.
    """
    spans = spans_since(consumer, topic, since_ms)
    places = [TopicPartition(topic, span.partition) for span in spans]
    found, notes = [], []
    for span, place in zip(spans, committed_by(consumer, places), strict=True):
        has_committed = place.offset >= 0
        begin = min(max(place.offset, span.low), span.end) if has_committed else span.begin
        if place.offset < span.low if has_committed else span.is_cut:
            notes.append(
                f"{topic}[{span.partition}]: retention has deleted what stood before offset {span.low}; what was open "
                "there is not counted."
            )
        found.append(span._replace(begin=begin))
    return found, notes


class _Known(NamedTuple):
    """What is committed of a partition of the offers, as far as it is the service's own.

    Attributes:
        splits: presentations that begin a chain only because the one before had lasted for lookback.
    """

    committed: Committed | None
    splits: Collection[int]

    @classmethod
    def of(cls, progress: GroupProgress, partition: int) -> _Known:
        checkpoint = progress.checkpoints.get(partition)
        return cls(progress.of(partition), () if checkpoint is None else checkpoint.chain_splits)

    def begun(self, span: Span) -> Span:
        """From the offset on that belongs to this."""
        if self.committed is None:
            return span
        return span._replace(begin=min(max(self.committed.offset, span.low), span.end))

    def open_chains(
        self, offers: Sequence[OfferPresented], checkouts: Sequence[CheckoutCompleted], rules: ReferenceRules
    ) -> Iterator[Fate]:
        """The chains that are not known to be settled."""
        checkouts_of: defaultdict[str, list[CheckoutCompleted]] = defaultdict(list)
        for checkout in checkouts:
            checkouts_of[checkout.session_id].append(checkout)
        for shown in self._apart(offers):
            shown_of: defaultdict[_Offer, list[OfferPresented]] = defaultdict(list)
            for offer in shown:
                shown_of[_offer(offer)].append(offer)
            for fate in fates(shown, checkouts, rules):
                of_session = checkouts_of.get(fate.session_id, ())
                if self.committed is None or not self.committed.settles(
                    fate, shown_of[_offer(fate)], of_session, rules
                ):
                    yield fate

    def _apart(self, offers: Sequence[OfferPresented]) -> Iterable[Sequence[OfferPresented]]:
        """The presentations in lists, so that in none of these anything of an offer stands before a split of it."""
        if not self.splits:
            return (offers,)
        lists: defaultdict[int, list[OfferPresented]] = defaultdict(list)
        splits: Counter[_Offer] = Counter()
        for offer in sorted(offers, key=lambda one: (one.presented_at, one.offset)):
            splits[_offer(offer)] += offer.offset in self.splits
            lists[splits[_offer(offer)]].append(offer)
        return lists.values()


_Offer: TypeAlias = tuple[str, str, str]


def _offer(one: OfferPresented | Fate) -> _Offer:
    return one.session_id, one.partner_code, one.offer_id


class _InputsRead:
    """Reads one partition of both inputs."""

    def __init__(self, codec: Codec, consumer: Consumer) -> None:
        self.records = 0
        self.notes: list[str] = []
        self._codec = codec
        self._consumer = consumer

    def chains(
        self, offers_span: Span, checkouts_span: Span, rules: ReferenceRules, wanted: TimeRange, known: _Known
    ) -> list[tuple[Fate, Details]]:
        """The chains that were presented in the range, each with the details of its last presentation."""
        begin, end = wanted.begin - rules.lookback, wanted.end + rules.lookback
        offers = [
            offer
            for record in self._records(offers_span)
            for offer in self._offers(record)
            if begin <= offer.presented_at < end
        ]
        if not offers:
            return []
        sessions = {offer.session_id for offer in offers}
        checkouts = [
            checkout
            for record in self._records(checkouts_span)
            if (checkout := self._checkout(record)) is not None and checkout.session_id in sessions
        ]
        details_at = {offer.offset: offer.details for offer in offers}
        return [
            (fate, details_at[max(fate.offsets)])
            for fate in known.open_chains(offers, checkouts, rules)
            if wanted.begin <= fate.last < wanted.end
        ]

    def _records(self, span: Span) -> Iterator[Record]:
        for message in records_of(self._consumer, span):
            self.records += 1
            if message.value() is not None:
                yield Record.of(message)

    def _offers(self, record: Record) -> list[OfferPresented]:
        try:
            shown = self._codec.decode_offer(record.key, record.value or b"", record.offset, lambda: record.headers)
        except DecodeError:  # it is dead-lettered, and belongs to no chain
            return []
        except SchemaWaitError as error:
            self.notes.append(
                f"{record.topic}[{record.partition}] offset {record.offset}: {error}. What it holds is not counted."
            )
            return []
        return list(presentations(shown))

    def _checkout(self, record: Record) -> CheckoutCompleted | None:
        try:
            return self._codec.decode_checkout(record.key, record.value or b"", record.offset, lambda: record.headers)
        except (DecodeError, SchemaWaitError):  # it quarantines its session: those chains are settled, or wait
            return None


def _row(fate: Fate, details: Details) -> tuple[str | int | None, ...]:
    return (fate.session_id, fate.partner_code, fate.offer_id, fate.last, details.product_code, details.country)
