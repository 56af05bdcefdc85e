"""Rows in a file: CSV, JSON Lines or Parquet, by the ending of its name.

The file stands under its name once it is complete, and never in part: it grows in a hidden folder beside it, reaches
the disk, and is renamed. Memory does not grow with the rows.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TextIO, TypeAlias

import typer

from .errors import OptOutError, OutputFileError

if TYPE_CHECKING:
    from arro3.core import Array, DataType, Table
    from duckdb import DuckDBPyConnection

RowKind: TypeAlias = Literal["text", "integer", "number", "time", "boolean"]
"""What a column holds: `str`, `int` (64 bits, signed), `float`, a time in ms since 1970 in UTC, or `bool`. Each may be
None: an empty cell in CSV, null elsewhere. Times are `2026-11-01T09:30:00.000Z`, in Parquet timestamps."""

WriteRow: TypeAlias = Callable[[Sequence[Any]], None]
"""Writes a row: a value for each column, in their order. Raises OutputFileError."""

BATCH = 50_000
"""Rows that become Arrow arrays at once; of wide rows that is some 30 MB."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RowColumn(NamedTuple):
    """A column of a file of rows."""

    name: str
    kind: RowKind


class _RowWriter(Protocol):
    """Writes one file in one format."""

    def write(self, row: Sequence[Any]) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


def check_row_file(path: Path | None) -> Path | None:
    """A callback for typer: see that rows can be written to this path before a long run begins; None is let through.

    Raises:
        typer.BadParameter: the ending names no format.
        OptOutError: the format needs what is not installed, or no file can be made there.
    """
    if path is None:
        return None
    if path.suffix not in _WRITERS:
        raise typer.BadParameter(f"{path} must end in .csv, .jsonl or .parquet, which chooses the format")
    if path.suffix == ".parquet":
        require_evidence(f"writing {path}")
    check_file(path)
    return path


def check_file(path: Path) -> None:
    """See that a file can be made there. Raises OutputFileError."""
    with explained(path):
        _folder_beside(_target(path)).rmdir()


def require_evidence(what: str) -> None:
    """See that the libraries of the extra `evidence` are installed.

    Raises:
        OptOutError: they are not; the message begins with `what` cannot be done.
    """
    missing = [name for name in ("duckdb", "arro3.core") if not _is_installed(name)]
    if missing:
        raise OptOutError(
            f"{what} needs {' and '.join(missing)}, and {'they are' if missing[1:] else 'it is'} not installed: "
            "pip install 'offer-opt-out[evidence]'"
        )


