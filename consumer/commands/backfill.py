"""`opt-out backfill`."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..row_file import check_row_file
from .options import Config, loaded, loaded_for_a_run

if TYPE_CHECKING:
    from ..backfill.scope import Offsets
    from ..settings import Settings

# ruff: noqa: PLC0415 - see the room

OPEN = 3
"""Exit code: something of the range is not settled."""

RATE = 2.0
"""Calls a second by default: of the 20 that the API allows a key, the deployment takes 10, and the partner's other
calls need some."""


def backfill(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Names the backfill, and its group.")],
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="A time with its zone, or 0:1200,1:980 (offsets).")
    ],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The same; it is not in the range itself.")],
    config: Config = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Calls a second, beside those of the deployment.")] = RATE,
    force: Annotated[
        bool, typer.Option("--force", help="Settle again what has an outcome, but for what is bought.")
    ] = False,
    allow_gaps: Annotated[
        bool, typer.Option("--allow-gaps", help="Go on though a part of the log is gone: dead-letter what it hides.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Decide all of it; call, commit and write nothing.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="join.NAME=VALUE", help="With --dry-run: compare with other rules."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", callback=check_row_file, help="With --dry-run: the calls, as .csv, .jsonl or .parquet."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON document.")] = False,
) -> None:
    """Settle the offers of a range of the past: those presented last at or after --from and before --to.

    The deployment's own loop reads the range again, in the group
    <kafka.group_id>.backfill.NAME: it may be stopped and gone on with, run on
    several machines at once, and it touches no offset of the deployment.
    What has an outcome already is skipped. Exits 0 once all of the range is
    settled, 3 if some is open or a part of the log is gone.

    --dry-run says what would happen, and how that differs from what
    offer.outcome tells; with --set, what other rules would change.

    Example:

        opt-out backfill november --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --dry-run
        opt-out backfill november --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z --rate 5
        opt-out backfill try --from … --to … --dry-run --set join.window=15m --output calls.parquet
    """
    from ..backfill.run import NAME
    from ..backfill.scope import read_bound

    if not NAME.fullmatch(name):
        raise typer.BadParameter("must be letters, digits, dots, hyphens and underscores, 80 at the most")
    bounds = []
    for option, text in (("--from", begin), ("--to", end)):
        bound = read_bound(text)
        if bound is None:
            example = "a time with its zone such as 2026-11-01T00:00:00Z, or an offset for each partition: 0:1200,1:980"
            raise typer.BadParameter(f"must be {example}", param_hint=option)
        bounds.append(bound)
    if not dry_run and (changes or output is not None):
        raise typer.BadParameter("goes with --dry-run", param_hint="--set" if changes else "--output")
    if dry_run:
        _rehearse(name, bounds, config, changes or [], output, force=force, allow_gaps=allow_gaps, as_json=as_json)
    _run(name, bounds, config, rate, force=force, allow_gaps=allow_gaps, as_json=as_json)


def _run(
    name: str,
    bounds: list[datetime | Offsets],
    config: Path | None,
    rate: float,
    *,
    force: bool,
    allow_gaps: bool,
    as_json: bool,
) -> None:
    from functools import partial

    from ..backfill.progress import is_terminal
    from ..backfill.run import Order, run
    from ..backfill.summary import of_run
    from ..output import show
    from ..settings import read_kafka

    found = loaded_for_a_run(config)
    _configure_logs(found.settings)
    order = Order(name=name, begin=bounds[0], end=bounds[1], force=force, allow_gaps=allow_gaps, bar=is_terminal())
    report = run(found, order, rate, partial(read_kafka, config))
    show(of_run(report), "json" if as_json else "table")
    raise typer.Exit(0 if report.is_complete else OPEN)


def _rehearse(
    name: str,
    bounds: list[datetime | Offsets],
    config: Path | None,
    changes: list[str],
    output: Path | None,
    *,
    force: bool,
    allow_gaps: bool,
    as_json: bool,
) -> None:
    from ..backfill.progress import is_terminal
    from ..backfill.run import Order
    from ..backfill.summary import of_rehearsals
    from ..backfill.what_if import rehearse
    from ..output import show

    settings = loaded(config).settings
    changed = _changed(config, changes) if changes else None
    _configure_logs(settings)
    order = Order(name=name, begin=bounds[0], end=bounds[1], force=force, allow_gaps=allow_gaps, bar=is_terminal())
    rehearsals = rehearse(settings, changed, order, output)
    show(of_rehearsals(rehearsals, changes), "json" if as_json else "table")
    raise typer.Exit(0 if all(one.is_complete for one in rehearsals) else OPEN)


def _changed(config: Path | None, changes: list[str]) -> Settings:
    """The settings with these over them.

    Raises:
        SettingsError: they are wrong.
    """
    from ..settings import load
    from ..settings.model import known_names, variable_of

    environ = dict(os.environ)
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name.startswith("join.") or name not in known_names():
            known = ", ".join(known for known in known_names() if known.startswith("join."))
            raise typer.BadParameter(f"{change}: must be one of {known}, then = and a value", param_hint="--set")
        environ[variable_of(name)] = value
    return load(config, environ, for_kafka=True).settings


def _configure_logs(settings: Settings) -> None:
    """In a terminal a bar says how far it is: of the log only what wants attention."""
    from ..backfill.progress import is_terminal
    from ..logs import configure_logs

    quiet = {"level": "warning", "format": "console"} if is_terminal() else {}
    configure_logs(settings.log.model_copy(update=quiet))
