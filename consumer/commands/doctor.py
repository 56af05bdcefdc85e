"""`opt-out doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..output import is_terminal
from .options import Config, loaded

# ruff: noqa: PLC0415 - see the room


def doctor(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document: the checks, and their counts.")] = False,
) -> None:
    """Check everything that can be known before a start. Calls, joins, commits and writes nothing.

    Each line is ok, warning or error, with what was found and what to do.
    Each check takes 10 s at the most. Exits 1 if there is an error.
    It may be made while the service runs, too.

    Example:

        opt-out doctor --config opt-out.toml
        opt-out doctor --json | jq '.checks[] | select(.level != "ok")'
    """
    from ..logs import configure_logs

    settings = loaded(config, for_api=True).settings
    # What the parts that are asked would log they tell by what is found.
    configure_logs(settings.log.model_copy(update={"level": "error", "format": "console"}))
    from ..checks.doctor import Doctor
    from ..checks.show import as_json as document
    from ..checks.show import in_words, summary
    from ..kafka.causes import Causes
    from ..runtime.tasks import rules_of

    found = []
    for check in Doctor(settings, rules_of(settings.join), Causes(settings.kafka, logs=False)).examine():
        found.append(check)
        if not as_json:
            typer.echo(in_words(check, coloured=is_terminal()))
    typer.echo(document(found) if as_json else summary(found))
    raise typer.Exit(1 if any(check.level == "error" for check in found) else 0)
