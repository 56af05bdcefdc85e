"""Rows of the one table that `make bench` ends with: each program adds its own, the last one shows all of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

FILE = "BENCH_ROWS"
"""The environment variable that names the file of the rows; where it is not set, they are printed only."""


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        name: what is measured, and against what.
        ratio: to its baseline of the same run; empty where there is none.
        figures: what the ratio was made of, with units.
        reach: what is wanted.
        met: None where nothing is wanted.
    """

    name: str
    ratio: str
    figures: str
    reach: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """Whether it is met, in a word."""
        return "" if self.met is None else "met" if self.met else "not met"


def add(*rows: Row) -> None:
    """Print them, and keep them for the table."""
    for row in rows:
        print(f"{row.ratio or '-':>10}  {row.name}: {row.figures}; reach {row.reach}: {row.verdict}", flush=True)
    if name := os.environ.get(FILE):
        with Path(name).open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)


def read(file: Path) -> list[Row]:
    """All that were added."""
    return [Row(*json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def table_of(rows: Iterable[Row]) -> Table:
    """For a terminal."""
    table = Table(title="ratios are to the baseline of the same run")
    for heading in ("ratio", "what", "figures", "reach", ""):
        table.add_column(heading, justify="right" if heading == "ratio" else "left", overflow="fold")
    for row in rows:
        table.add_row(row.ratio, row.name, row.figures, row.reach, row.verdict)
    return table


def markdown_of(rows: Iterable[Row]) -> str:
    """For the manual."""
    lines = ["| what | ratio | figures | reach | |", "|---|---|---|---|---|"]
    lines += [f"| {row.name} | {row.ratio} | {row.figures} | {row.reach} | {row.verdict} |" for row in rows]
    return "\n".join(lines)
