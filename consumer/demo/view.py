"""What the demo shows: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..audit.calls import Judgement, in_words
from .progress import Progress

_LINE_EVERY_S = 2.0
_STYLES = {"opted out": "green", "retried": "yellow", "unsettled": "cyan"}


class View:
    """The demo's screen. `console` decides whether it is a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=10) if console.is_terminal else None
        self._spinner = Spinner("dots", style="cyan")
        self._waits_for = ""
        self._began = time.monotonic()
        self._next_line = 0.0

    def live(self) -> AbstractContextManager[object]:
        """For as long as this lasts, `update` draws over what it drew before (on a terminal)."""
        return self._live if self._live is not None else nullcontext()

    def say(self, text: str, style: str = "") -> None:
        """A line that stays, with the time since the beginning."""
        # Text, not markup: a path in brackets is no style.
        self._console.print(
            Text(f"{self.seconds:5.1f} s  {text}", style=style), soft_wrap=not self._console.is_terminal
        )

    def update(self, by_partner: Mapping[str, Judgement], progress: Progress, note: str) -> None:
        """Show the figures as they are now."""
        if self._live is not None:
            status = Text(f"{self.seconds:5.1f} s  {note}", style="cyan")
            self._live.update(Group(_table(by_partner, progress), status), refresh=True)
        elif self.seconds >= self._next_line:
            self._next_line = self.seconds + _LINE_EVERY_S
            self.say(_line(list(by_partner.values()), progress))

    def wait(self, by_partner: Mapping[str, Judgement], progress: Progress, waits_for: str) -> None:
        """As `update`, while nothing is done. The last line moves on a terminal; elsewhere it is printed once."""
        if self._live is not None:
            self._spinner.update(text=Text(f"{self.seconds:5.1f} s  {waits_for}", style="cyan"))
            self._live.update(Group(_table(by_partner, progress), self._spinner), refresh=True)
        elif waits_for != self._waits_for:
            self._waits_for = waits_for
            self.say(waits_for)

    def verdict(self, found: Judgement) -> None:
        """The final check, in words."""
        self._console.print()
        self._console.print(Text("The check, by the events in the topics and the API's own log alone:"))
        for good, line in in_words(found):
            text = Text("   ok  " if good else " FAIL  ", style="bold green" if good else "bold red")
            self._console.print(text.append(line, style="default"), soft_wrap=not self._console.is_terminal)
        for line in (*found.false, *found.missed, *found.early, *found.misreported)[:10]:
            self._console.print(Text(f"       {line}", style="red"), soft_wrap=not self._console.is_terminal)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began


def _figures(parts: Sequence[Judgement]) -> list[tuple[str, int]]:
    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    settled = total("bought") + total("ignored") + total("recorded") + total("not_found")
    return [
        ("sessions", total("sessions")),
        ("presented", total("chains")),
        ("bought", total("bought")),
        ("opted out", total("recorded")),
        ("not found", total("not_found")),
        ("retried", total("retried")),
        ("unsettled", total("chains") - settled),
    ]


def _watermark(progress: Progress) -> str:
    if progress.watermark is None:
        return "-"
    return f"{max(0.0, time.time() - progress.watermark / 1000):.1f} s ago"


def _lag(progress: Progress) -> str:
    return "-" if progress.lag is None else f"{progress.lag:,}"


def _line(parts: Sequence[Judgement], progress: Progress) -> str:
    figures = [f"{name} {number:,}" for name, number in _figures(parts)]
    return ", ".join([*figures, f"watermark {_watermark(progress)}", f"lag {_lag(progress)}"])


def _table(by_partner: Mapping[str, Judgement], progress: Progress) -> Table:
    """A row a figure and a column a partner: it fits a narrow terminal."""
    table = Table(box=box.ROUNDED, min_width=58)
    table.add_column("")
    for partner_code in (*by_partner, "all"):
        table.add_column(partner_code, justify="right", style="bold" if partner_code == "all" else "")
    columns = [_figures([part]) for part in by_partner.values()] + [_figures(list(by_partner.values()))]
    for row in zip(*columns, strict=True):
        name = row[0][0]
        table.add_row(name, *(f"{number:,}" for _, number in row), style=_STYLES.get(name, ""))
    table.add_section()
    # As of the consumer's last commit; the topics are not split by partner.
    blanks = [""] * len(by_partner)
    table.add_row("watermark", *blanks, _watermark(progress))
    table.add_row("lag", *blanks, _lag(progress))
    return table
