"""`opt-out report`: what became of the chains that were presented in a range of time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaException

from .. import __version__
from ..errors import OutputFileError, StartError
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.end_offsets import TIMEOUT
from ..output import Cell, Column, Document, TableShown
from ..row_file import RowColumn, as_time
from ..settings import KafkaSettings, Settings
from ..settings.types import format_duration
from .figures import By, Counted, Figures, count
from .open_chains import read_candidates
from .outcome_parts import TimeRange, read_outcome_parts
from .unread_inputs import UnreadInput, unread_inputs

DEFINITIONS = (
    (
        "Presented",
        "Offers that were shown. Showings of one offer in one session that share one fate are one chain, and count "
        "once, at the time of the last of them.",
    ),
    ("Bought", "A checkout of the session bought the offer."),
    (
        "Opted out",
        "The insurer was told that the offer was not bought, and has answered 204. Declined: the session checked out "
        "without it. Abandoned: the session did not check out.",
    ),
    ("Not found", "The insurer was told that the offer was not bought, and does not know it (404)."),
    ("Ignored", "Abandoned, and not told to the insurer, by the setting join.abandoned."),
    (
        "Dead-lettered",
        "It is not known whether it was bought, or the insurer refuses the call: too late, misdated, a checkout that "
        "cannot be read, or a rejected request.",
    ),
    ("Released", "An operator let the offer go on purpose."),
    ("Open", "Presented, and without an outcome yet: not decided, or the call is still to be answered."),
    (
        "Conversion",
        "Bought, as a share of the offers of which it is known whether they were bought: bought + opted out + not "
        "found + ignored. Dead-lettered, released and open offers are in neither part.",
    ),
    (
        "Interval",
        "The 95 % interval of the conversion by Wilson's method: how far chance alone may have moved it. Few offers "
        "make it wide.",
    ),
    (
        "Time to 204",
        "From the time at which the fate was certain by the events' own times to the recorded answer 204, of calls "
        "that were made live. It includes join.lateness, for which the service waits for events that arrive late.",
    ),
)
"""What the figures mean, for the page and the manual."""

COUNTS = (
    ("presented", "presented"),
    ("bought", "bought"),
    ("opted_out", "opted out"),
    ("declined", "declined"),
    ("abandoned", "abandoned"),
    ("not_found", "not found"),
    ("ignored", "ignored"),
    ("dead_lettered", "dead-lettered"),
    ("released", "released"),
    ("open", "open"),
)
"""The attributes of `Figures` that are counts, and their headings."""

NONE = "(none)"
"""What stands for a product or a country that the presentation did not name, where people read it."""


class Origin(NamedTuple):
    """Where the figures are from."""

    brokers: str
    cluster: str
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report tells.

    Attributes:
        made_at: wall clock (ms).
        missing: why figures may be too low, in sentences; empty if all was read.
        notes: what else is to be said, in sentences.
        outcomes, inputs: records that were read.
    """

    wanted: TimeRange
    by: Sequence[By]
    counted: Counted
    unread: Sequence[UnreadInput]
    origin: Origin
    made_at: int
    missing: Sequence[str]
    notes: Sequence[str]
    outcomes: int
    inputs: int


def make_report(settings: Settings, causes: Causes, wanted: TimeRange, by: Sequence[By]) -> Report:
    """Read the topics and count.

    Raises:
        StartError: a topic cannot be read.
        OutputFileError: there is no room for the files of the work, in TMPDIR.
    """
    kafka, made_at = settings.kafka, int(time.time() * 1000)
    origin = _origin(kafka, causes)
    with _work_folder() as folder:
        candidates = read_candidates(settings, causes, wanted, folder)
        outcomes = read_outcome_parts(kafka, causes, wanted, folder)
        unread, untold = _unread_inputs(kafka, causes, wanted)
        counted = count(folder, [read.span.partition for read in outcomes.partitions], by)
    return Report(
        wanted=wanted,
        by=by,
        counted=counted,
        unread=unread,
        origin=origin,
        made_at=made_at,
        missing=[*outcomes.notes, *candidates.notes],
        notes=[*_notes(counted, unread), *untold],
        outcomes=sum(read.records for read in outcomes.partitions),
        inputs=candidates.records,
    )


def document(report: Report) -> Document:
    """The report as a table, and as JSON."""
    columns = [Column(name, name) for name in report.by]
    columns += [Column(key, heading, is_number=True) for key, heading in COUNTS]
    columns += [
        Column("conversion", "conversion", is_number=True),
        Column("conversion_low", "from", is_number=True),
        Column("conversion_high", "to", is_number=True),
        Column("median_ms", "median to 204", is_number=True),
        Column("p99_ms", "p99", is_number=True),
    ]
    rows = [_row(figures, figures.group) for figures in report.counted.groups]
    total = [Cell("total" if not number else "", None) for number in range(len(report.by))]
    rows.append(_row(report.counted.total, total))
    wanted = report.wanted
    facts = {
        "from": as_time(wanted.begin),
        "to": as_time(wanted.end),
        "by": list(report.by),
        "complete": not report.missing,
        "repeated_outcomes": report.counted.repeated,
        "replaced": report.counted.replaced,
        "contradicting": report.counted.contradicting,
        "backfilled": report.counted.backfilled,
        "unread_inputs": [one._asdict() for one in report.unread],
        "calls": [day._asdict() for day in report.counted.calls],
        "outcomes_read": report.outcomes,
        "inputs_read": report.inputs,
        "made_at": as_time(report.made_at),
        "version": __version__,
        **report.origin._asdict(),
    }
    title = f"Offers presented from {as_time(wanted.begin)} to {as_time(wanted.end)}"
    caption = "Conversion: bought of bought, opted out, not found and ignored; from, to: its 95 % interval."
    return Document({"figures": TableShown(title, columns, rows, caption)}, facts, [*report.missing, *report.notes])


