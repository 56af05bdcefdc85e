"""What the simulated processes log: each warning with who said it and when. Nothing of it is printed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog
from simulation.world.timeline import Clock


class Line(NamedTuple):
    """A line of the log. `at` is true time (s)."""

    at: float
    process: str
    event: str
    fields: Mapping[str, Any]


class Journal:
    """Every line from WARNING on.

    Attributes:
        speaker: the process whose turn it is.
        lines: in the order of time.
    """

    def __init__(self, clock: Clock) -> None:
        self.speaker = ""
        self.lines: list[Line] = []
        self._clock = clock

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Whatever is logged meanwhile comes here, and nowhere else."""
        before = structlog.get_config()
        structlog.configure(
            processors=[self._take], wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def note(self, process: str, event: str, **fields: Any) -> None:
        """A line that a process prints as it ends."""
        self.lines.append(Line(self._clock.now, process, event, fields))

    def _take(self, _logger: object, _level: str, fields: dict[str, Any]) -> dict[str, Any]:
        self.note(self.speaker, str(fields.pop("event")), **fields)
        raise structlog.DropEvent
