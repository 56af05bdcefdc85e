"""The charts of the report's page: SVG whose places are shares of its width, and labels that are text of the page.

So a chart fits a wide screen, a narrow one and a sheet of paper, and its letters keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple, TypeVar

from ..markup import Html, joined, tag

T = TypeVar("T")

MOST_ROWS = 40
"""Groups that a chart shows; more are for the table alone."""

MOST_DAYS = 400
"""Days between the first and the last that are shown without a gap."""

_HEIGHT = 160.0
"""Of the columns of a chart over days, in pixels."""


class Share(NamedTuple):
    """A group with its share and the interval of that, each from 0 to 1."""

    label: str
    share: float
    low: float
    high: float
    words: str


class Bar(NamedTuple):
    """A length with its label and what is written behind it."""

    label: str
    value: int
    words: str


class Stack(NamedTuple):
    """A day with two counts, one upon the other."""

    day: str
    lower: int
    upper: int


def shares_chart(shares: Sequence[Share]) -> Html:
    """A row a group: a dot for its share, and a line for the interval around it."""
    top, step = _axis(max(share.high for share in shares), whole=False)
    top = min(top, 1.0)
    ticks = [tick * step for tick in range(round(top / step) + 1)]

    def place(value: float) -> str:
        return f"{100 * value / top:.3f}%"

    grid = [tag("line", x1=place(tick), x2=place(tick), y1="0", y2="100%", class_="grid") for tick in ticks]
    rows = [
        _row(
            share.label,
            tag(
                "svg",
                *grid,
                tag("line", x1=place(share.low), x2=place(share.high), y1="50%", y2="50%", class_="whisker"),
                *(
                    tag("line", x1=place(end), x2=place(end), y1="25%", y2="75%", class_="whisker")
                    for end in share[2:4]
                ),
                tag("circle", cx=place(share.share), cy="50%", r="4.5", class_="dot"),
                role="img",
                aria_label=f"{share.label}: {share.words}",
            ),
            share.words,
        )
        for share in shares
    ]
    labels = [tag("span", f"{100 * tick:.6g} %", style=f"left:{100 * tick / top:.3f}%") for tick in _thinned(ticks, 6)]
    return tag("div", *rows, _row("", tag("div", *labels, class_="axis"), ""), class_="rows")


def bars_chart(bars: Sequence[Bar]) -> Html:
    """A row a bar."""
    most = max(bar.value for bar in bars) or 1
    return tag(
        "div",
        *(
            _row(
                bar.label,
                tag(
                    "svg",
                    tag("rect", x="0", y="20%", width=f"{100 * bar.value / most:.3f}%", height="60%", class_="first"),
                    role="img",
                    aria_label=f"{bar.label}: {bar.words}",
                ),
                bar.words,
            )
            for bar in bars
        ),
        class_="rows",
    )


def days_chart(stacks: Sequence[Stack]) -> Html:
    """A column a day; days between that have none are shown as such."""
    stacks = _without_gaps(stacks)
    top, step = _axis(max(stack.lower + stack.upper for stack in stacks), whole=True)
    width = 100 / len(stacks)
    bar = min(0.8 * width, 8.0)

    def height(value: float) -> float:
        return _HEIGHT * value / top

    ticks = [tick * step for tick in range(round(top / step) + 1)]
    grid = [
        joined(
            tag("line", x1="0", x2="100%", y1=_y(height(tick)), y2=_y(height(tick)), class_="grid"),
            tag("text", f"{tick:,.0f}", x="-8", y=_y(height(tick) - 4), class_="tick"),
        )
        for tick in ticks
    ]
    columns = []
    for number, stack in enumerate(stacks):
        x = f"{(number + 0.5) * width - bar / 2:.3f}%"
        for value, below, name in ((stack.lower, 0, "first"), (stack.upper, stack.lower, "second")):
            if value:
                tall = height(value)
                columns.append(
                    tag("rect", x=x, width=f"{bar:.3f}%", y=_y(height(below) + tall), height=f"{tall:.2f}", class_=name)
                )
    labels = [
        tag("span", stacks[number].day, style=f"left:{(number + 0.5) * width:.3f}%")
        for number in _thinned(range(len(stacks)), 7)
    ]
    words = f"from {stacks[0].day} to {stacks[-1].day}, at most {max(s.lower + s.upper for s in stacks):,} a day"
    chart = tag("svg", *grid, *columns, height=f"{_HEIGHT + 24:.0f}", role="img", aria_label=words)
    return tag("div", chart, tag("div", *labels, class_="axis days"), class_="columns")


def _row(label: str, chart: Html, words: str) -> Html:
    return tag("div", tag("span", label, class_="label"), chart, tag("span", words, class_="words"), class_="row")


def _y(above: float) -> str:
    """The place of what stands so many pixels above the base line."""
    return f"{_HEIGHT + 20 - above:.2f}"


def _axis(most: float, *, whole: bool) -> tuple[float, float]:
    """The end of an axis that holds `most`, and the step between its ticks: 1, 2 or 5 times a power of ten."""
    least = 1.0 if whole else 0.001
    rough = max(most / 5, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return max(1, math.ceil(most / step - 1e-9)) * step, step


def _thinned(items: Sequence[T], most: int) -> list[T]:
    """Every second one, or third and so on, so that no more than `most` are left."""
    return list(items[:: max(1, math.ceil(len(items) / most))])


def _without_gaps(stacks: Sequence[Stack]) -> list[Stack]:
    days = {stack.day: stack for stack in stacks}
    first, last = date.fromisoformat(stacks[0].day), date.fromisoformat(stacks[-1].day)
    if (last - first).days > MOST_DAYS:
        return list(stacks)
    names = [(first + timedelta(number)).isoformat() for number in range((last - first).days + 1)]
    return [days.get(name, Stack(name, 0, 0)) for name in names]
