"""`opt-out report`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .options import Config, loaded
from .time_range import From, To, end_in_order, range_of

if TYPE_CHECKING:
    from ..evidence.figures import By
    from ..evidence.report import Report

# ruff: noqa: PLC0415 - see the room

_Form = Literal["table", "json", "csv", "parquet", "html"]


def report(
    begin: From,
    end: To,
    config: Config = None,
    by: Annotated[
        str, typer.Option(metavar="NAMES", help="Of partner, product, country, day: what to group by, or none.")
    ] = "partner",
    output: Annotated[
        _Form, typer.Option("--output", "-o", help="As what; html is one page to read and to print.")
    ] = "table",
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write there, complete or not at all; Parquet needs it.", show_default=False),
    ] = None,
) -> None:
    """Show what became of the offers that were presented in a range of time.

    Counts each offer of a session once, at the time of its last presentation:
    bought, opted out, not found, ignored, dead-lettered, released, and open if
    it has no outcome yet; with the conversion and its 95 % interval. Reads the
    topics, joins no group and writes nothing to them. Exits 1 if outcomes of
    the range may be missing, and says which.

    Example:

        opt-out report --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z
        opt-out report --from … --to … --by partner,day --output csv > days.csv
        opt-out report --from … --to … --output html > november.html
    """
    from ..row_file import check_file, check_row_file, require_evidence

    wanted, groups = range_of(begin, end), _groups(by)
    if output == "parquet" and file is None:
        raise typer.BadParameter("Parquet needs a file: give --file report.parquet", param_hint="--output")
    if file is not None and output in ("csv", "parquet"):
        if file.suffix != f".{output}":
            raise typer.BadParameter(f"{file} must end in .{output}, as --output says", param_hint="--file")
        check_row_file(file)
    elif file is not None:
        check_file(file)
    require_evidence("a report")
    from ..logs import hide_in_default_log

    settings = loaded(config).settings
    hide_in_default_log()
    end_in_order()
    from ..evidence.outcome_parts import TimeRange
    from ..evidence.report import make_report
    from ..kafka.causes import Causes

    causes = Causes(settings.kafka, logs=False)
    with causes.explained():
        made = make_report(settings, causes, TimeRange(*wanted), groups)
    _show(made, output, file)
    if output not in {"table", "json"}:  # those have them as notes
        for why in made.missing:
            typer.echo(f"opt-out: {why}", err=True)
    raise typer.Exit(1 if made.missing else 0)


def _groups(by: str) -> tuple[By, ...]:
    from ..evidence.figures import BY

    names = [] if by.strip() in ("", "none") else [name.strip() for name in by.split(",")]
    if wrong := [name for name in names if name not in BY]:
        raise typer.BadParameter(f"{wrong[0]!r} is none of {', '.join(BY)}", param_hint="--by")
    return tuple(name for name in dict.fromkeys(names) if name in BY)


def _show(made: Report, output: _Form, file: Path | None) -> None:
    from ..evidence.report import columns_of, document, rows_of
    from ..output import as_json, plain_lines, show
    from ..printable import visible
    from ..row_file import row_file, write_csv, write_text

    if output in ("csv", "parquet"):
        if file is None:
            text = io.StringIO()
            write_csv(text, columns_of(made.by), rows_of(made))
            _print(text.getvalue())
            return
        with row_file(file, columns_of(made.by)) as write:
            for row in rows_of(made):
                write(row)
    elif output == "html":
        from ..evidence.page import page

        if file is None:
            _print(page(made))
        else:
            write_text(file, page(made))
    elif file is None:
        show(document(made), "json" if output == "json" else "table")
    elif output == "json":
        write_text(file, as_json(document(made)) + "\n")
    else:
        shown = document(made)
        lines = [line for table in shown.tables.values() for line in plain_lines(table)]
        write_text(file, "\n".join([*lines, "", *map(visible, shown.notes)]) + "\n")


def _print(text: str) -> None:
    """A file on standard output: in UTF-8, as the page itself says, whatever the locale is."""
    typer.echo(text.encode("utf-8", "backslashreplace"), nl=False)
