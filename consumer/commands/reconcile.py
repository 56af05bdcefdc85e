"""`opt-out reconcile`."""

from __future__ import annotations

import sys

import typer

from ..output import OutputFormat, show
from .options import Config, loaded
from .time_range import From, To, range_of

# ruff: noqa: PLC0415 - see the room


def reconcile(begin: From, end: To, config: Config = None, output: OutputFormat = "table") -> None:
    """Hold the outcomes against the inputs, and list each exception.

    Decides the offers that were presented in a range of time once more, by a
    reference that shares no code with the service, and shows that presented =
    bought + opted out + … + open. An exception is listed with its records: no
    outcome, two different ones, called though bought, bought after the call,
    one offer in two sessions, an outcome that no presentation explains.

    May be run beside the deployment and from cron. It joins no group, commits
    nothing and writes nothing to Kafka. Exits 0 without an exception, 1 with
    one, 3 if there is none but retention leaves something open.

    Example:

        opt-out reconcile --from 2026-11-01T00:00:00Z --to 2026-11-02T00:00:00Z
        opt-out reconcile --from … --to … --output json | jq .exceptions
    """
    wanted = range_of(begin, end)
    from ..logs import hide_in_default_log

    settings = loaded(config).settings
    hide_in_default_log()
    from ..evidence.outcome_parts import TimeRange
    from ..evidence.reconciling import document, reconcile_range
    from ..kafka.causes import Causes

    causes = Causes(settings.kafka, logs=False)
    with causes.explained():
        result = reconcile_range(settings, causes, TimeRange(*wanted), _tell if _is_watched() else None)
    show(document(result), output)
    raise typer.Exit(result.exit_code)


def _is_watched() -> bool:
    """Whether a person sees standard error: cron would send them each line by mail."""
    return sys.stderr is not None and sys.stderr.isatty()


def _tell(line: str) -> None:
    typer.echo(line, err=True)
