"""What a check has found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "warning", "error"]
"""An error stops the start, or makes calls fail or wrong; a warning should be known, and is no obstacle."""


class Check(NamedTuple):
    """One thing that a person should know, with what to do about it.

    Attributes:
        name: what was looked at, in a word or two; several of what was found may have one name.
        found: in words, with what follows from it.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    level: Level
    found: str
    remedy: str = ""

    @property
    def words(self) -> str:
        """Both, for a log line or an error."""
        return f"{self.found}: {self.remedy}" if self.remedy else self.found


def not_looked_at(name: str, why: str) -> Check:
    """That something could not be looked at, which is told where the cause is, and is no error of its own."""
    return Check(name, "warning", f"not looked at: {why}")


def errors_of(checks: Iterable[Check]) -> list[str]:
    """The errors among these, in words."""
    return [check.words for check in checks if check.level == "error"]


def or_else(checks: Iterable[Check], well: Check) -> Iterator[Check]:
    """These, or that all is well where there are none."""
    there = False
    for check in checks:
        there = True
        yield check
    if not there:
        yield well