@contextmanager
def row_file(path: Path, columns: Sequence[RowColumn]) -> Iterator[WriteRow]:
    """Give a function that writes rows to a file; a file that was there is replaced when the block ends well.

    When the block raises, nothing is left behind, and what was there stays. To be used once `check_row_file` has let
    the path through.

    Raises:
        OutputFileError: the file cannot be written; also by the function.
    """
    with explained(path):
        target = _target(path)
        folder = _folder_beside(target)
    try:
        with explained(path):
            grows = folder / target.name
            writer = _WRITERS[target.suffix](grows, columns)
        try:

            def write(row: Sequence[Any]) -> None:
                with explained(path):
                    writer.write(row)

            yield write
            with explained(path):
                writer.finish()
        finally:
            # A file that is full refuses its last bytes here once more.
            with explained(path):
                writer.close()
        with explained(path):
            put_in_place(grows, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say in words why a file cannot be written.

    Raises:
        OutputFileError: instead of an error of the operating system's or DuckDB's.
    """
    try:
        yield
    except OSError as error:
        raise _error(path, error.strerror or str(error)) from error
    except Exception as error:
        if not _is_duckdb_s(error):
            raise
        raise _error(path, str(error)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all. Raises OutputFileError."""
    with explained(path):
        target = _target(path)
        folder = _folder_beside(target)
        try:
            file = folder / target.name
            file.write_text(text, encoding="utf-8")
            put_in_place(file, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def put_in_place(file: Path, target: Path) -> None:
    """Rename a file that is complete, once it has reached the disk. Raises OSError."""
    sync(file)
    os.replace(file, target)
    sync(target.parent)


def sync(path: Path) -> None:
    """See that a file, or the names in a folder, have reached the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_time(ms: int) -> str:
    """A time as it is written in text, such as `2026-11-01T09:30:00.000Z`."""
    try:
        return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:  # before year 1 or after 9999: a broken clock's
        return str(ms)


def arrow_table(columns: Sequence[RowColumn], rows: Sequence[Sequence[Any]]) -> Table:
    """Rows as an Arrow table."""
    from arro3.core import Table  # noqa: PLC0415 - an extra

    values = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
    arrays = [_arrow_array(column.kind, of_column) for column, of_column in zip(columns, values, strict=True)]
    return Table.from_arrays(arrays, names=[column.name for column in columns])


# --- the formats


class _CsvRows:
    def __init__(self, path: Path, columns: Sequence[RowColumn]) -> None:
        # A surrogate that stands alone, as JSON may have it, has no bytes in UTF-8.
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._write = _csv_writer(self._file, columns)

    def write(self, row: Sequence[Any]) -> None:
        self._write(row)

    def finish(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def write_csv(file: TextIO, columns: Sequence[RowColumn], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows to a file that is open, such as standard output, as CSV."""
    write = _csv_writer(file, columns)
    for row in rows:
        write(row)


def _csv_writer(file: TextIO, columns: Sequence[RowColumn]) -> WriteRow:
    """A function that writes a row; the names of the columns are written at once.

    A text that a spreadsheet would take for a formula stands as it is: with a quote before it, no program would read
    back what was written. The manual says so.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.name for column in columns])

    def cell(column: RowColumn, value: Any) -> Any:
        if value is None:
            return ""
        if column.kind == "boolean":
            return "true" if value else "false"
        return as_time(value) if column.kind == "time" else value

    def write(row: Sequence[Any]) -> None:
        writer.writerow(map(cell, columns, row))

    return write


class _JsonRows:
    def __init__(self, path: Path, columns: Sequence[RowColumn]) -> None:
        self._columns = columns
        self._file = path.open("w", encoding="ascii")

    def write(self, row: Sequence[Any]) -> None:
        fields = {
            column.name: as_time(value) if column.kind == "time" and value is not None else value
            for column, value in zip(self._columns, row, strict=True)
        }
        self._file.write(json.dumps(fields) + "\n")

    def finish(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _ParquetRows:
    """Batches are compressed parts, and one file at the end: DuckDB writes none piece by piece."""

    def __init__(self, path: Path, columns: Sequence[RowColumn]) -> None:
        self._path = path
        self._columns = columns
        self._rows: list[tuple[Any, ...]] = []
        self._parts: list[str] = []
        self._db = open_duckdb(path.parent)

    def write(self, row: Sequence[Any]) -> None:
        self._rows.append(tuple(row))
        if len(self._rows) == BATCH:
            self._write_part()

    def finish(self) -> None:
        if self._rows or not self._parts:
            self._write_part()
        self._db.execute(f"COPY (FROM read_parquet($1)) TO '{quoted(self._path)}' {PARQUET}", [self._parts])

    def close(self) -> None:
        self._db.close()

    def _write_part(self) -> None:
        part = f"{self._path}.{len(self._parts)}"
        write_parquet(self._db, Path(part), self._columns, self._rows)
        self._parts.append(part)
        self._rows = []


PARQUET = "(FORMAT parquet, COMPRESSION zstd)"
"""How DuckDB writes Parquet: compressed in a way that every reader of today knows."""


def open_duckdb(folder: Path, *, memory: str = "1GB", threads: int = 1) -> DuckDBPyConnection:
    """A database of its own, which uses no network.

    Args:
        folder: where what does not fit into `memory` goes meanwhile.
        threads: each costs memory; a file is written by one in any case.
    """
    import duckdb  # noqa: PLC0415 - an extra

    return duckdb.connect(
        config={
            "threads": threads,
            "memory_limit": memory,
            "temp_directory": str(folder),
            "autoinstall_known_extensions": False,
        }
    )


def write_parquet(
    db: DuckDBPyConnection, path: Path, columns: Sequence[RowColumn], rows: Sequence[Sequence[Any]]
) -> None:
    """Write a batch of rows as a file of its own."""
    db.register("batch", arrow_table(columns, rows))
    db.execute(f"COPY batch TO '{quoted(path)}' {PARQUET}")
    db.unregister("batch")


def quoted(path: Path | str) -> str:
    """A path as it stands between the quotes of an SQL text."""
    return str(path).replace("'", "''")


_WRITERS: dict[str, Callable[[Path, Sequence[RowColumn]], _RowWriter]] = {
    ".csv": _CsvRows,
    ".jsonl": _JsonRows,
    ".parquet": _ParquetRows,
}


# --- inside


def _arrow_array(kind: RowKind, values: Sequence[Any]) -> Array:
    from arro3.core import Array  # noqa: PLC0415 - an extra

    if kind == "time":
        return Array(values, type=_arrow_type("integer")).cast(_arrow_type("time"))
    try:
        return Array(values, type=_arrow_type(kind))
    except UnicodeEncodeError:  # as in CSV
        texts = [value and value.encode("utf-8", "backslashreplace").decode() for value in values]
        return Array(texts, type=_arrow_type(kind))


def _arrow_type(kind: RowKind) -> DataType:
    from arro3.core import DataType  # noqa: PLC0415 - an extra

    types: dict[RowKind, DataType] = {
        "text": DataType.utf8(),
        "integer": DataType.int64(),
        "number": DataType.float64(),
        "time": DataType.timestamp("ms", tz="UTC"),
        "boolean": DataType.bool(),
    }
    return types[kind]


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package above it
        return False


def _target(path: Path) -> Path:
    """The file itself where the path is a link. Raises OSError."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    return target


def _folder_beside(target: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", dir=target.parent))


def _is_duckdb_s(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in {"duckdb", "_duckdb"}


def _error(path: Path, why: str) -> OutputFileError:
    return OutputFileError(
        f"{path} cannot be written: {why}. Nothing is left of it, and a file that was there before is unchanged. Give "
        "a path in a folder that exists, that this user may write to, and that has room."
    )
