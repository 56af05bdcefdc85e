"""`opt-out export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..output import OutputFormat, show
from .options import Config, loaded
from .time_range import From, To, days_of, end_in_order

# ruff: noqa: PLC0415 - see the room


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the days' folders are; made if it is missing.")],
    begin: From,
    end: To,
    config: Config = None,
    output: OutputFormat = "table",
) -> None:
    """Write the outcomes of whole days as Parquet files, for any engine.

    DuckDB, Spark, Trino, ClickHouse and BigQuery read them. DIR gets a
    folder day=2026-11-01 for each day (UTC) on which offers were presented. One
    that is there is replaced as a whole, so that a day may be exported again
    once open offers are settled. Reads the topic of outcomes, joins no group
    and writes nothing to it. Exits 1 if outcomes may be missing.

    Example:

        opt-out export --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z outcomes/
    """
    from ..logs import hide_in_default_log
    from ..row_file import require_evidence

    wanted = days_of(begin, end)
    require_evidence("an export")
    settings = loaded(config).settings
    hide_in_default_log()
    end_in_order()
    from ..evidence.export import document
    from ..evidence.export import export as write
    from ..evidence.outcome_parts import TimeRange
    from ..kafka.causes import Causes

    causes = Causes(settings.kafka, logs=False)
    with causes.explained():
        done = write(settings.kafka, causes, TimeRange(*wanted), folder)
    show(document(done), output)
    raise typer.Exit(1 if done.missing else 0)
