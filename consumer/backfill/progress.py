"""How far a backfill is: a bar in a terminal, a line of the log each ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from ..core.rules import MIN_TIME
from ..core.watermark import Side
from ..runtime.tasks import Tasks
from .scope import moment
from .tally import FateTally

log = structlog.get_logger(__name__)

EVERY = 10.0
"""Seconds between two lines."""

REFRESH = 0.2
"""Seconds between two looks for the bar."""


@dataclass(frozen=True, slots=True)
class RangeProgress:
    """How far it is.

    Attributes:
        read, total: records of both topics; `total` is about how many there are.
        reached: up to when is decided (event time, ms); None: nothing is.
        calls: made, or in a rehearsal decided to be.
        waiting: chains that are decided to be called and not settled.
        tasks, done: partitions here, and those of them in which all is settled.
    """

    read: int
    total: int
    reached: int | None
    calls: int
    waiting: int
    tasks: int
    done: int

    @property
    def share(self) -> float:
        """Of what is to be read and to be called, the part that is done; a guess."""
        read = min(1.0, self.read / self.total) if self.total else 1.0
        calls = self.calls / (self.calls + self.waiting) if self.waiting else 1.0
        return 1.0 if self.tasks and self.done == self.tasks else min(0.99, read * calls)


class Meter:
    """Measures how far the tasks are that run here.

    Args:
        tally: counts the calls.
        ends: about where each partition is read to, as an offset.
    """

    def __init__(self, tasks: Tasks, tally: FateTally, ends: Mapping[tuple[str, int], int]) -> None:
        self._tasks = tasks
        self._tally = tally
        self._ends = ends
        self._begins: dict[tuple[str, int], int] = {}

    def read(self) -> RangeProgress:
        """The progress now."""
        runners = self._tasks.runners
        read = total = 0
        for partition, runner in runners.items():
            for side in Side:
                place, at = (self._tasks.consumer.topic(side), partition), runner.task.next_offset(side)
                begin = self._begins.setdefault(place, at)
                about = max(self._ends[place], begin)
                total += about - begin
                read += min(max(0, at - begin), about - begin)
        reached = min((runner.task.decided_to for runner in runners.values()), default=MIN_TIME)
        return RangeProgress(
            read,
            total,
            None if reached == MIN_TIME else reached,
            self._tally.calls,
            sum(runner.task.unsettled for runner in runners.values()),
            len(runners),
            sum(runner.is_done for runner in runners.values()),
        )


Show = Callable[[Callable[[], RangeProgress]], None]
"""Is called once a turn, and asks for the progress when it is time to show it."""


@contextmanager
def showing(what: str, *, bar: bool) -> Iterator[Show]:
    """Show the progress of `what` on standard error, while the block lasts: as a bar, or as lines of the log."""
    if bar:
        with _bar(what) as show:
            yield show
    else:
        yield _lines(what)


def is_terminal() -> bool:
    """Whether a person sees standard error. It is None where whoever started this closed it."""
    return sys.stderr is not None and sys.stderr.isatty()


def _lines(what: str) -> Show:
    began = before = time.monotonic()
    calls = 0

    def show(ask: Callable[[], RangeProgress]) -> None:
        nonlocal before, calls
        now = time.monotonic()
        if now - before < EVERY:
            return
        found = ask()
        log.info(
            "backfill",
            name=what,
            read=found.read,
            of_about=found.total,
            reached=None if found.reached is None else moment(found.reached),
            calls=found.calls,
            calls_per_second=round((found.calls - calls) / (now - before), 1),
            waiting=found.waiting,
            partitions_done=f"{found.done}/{found.tasks}",
            seconds=round(now - began),
        )
        before, calls = now, found.calls

    return show


@contextmanager
def _bar(what: str) -> Iterator[Show]:
    from rich.console import Console  # noqa: PLC0415 - slow to load, and a job without a terminal needs none of it
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above
    from rich.progress import Progress as Bar  # noqa: PLC0415 - as above

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[words]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        shown = bar.add_task(what, total=1.0, words="joining")
        began = time.monotonic()
        next_look = 0.0

        def show(ask: Callable[[], RangeProgress]) -> None:
            nonlocal next_look
            now = time.monotonic()
            if now < next_look:
                return
            next_look = now + REFRESH
            found = ask()
            rate = found.calls / max(1.0, now - began)
            reached = "-" if found.reached is None else moment(found.reached)
            words = (
                f"{found.read:,} of about {found.total:,} records, at {reached}, {found.calls:,} calls "
                f"({rate:.1f}/s), {found.waiting:,} waiting"
            )
            bar.update(shown, completed=found.share, words=words, refresh=True)

        yield show
