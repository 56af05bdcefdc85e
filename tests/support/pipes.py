"""A pipe that nobody reads."""

from __future__ import annotations

import array
import fcntl
import termios
import time

FULL = 16_000
"""Bytes at the least in a pipe that is full: it has 16 pages, and not all of them are whole."""


def until_full(pipe: int, *, within: float = 20.0) -> None:
    """Wait until there is no more room in a pipe: then whoever writes to it is blocked."""
    deadline, before, since = time.monotonic() + within, 0, time.monotonic()
    while time.monotonic() < deadline:
        waiting = array.array("i", [0])
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        if waiting[0] != before:
            before, since = waiting[0], time.monotonic()
        if waiting[0] >= FULL and time.monotonic() - since > 0.5:
            return
        time.sleep(0.01)
    raise AssertionError("the pipe is not full")