def columns_of(by: Sequence[By]) -> list[RowColumn]:
    """The columns of the report in a file of rows: a row a group, and no total."""
    return [
        *(RowColumn(name, "text") for name in by),
        *(RowColumn(key, "integer") for key, _ in COUNTS),
        *(RowColumn(name, "number") for name in ("conversion", "conversion_low", "conversion_high")),
        *(RowColumn(name, "number") for name in ("median_ms", "p99_ms")),
    ]


def rows_of(report: Report) -> list[list[object]]:
    """The rows of `columns_of`: of each group, or without any of all."""
    return [
        [cell.value if isinstance(cell, Cell) else cell for cell in _row(figures, figures.group)]
        for figures in (report.counted.groups if report.by else [report.counted.total])
    ]


def percent(share: float | None, digits: int = 2) -> str:
    """A share as people read it."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def lasted(ms: float | None) -> str:
    """A time that passed, as people read it: to a tenth of a second below ten of them, else to the second."""
    if ms is None:
        return "-"
    sign = "-" * (ms < 0)
    rounded = timedelta(seconds=round(abs(ms) / 1000, 1 if abs(ms) < 10_000 else 0))
    return sign + format_duration(rounded)


def _row(figures: Figures, group: Sequence[object]) -> list[object]:
    low, high = figures.interval or (None, None)
    return [
        *(Cell(NONE, None) if value is None else value for value in group),
        *(Cell(f"{value:,}", value) for value in (getattr(figures, key) for key, _ in COUNTS)),
        *(Cell(percent(share), share) for share in (figures.conversion, low, high)),
        *(Cell(lasted(ms), ms) for ms in (figures.median_ms, figures.p99_ms)),
    ]


def _notes(counted: Counted, unread: Sequence[UnreadInput]) -> list[str]:
    notes = []
    if not counted.total.presented:
        notes.append("Nothing was presented in this range, as far as the topics tell.")
    if counted.repeated:
        notes.append(
            f"Outcomes that stand there again, as after a crash: {counted.repeated:,}. Each chain counts once."
        )
    if counted.replaced:
        notes.append(
            f"Chains that were dead-lettered or released, and have a known fate as well, as by a backfill: "
            f"{counted.replaced:,}. That fate counts."
        )
    if counted.contradicting:
        notes.append(
            f"Chains that have outcomes of different fates: {counted.contradicting:,}. `opt-out reconcile` lists them. "
            "The first of bought, opted out, not found and ignored counts."
        )
    if counted.backfilled:
        notes.append(f"Chains that a backfill settled: {counted.backfilled:,}. Their time to 204 does not count.")
    for topic, reason, records in unread:
        notes.append(
            f"Records of {topic} in this range that could not be read ({reason}): {records:,}. What they held is in no "
            "figure. `opt-out dead-letters` lists them."
        )
    return notes


@contextmanager
def _work_folder() -> Iterator[Path]:
    """A folder for the files of the work, where this machine has its temporary files.

    Raises:
        OutputFileError: there is none, or it has no room; also from within.
    """
    try:
        work = tempfile.TemporaryDirectory(prefix="opt-out-report-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputFileError(
            f"a folder for the files of the work cannot be made: {error.strerror or error}. Set TMPDIR to a folder "
            "that this user may write to."
        ) from error
    with work as name:
        try:
            yield Path(name)
        except OutputFileError as error:
            raise OutputFileError(f"{error} These are files of the work: TMPDIR says where they go.") from error


def _unread_inputs(
    kafka: KafkaSettings, causes: Causes, wanted: TimeRange
) -> tuple[Sequence[UnreadInput], Sequence[str]]:
    """See `unread_inputs`; and why it is not known, in sentences. The service itself need not read that topic."""
    try:
        return unread_inputs(kafka, causes, wanted), ()
    except StartError as error:
        return (), [f"How many records could not be read is not known: {error}"]


def _origin(kafka: KafkaSettings, causes: Causes) -> Origin:
    with closing(Clients(kafka, causes).record_reader()) as consumer:
        try:
            cluster = consumer.list_topics(kafka.outcome_topic, timeout=TIMEOUT).cluster_id
        except KafkaException as error:
            raise StartError(
                f"no broker answers: {error.args[0].str()}. Check kafka.bootstrap_servers and kafka.properties."
            ) from error
    topics = kafka.outcome_topic, kafka.offer_topic, kafka.checkout_topic, kafka.dead_letter_topic
    return Origin(kafka.bootstrap_servers, cluster or "", topics)
