"""Checks for people, a line or two each, and for programs, as a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

import click

from ..output import Column, Document, TableShown
from .check import Check, Level

_COLOURS: dict[Level, str] = {"ok": "green", "warning": "yellow", "error": "red"}
_INDENT = "         "
"""As wide as the longest level and two blanks."""


def in_words(check: Check, *, coloured: bool) -> str:
    """Its level, its name and what was found; below it what to do."""
    level = f"{check.level:<7}"
    shown = click.style(level, fg=_COLOURS[check.level]) if coloured else level
    lines = [f"{check.name}: {check.found}", *([f"to do: {check.remedy}"] if check.remedy else [])]
    return f"{shown}  " + "\n".join(lines).replace("\n", f"\n{_INDENT}")


def counts(checks: Iterable[Check]) -> dict[Level, int]:
    """How many there are of each level."""
    found = Counter(check.level for check in checks)
    return {level: found[level] for level in get_args(Level)}


def summary(checks: Iterable[Check]) -> str:
    """The last line."""
    found = counts(checks)
    return ", ".join(f"{n} {level}{'s' * (level != 'ok' and n != 1)}" for level, n in found.items())


def document(checks: Sequence[Check]) -> Document:
    """For programs: what was found, and how many there are of each level."""
    columns = [Column(name, name) for name in Check._fields]
    return Document({"checks": TableShown("Checks", columns, checks)}, {"counts": counts(checks)})
