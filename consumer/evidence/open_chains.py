"""Chains that have no outcome yet, as the inputs tell: what has been presented and is still open.

The group has committed the lowest offset that is not settled, and flushed the outcomes of all below it before. So open
chains stand from the committed offsets on, and no more is read of the inputs: as a rule the last window and what is
being called. A group that has committed nothing has its inputs read from the range's begin.

What belongs to one chain is told by the reference decision of `audit`, and not by the join. Whether a chain is open is
told by the outcomes: one of the same session, offer and time of the last presentation settles it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from ..audit.calls import ReferenceRules
from ..audit.decision import Fate, fates
from ..codecs.codec import Codec, presentations
from ..codecs.inputs import codec_of
from ..errors import DecodeError, SchemaWaitError
from ..events import CheckoutCompleted, Details, OfferPresented
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.group import committed_by
from ..kafka.record import Record
from ..row_file import RowColumn, explained, open_duckdb, write_parquet
from ..settings import JoinSettings, Settings
from .outcome_parts import TimeRange
from .spans import SLACK_MS, Span, records_of, spans_since

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
        offer_spans, notes = _not_settled(consumer, kafka.offer_topic, since)
        checkout_spans, _ = _not_settled(consumer, kafka.checkout_topic, since - rules.lookback)
        for offers_span, checkouts_span in zip(offer_spans, checkout_spans, strict=True):
            read = _InputsRead(codec, consumer)
            found = read.chains(offers_span, checkouts_span, rules, wanted)
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


class _InputsRead:
    """Reads one partition of both inputs."""

    def __init__(self, codec: Codec, consumer: Consumer) -> None:
        self.records = 0
        self.notes: list[str] = []
        self._codec = codec
        self._consumer = consumer

    def chains(
        self, offers_span: Span, checkouts_span: Span, rules: ReferenceRules, wanted: TimeRange
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
            for fate in fates(offers, checkouts, rules)
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
