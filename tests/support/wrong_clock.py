"""Runs the service with a wall clock that is wrong: `python wrong_clock.py FILE run`.

FILE holds by how many seconds the clock is ahead; it may be changed while the service runs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

_true = time.time
_LOOK = 0.05
"""Seconds between two looks at the file."""


class WrongClock:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._ahead = 0.0
        self._next_look = 0.0

    def __call__(self) -> float:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK
            self._ahead = float(self._path.read_text())
        return _true() + self._ahead


if __name__ == "__main__":
    # Before the service is imported: it takes the clock as it finds it.
    time.time = WrongClock(Path(sys.argv.pop(1)))
    from consumer.cli import program

    program()
