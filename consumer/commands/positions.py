"""`opt-out positions`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ..output import OutputFormat, show
from .options import Config, loaded

# ruff: noqa: PLC0415 - see the room


def positions(
    config: Config = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Say yes to what is there, so that a start goes on; says what that costs.")
    ] = False,
    reset_to: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Go back to the offers of this time; never forward.", show_default=False),
    ] = None,
    output: OutputFormat = "table",
) -> None:
    """Show in words what the group has committed, and whether a start would go on from it.

    Exits 0 if it would, 1 if it would be refused. That only reads, and may be
    done while the service runs. To change positions, stop all instances first.

    --accept keeps what is known and gives up the rest: offers are called once
    more, or dead-lettered as late where their checkouts may be gone.
    --reset-to reads the offers from TIME on again, and calls those not bought
    once more; their checkouts are read from before that.

    Example:

        opt-out positions --config opt-out.toml
        opt-out positions --accept
        opt-out positions --reset-to 2026-11-01T00:00:00Z
    """
    if accept and reset_to is not None:
        raise typer.BadParameter("--accept says yes to what is there; leave one of them out", param_hint="--reset-to")
    from ..logs import hide_in_default_log
    from ..settings.kafka import read_moment

    moment = None if reset_to is None else read_moment(reset_to)
    if reset_to is not None and moment is None:
        raise typer.BadParameter("must be a time with its zone such as 2026-11-01T00:00:00Z", param_hint="--reset-to")
    settings = loaded(config).settings
    hide_in_default_log()
    from ..checks.positions import PositionsCommand, changes_document
    from ..kafka.causes import Causes
    from ..runtime.tasks import rules_of

    causes = Causes(settings.kafka, logs=False)
    with causes.explained(), closing(PositionsCommand(settings, rules_of(settings.join), causes)) as command:
        if accept or moment is not None:
            changes = command.accept() if moment is None else command.reset_to(int(moment.timestamp() * 1000))
            show(changes_document(changes), output)
            return
        report = command.show()
    show(report.document, output)
    raise typer.Exit(1 if report.refused else 0)
