"""Checks for people, a line each, and for programs, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

import click

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


def as_json(checks: Sequence[Check]) -> str:
    """One document: what was found, and how many there are of each level."""
    return json.dumps({"checks": [check._asdict() for check in checks], "counts": counts(checks)}, ensure_ascii=False)
