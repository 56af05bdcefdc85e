"""The outcomes of chains that were presented in a range of time, as Parquet files in a folder for the work.

Each partition is read, decoded and written in a process of its own, so that all cores are at it and memory depends on
neither the topic nor the range. What is done with the files is done by DuckDB.

A chain belongs to the time at which it was presented last. Its outcome is written later: minutes later as a rule, weeks
later if it was held, months later by a backfill. So all of the topic is read from the range's begin on.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import OptOutError
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.reader import Span
from ..logs import hide_in_default_log
from ..row_file import BATCH, explained, open_duckdb, write_parquet
from ..settings import KafkaSettings
from .outcome_rows import COLUMNS, PRESENTED_AT, OutcomeRows
from .spans import SLACK_MS, records_of, spans_since

PROCESSES = min(8, os.cpu_count() or 1)
"""How many read at a time; each takes up to 200 MB."""


FEW = 50_000
"""Outcomes up to which they are read in this process: others would take longer to start."""


class TimeRange(NamedTuple):
    """From a time to another (ms), the second one excluded."""

    begin: int
    end: int


class PartitionRead(NamedTuple):
    """What was read of one partition.

    Attributes:
        records, unreadable: how many there are, and how many of them are no outcomes.
        first_unreadable: the offset of the first of these.
    """

    span: Span
    records: int
    unreadable: int
    first_unreadable: int | None


@dataclass(frozen=True, slots=True)
class OutcomesRead:
    """What was read of the outcome topic."""

    partitions: Sequence[PartitionRead] = field(default_factory=list)

    @property
    def cut(self) -> list[str]:
        """The partitions of which retention may have deleted outcomes of this range, in sentences."""
        return [
            f"{span.topic}[{span.partition}]: retention has deleted what stood before offset {span.low}; outcomes of "
            "this range may have been among it."
            for span, *_ in self.partitions
            if span.is_cut
        ]

    @property
    def notes(self) -> list[str]:
        """Why outcomes may be missing, in sentences; empty if all are there."""
        return self.cut + [
            f"{span.topic}[{span.partition}]: records that are no outcomes: {unreadable:,}, the first at offset "
            f"{first}. They are left out."
            for span, _, unreadable, first in self.partitions
            if unreadable
        ]


def parts_of(folder: Path, partition: int | str = "*") -> str:
    """The files of a partition, or of all, as DuckDB reads them."""
    return str(folder / f"outcomes-{partition}-*.parquet")


def read_outcome_parts(settings: KafkaSettings, causes: Causes, wanted: TimeRange, folder: Path) -> OutcomesRead:
    """Write the outcomes of the chains in this range to files in `folder`; see `parts_of`.

    Raises:
        StartError: the topic cannot be read.
        OutputFileError: the folder has no room.
    """
    with closing(Clients(settings, causes).log_reader()) as consumer:
        spans = spans_since(consumer, settings.outcome_topic, wanted.begin - SLACK_MS)
    # The largest first, so that no process is left with it at the end.
    jobs = [_Job(settings, span, wanted, folder) for span in sorted(spans, key=lambda span: span.begin - span.end)]
    few = sum(span.end - span.begin for span in spans) <= FEW
    found = list(map(_read_partition, jobs)) if few else _read_in_processes(jobs)
    return OutcomesRead(sorted(found, key=lambda read: read.span.partition))


def _read_in_processes(jobs: Sequence[_Job]) -> list[PartitionRead]:
    # A forked process would have the threads' locks of a client, and no thread of it.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(PROCESSES, len(jobs)), spawn, _begin_process) as pool:
        try:
            return list(pool.map(_read_partition, jobs))
        except BrokenProcessPool as error:
            raise OptOutError(
                "a process that read the outcomes was killed, perhaps since no memory was left. Give 200 MB for each "
                "core besides 1.2 GB, then do this again."
            ) from error
        except BaseException:
            # What the others read is of no use any more, and the end would wait for it.
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


class _Job(NamedTuple):
    settings: KafkaSettings
    span: Span
    wanted: TimeRange
    folder: Path


def _begin_process() -> None:
    hide_in_default_log()
    # On Ctrl-C it ends at once: what there is to say of it, the command itself says.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read_partition(job: _Job) -> PartitionRead:
    """One partition, in whatever process."""
    settings, span, (begin, end), folder = job
    causes = Causes(settings, logs=False)
    decode = OutcomeRows().row
    rows: list[tuple[Any, ...]] = []
    records = unreadable = parts = 0
    first_unreadable: int | None = None

    def write() -> None:
        nonlocal parts
        path = folder / f"outcomes-{span.partition}-{parts:06}.parquet"
        with explained(path):
            write_parquet(db, path, COLUMNS, rows)
        parts += 1
        rows.clear()

    with (
        causes.explained(),
        closing(Clients(settings, causes).log_reader()) as consumer,
        closing(open_duckdb(folder, memory="256MB")) as db,
    ):
        for message in records_of(consumer, span):
            value, offset = message.value(), message.offset() or 0
            if value is None:
                continue
            records += 1
            try:
                row = decode(value, span.partition, offset)
            except Exception:  # whatever bytes make the reader raise, they are no outcome
                unreadable += 1
                first_unreadable = offset if first_unreadable is None else first_unreadable
                continue
            if begin <= row[PRESENTED_AT] < end:
                rows.append(row)
                if len(rows) == BATCH:
                    write()
        if rows or not parts:
            write()
    return PartitionRead(span, records, unreadable, first_unreadable)
