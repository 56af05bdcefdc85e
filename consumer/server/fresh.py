"""What is told to all who ask within a second: it is made once.

Making it takes milliseconds of a processor that the loop needs too, and whoever asks without end must not have more of
it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH = 1.0
"""Seconds, as between two snapshots."""


class Fresh(Generic[T]):
    """The last of something; any thread may ask.

    Args:
        make: makes the next.
        monotonic: a clock in seconds.
    """

    def __init__(self, make: Callable[[], T], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: tuple[float, object, T] | None = None

    def get(self, of: object = None) -> T:
        """That of this second. `of`: what it is made from; of another one it is made anew."""
        with self._lock:
            now = self._monotonic()
            if self._last is None or self._last[1] is not of or now - self._last[0] >= FRESH:
                self._last = now, of, self._make()
            return self._last[2]
