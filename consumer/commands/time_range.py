"""The options of commands that go by a range of time."""

from __future__ import annotations

import signal
import time
from typing import Annotated, TypeAlias

import typer

From: TypeAlias = Annotated[
    str, typer.Option("--from", metavar="TIME", help="The first time, with its zone.", show_default=False)
]
To: TypeAlias = Annotated[
    str,
    typer.Option(
        "--to", metavar="TIME", help="The time behind the last; it does not belong to the range.", show_default=False
    ),
]

_DAY_MS = 86_400_000

# ruff: noqa: PLC0415 - see the room


def range_of(begin: str, end: str) -> tuple[int, int]:
    """Both times in ms, the second excluded.

    Raises:
        typer.BadParameter: they are no times, or no range that may have been.
    """
    first, last = _moment(begin, "--from"), _moment(end, "--to")
    if first >= last:
        raise typer.BadParameter(f"--from must be before --to; {begin} is not before {end}", param_hint="--from")
    if first > time.time() * 1000:
        raise typer.BadParameter(f"{begin} lies in the future: nothing was presented yet", param_hint="--from")
    return first, last


def days_of(begin: str, end: str) -> tuple[int, int]:
    """The same for whole days in UTC.

    Raises:
        typer.BadParameter: see `range_of`; or one of them is no midnight.
    """
    wanted = range_of(begin, end)
    for moment, text, option in zip(wanted, (begin, end), ("--from", "--to"), strict=True):
        if moment % _DAY_MS:
            raise typer.BadParameter(f"{text} must be a midnight in UTC: a day is written whole", param_hint=option)
    return wanted


def end_in_order() -> None:
    """End on SIGTERM as on Ctrl-C, so that the files of the work and the processes that read end, too."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _moment(text: str, option: str) -> int:
    from ..settings.kafka import read_moment

    moment = read_moment(text)
    if moment is None:
        raise typer.BadParameter("must be a time with its zone such as 2026-11-01T00:00:00Z", param_hint=option)
    return round(moment.timestamp() * 1000)
