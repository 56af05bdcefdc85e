"""What a check has found."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Check(NamedTuple):
    """One thing that a person should know, with what to do about it.

    Attributes:
        level: a `problem` stops the start; a `note` is told, and is no obstacle.
        words: what was found, and the remedy where there is one.
    """

    level: Literal["problem", "note"]
    words: str
