"""What a command shows: tables for a terminal, plain columns for grep and awk, or one JSON document for programs.

Where the output is no terminal, columns stand apart by two blanks at least, nothing is cut or folded, and there is
neither a box nor a colour. In a terminal a table has a box, and what is too wide for it is folded.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, TypeAlias

import typer

from .printable import visible

if TYPE_CHECKING:
    from rich.console import Console

OutputFormat: TypeAlias = Annotated[
    Literal["table", "json"],
    typer.Option("--output", "-o", help="A table, or one JSON document with the same in it."),
]
"""The option of every command that shows a table."""

NOTHING = "-"
"""What stands for an empty cell between plain columns, so that those behind it keep their number."""


MANY, FEW = 8, 4
"""A table of more columns than that, which does not fit, is turned if it has few rows: its columns become rows."""


class Column(NamedTuple):
    """A column: its name in JSON, and its heading. Without a heading it is in JSON only."""

    key: str
    heading: str | None = None
    is_number: bool = False


class Cell(NamedTuple):
    """A value that people read as other words than programs do, such as `none` for null."""

    text: str
    value: object


@dataclass(frozen=True, slots=True)
class TableShown:
    """A table: of each row the values in the order of the columns, each a `Cell` or what JSON has.

    `title` and `caption` are shown in a terminal only.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """All that a command shows.

    Attributes:
        tables: by their names in JSON.
        facts: what is in JSON only, since people read it in the tables or in the notes.
        notes: sentences, below the tables.
    """

    tables: Mapping[str, TableShown]
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()


def show(document: Document, form: Literal["table", "json"]) -> None:
    """Write a document to standard output."""
    if form == "json":
        typer.echo(as_json(document))
        return
    if document.tables and is_terminal():
        from rich.console import Console  # noqa: PLC0415 - slow to load, and programs need none of it

        print_boxed(document, Console())
    elif document.tables:
        typer.echo("\n\n".join("\n".join(plain_lines(table)) for table in document.tables.values()))
        if document.notes:
            typer.echo()
    for note in document.notes:
        typer.echo(visible(note))


def is_terminal() -> bool:
    """Whether a person reads standard output. It is None where whoever started this closed it."""
    return sys.stdout is not None and sys.stdout.isatty()


def as_json(document: Document) -> str:
    """The document as JSON, in ASCII, so that it can be read whatever the locale is."""
    tables = {
        name: [
            {column.key: _value(cell) for column, cell in zip(table.columns, row, strict=True)} for row in table.rows
        ]
        for name, table in document.tables.items()
    }
    return json.dumps({**tables, **document.facts, "notes": list(document.notes)}, indent=2)


def plain_lines(table: TableShown) -> Iterator[str]:
    """The headings and the rows. A cell has no two blanks in a row, so that two of them part the columns."""
    columns, rows = _shown(table)
    lines = [[column.heading or "" for column in columns], *rows]
    lines = [[visible(" ".join(text.split())) or NOTHING for text in line] for line in lines]
    widths = [max(map(len, texts)) for texts in zip(*lines, strict=True)]
    for line in lines:
        padded = [
            text.rjust(width) if column.is_number else text.ljust(width)
            for column, width, text in zip(columns, widths, line, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def print_boxed(document: Document, console: Console) -> None:
    """Print the tables as a person reads them: folded to the console's width, or turned where that would cut words."""
    from rich.markup import escape  # noqa: PLC0415 - as in `show`
    from rich.table import Table  # noqa: PLC0415 - as in `show`

    for table in document.tables.values():
        columns, texts = _shown(table)
        rows = [[visible(text) for text in row] for row in texts]
        title, caption = escape(visible(table.title)), escape(visible(table.caption))
        if _is_too_wide(columns, rows, console.width) and len(rows) <= FEW:
            turned = Table(title=title, caption=caption, show_header=False)
            for column, *cells in zip(columns, *rows, strict=True):
                turned.add_row(escape(column.heading or ""), *map(escape, cells))
            console.print(turned)
            continue
        boxed = Table(title=title, caption=caption, row_styles=["", "dim"])
        for number, column in enumerate(columns):
            boxed.add_column(
                column.heading or "",
                justify="right" if column.is_number else "left",
                overflow="fold",
                # The name of a row is folded only where it would leave no room for the rest.
                no_wrap=number == 0 and max((len(row[0]) for row in rows), default=0) <= console.width // 3,
            )
        for row in rows:
            boxed.add_row(*map(escape, row))
        console.print(boxed)


def _is_too_wide(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether it has many columns, and more than fit side by side."""
    wanted = [max(map(len, cells)) for cells in zip([column.heading or "" for column in columns], *rows, strict=True)]
    return len(columns) > MANY and sum(wanted) + 3 * len(columns) + 1 > width


def _shown(table: TableShown) -> tuple[list[Column], list[list[str]]]:
    """The columns that people read, and the rows as texts."""
    shown = [number for number, column in enumerate(table.columns) if column.heading is not None]
    return [table.columns[at] for at in shown], [[_text(row[at]) for at in shown] for row in table.rows]


def _text(cell: object) -> str:
    if isinstance(cell, Cell):
        return cell.text
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return "" if cell is None else str(cell)


def _value(cell: object) -> object:
    return cell.value if isinstance(cell, Cell) else cell
