"""`opt-out export`: the outcomes as Parquet files, a folder for each day on which chains were presented.

A day is written whole and then put in the place of what was there, so that it may be exported again and again: the
folder then has the outcomes that there are now.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import OptOutError
from ..kafka.causes import Causes
from ..output import Cell, Column, Document, TableShown
from ..row_file import explained, open_duckdb, quoted, sync
from ..settings import KafkaSettings
from .figures import MEMORY, ranked
from .outcome_parts import OutcomesRead, TimeRange, read_outcome_parts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# What is put into SQL here are names of our own and quoted paths.
# ruff: noqa: S608


class DayWritten(NamedTuple):
    """A day that was exported: records, chains, and the bytes of its files."""

    day: str
    outcomes: int
    chains: int
    size: int


class Export(NamedTuple):
    """What was exported. `missing`: why outcomes are not among it, in sentences."""

    folder: Path
    days: list[DayWritten]
    missing: list[str]


def export(settings: KafkaSettings, causes: Causes, wanted: TimeRange, folder: Path) -> Export:
    """Write the outcomes of the chains that were presented on these whole days (UTC) below `folder`.

    Raises:
        StartError: the topic cannot be read.
        OutputFileError: the folder cannot be written; days that were not reached yet are as they were.
        OptOutError: retention has deleted outcomes that may be of these days; nothing was written.
    """
    with _work_folder(folder) as work:
        read = read_outcome_parts(settings, causes, wanted, work)
        _refuse_if_cut(read)
        new = work / "days"
        with explained(folder):
            new.mkdir()
            with closing(open_duckdb(work, memory=MEMORY)) as db:
                for partition in sorted(one.span.partition for one in read.partitions):
                    _write_days(db, work, partition, new)
                days = [_put_in_place(db, one, folder, work) for one in sorted(new.iterdir())]
                sync(folder)
    return Export(folder, days, read.notes)


def document(done: Export) -> Document:
    """What was exported, as a table and as JSON."""
    columns = [
        Column("day", "day"),
        Column("outcomes", "outcomes", is_number=True),
        Column("chains", "chains", is_number=True),
        Column("bytes", "bytes", is_number=True),
    ]
    rows = [[day.day, *(Cell(f"{value:,}", value) for value in day[1:])] for day in done.days]
    notes = list(done.missing)
    if not rows:
        notes.append("No outcome is of these days. Nothing was written, and what was there is unchanged.")
    facts = {"folder": str(done.folder), "complete": not done.missing}
    return Document({"days": TableShown(f"Exported to {done.folder}", columns, rows)}, facts, notes)


@contextmanager
def _work_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder in the one to export to, so that what is ready can be renamed."""
    with explained(folder):
        folder.mkdir(exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".opt-out-export-", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _refuse_if_cut(read: OutcomesRead) -> None:
    """A day that lost outcomes must not take the place of one that was exported when it had them."""
    if read.cut:
        raise OptOutError(
            f"{read.cut[0]} Nothing was written, and what was exported before is unchanged. Choose later days."
        )


def _write_days(db: DuckDBPyConnection, work: Path, partition: int, new: Path) -> None:
    db.execute(
        f"COPY (SELECT * EXCLUDE (nth), nth = 1 AS counts,"
        f" strftime(make_timestamp(epoch_ms(presented_at) * 1000), '%Y-%m-%d') AS day"
        f" FROM ({ranked(work, partition)}) ORDER BY outcome_offset)"
        f" TO '{quoted(new)}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (day),"
        f" FILENAME_PATTERN 'part-{partition}-{{i}}', OVERWRITE_OR_IGNORE true)"
    )


def _put_in_place(db: DuckDBPyConnection, new: Path, folder: Path, work: Path) -> DayWritten:
    """The new folder of a day instead of the old one. For a moment there is none, never half of one."""
    files = sorted(new.iterdir())
    for file in files:
        sync(file)
    sync(new)
    size = sum(file.stat().st_size for file in files)
    ((outcomes, chains),) = db.execute(
        "SELECT count(*), count(*) FILTER (counts) FROM read_parquet($1)", [list(map(str, files))]
    ).fetchall()
    day, old = folder / new.name, work / f"old-{new.name}"
    try:
        if day.exists():
            day.rename(old)
        new.rename(day)
    except BaseException:  # also Ctrl-C: the folder for the work, which has both of them now, is deleted
        if old.exists() and not day.exists():
            old.rename(day)
        raise
    return DayWritten(new.name.removeprefix("day="), outcomes, chains, size)
