"""The small charts of the status page: a column a minute, as SVG whose places are shares of its width.

What is counted apart is hatched as well as of another colour, and the figures stand beside the chart in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..markup import Html, tag
from .history import MINUTE, MINUTES

HEIGHT = 56.0
"""Pixels of the highest column."""


class MinuteColumn(NamedTuple):
    """A minute: when it began (ms), two counts one upon the other, and what is said of it."""

    begin: int
    lower: int
    upper: int
    words: str


def minutes_chart(columns: Sequence[MinuteColumn], end: int, label: str) -> Html:
    """The hour before `end`, the begin of the newest minute (ms). What was before the first column is left blank."""
    most = max((column.lower + column.upper for column in columns), default=0) or 1
    width = 100 / MINUTES
    bars: list[Html] = []
    for column in columns:
        place = MINUTES - 1 - (end - column.begin) // MINUTE
        if not 0 <= place < MINUTES:
            continue
        below = 0.0
        for count, name in ((column.lower, "first"), (column.upper, "second")):
            if count:
                tall = max(1.5, HEIGHT * count / most)
                bars.append(
                    tag(
                        "rect",
                        tag("title", column.words),
                        x=f"{place * width + 0.12 * width:.3f}%",
                        width=f"{0.76 * width:.3f}%",
                        y=f"{HEIGHT - below - tall:.2f}",
                        height=f"{tall:.2f}",
                        class_=name,
                    )
                )
                below += tall
    base = tag("line", x1="0", x2="100%", y1=f"{HEIGHT}", y2=f"{HEIGHT}", class_="grid")
    return tag("svg", *bars, base, height=f"{HEIGHT + 1:.0f}", role="img", aria_label=label)


def hatching() -> Html:
    """What `second` is filled with; it stands once on a page, before its charts."""
    line = tag("line", x1="0", y1="0", x2="0", y2="4", class_="hatch")
    background = tag("rect", width="4", height="4", class_="hatched")
    pattern = tag(
        "pattern",
        background,
        line,
        id="hatching",
        width="4",
        height="4",
        patternUnits="userSpaceOnUse",
        patternTransform="rotate(45)",
    )
    return tag("svg", tag("defs", pattern), width="0", height="0", class_="definitions", aria_hidden="true")
