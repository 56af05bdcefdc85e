"""`opt-out doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..output import OutputFormat, is_terminal, show
from .options import Config, loaded

# ruff: noqa: PLC0415 - see the room


def doctor(
    config: Config = None,
    output: OutputFormat = "table",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
) -> None:
    """Check everything that can be known before a start. Calls, joins, commits and writes nothing.

    Each line is ok, warning or error, with what was found and what to do.
    Each check takes 10 s at the most. Exits 1 if there is an error.
    It may be made while the service runs, too.

    Example:

        opt-out doctor --config opt-out.toml
        opt-out doctor --output json | jq '.checks[] | select(.level != "ok")'
    """
    from ..logs import configure_logs

    settings = loaded(config, for_api=True).settings
    # What the parts that are asked would log they tell by what is found.
    configure_logs(settings.log.model_copy(update={"level": "error", "format": "console"}))
    from ..checks.doctor import Doctor
    from ..checks.show import document, in_words, summary
    from ..kafka.causes import Causes
    from ..runtime.tasks import rules_of

    in_lines = output == "table" and not as_json
    found = []
    for check in Doctor(settings, rules_of(settings.join), Causes(settings.kafka, logs=False)).examine():
        found.append(check)
        if in_lines:  # each as it is found: some take seconds
            typer.echo(in_words(check, coloured=is_terminal()))
    if in_lines:
        typer.echo(summary(found))
    else:
        show(document(found), "json")
    raise typer.Exit(1 if any(check.level == "error" for check in found) else 0)
