"""Ends the process when its end takes too long, and says when the poll thread waits for the brokers.

A commit and the leaving of the group have no time-out in the client: with a broker that is frozen, or behind a network
that swallows, each was seen to wait for as long as that lasts. Meanwhile the poll thread runs no line of Python, nor
does any handler of a signal, since those run on that thread. So another thread listens for signals, by the descriptor
that the interpreter writes to at once, and counts.

Nothing is lost by an end like that: what was not committed is found out by whoever reads on.

The last words may hang as well: a standard error that nobody reads blocks whoever writes to it, and the lock of the log
is then held for ever. So there are two ways to end, and the second one needs nothing of the first:

    at the limit     a line of the log, then exit with code 1         needs Python and the log
    + LAST_WORDS     the places of all threads, then the same         needs nothing: what nobody takes is dropped

A loop that stands still though it waits for nobody is a fault of the program, and its end will not say where it was:
whoever asks /livez has the process killed. So the places of all threads are written first, once for each time. They are
names of files, lines and functions, and no values. Where a library keeps Python from running, this is done by a timer
that needs no Python; it goes off as well once a process runs on that was stopped for so long.

It is no signal that ends the process: as the first one of a container it would not be ended by it, nor where its parent
had that signal blocked.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import structlog

from ..server.health import Health

log = structlog.get_logger(__name__)

LEAST = 5.0
"""Seconds that a stop has at least, however low `delivery.shutdown_timeout` is: a commit, the leaving and the ends of
threads take milliseconds, but on a busy machine."""

PATIENCE = 60.0
"""Seconds that the poll thread waits for the brokers before that is said, and between two such lines."""

LOOKS = 30
"""How often in the length of the patience it is looked: the line, and that the wait is over, come by so much later."""

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})

LAST_WORDS = 0.5
"""Seconds after which the next way to end is taken, since the one before hangs."""


STANDS_STILL = (
    "the loop stands still: nothing is read, decided or committed, and /livez answers 503. Where each thread is stands "
    "before this line"
)


class Watchdog:
    """Counts from the first SIGTERM or SIGINT on, or from `count_down`. To be made and started on the main thread.

    Args:
        shutdown_timeout: seconds after which the process ends; `LEAST` if that is more.
        health: says what is waited for.

    Attributes:
        ask: is called each time that the brokers are said not to answer, to find out why; it may wait. The clients have
            nobody then who listens to them.
    """

    def __init__(self, shutdown_timeout: float, health: Health) -> None:
        self.ask: Callable[[], None] = _nothing
        self._limit = max(shutdown_timeout, LEAST)
        self._health = health
        self._heard, self._told = socket.socketpair()
        self._told.setblocking(False)
        self._main = threading.get_ident()
        self._places = _standard_error_that_never_blocks()
        self._one_timer = threading.Lock()
        self._ends = False

    def start(self) -> None:
        """Listen, until the process ends. Signals still need handlers of their own: only those are heard."""
        signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        # Apart, since whoever says something may wait for ever to be heard.
        threading.Thread(target=self._say_what_is_waited_for, name="waiting", daemon=True).start()

    def count_down(self) -> None:
        """The process is about to end by itself. Doing so twice, or after a signal, changes nothing."""
        with suppress(BlockingIOError):  # then it was told more than enough
            self._told.send(bytes([signal.SIGTERM]))

    def _watch(self) -> None:
        while _ENDING.isdisjoint(self._heard.recv(64)):
            pass
        # The interpreter stops this thread before it is through with its own end, which a client may hold up as well.
        # This needs no interpreter.
        with self._one_timer:
            self._ends = True
            faulthandler.dump_traceback_later(self._limit + LAST_WORDS, exit=True, file=self._places)
        time.sleep(self._limit)
        waited = self._health.waiting_for()
        log.error(
            "the stop takes too long: the process is ended, and whoever reads on repeats what was not committed",
            seconds=self._limit,
            waits_for=None if waited is None else waited[0],
            stands_at=_place(sys._current_frames().get(self._main)),
        )
        for handler in logging.getLogger().handlers:
            handler.flush()
        os._exit(1)

    def _say_what_is_waited_for(self) -> None:
        said: float | None = None
        stood = 0
        while True:
            time.sleep(PATIENCE / LOOKS)
            stood = self._show_where_it_stands(stood)
            waited, now = self._health.waiting_for(), time.monotonic()
            if waited is None or waited[1] < PATIENCE:
                if said is not None:
                    said = None
                    log.info("the brokers answer again")
            elif said is None or now - said >= PATIENCE:
                said = now
                log.warning(
                    "the brokers do not answer: nothing is read, decided or committed until they do",
                    waits_for=waited[0],
                    seconds=round(waited[1]),
                )
                self.ask()

    def _show_where_it_stands(self, looks: int) -> int:
        """Show it at the second look in a row that finds no turn: a process that was stopped needs a moment to go on.

        Args:
            looks: how many found none so far.

        Returns:
            The same with this one.
        """
        with self._one_timer:
            if not self._ends:  # there is only one, and the end needs it
                faulthandler.dump_traceback_later(self._health.bound, file=self._places)
        live = self._health.live()
        if live.ok:
            return 0
        if looks == 1:
            faulthandler.dump_traceback(file=self._places)
            log.error(STANDS_STILL, why=live.reason, stands_at=_place(sys._current_frames().get(self._main)))
        return looks + 1


def _nothing() -> None:
    """There is nobody to ask yet."""


def _standard_error_that_never_blocks() -> int:
    """A descriptor of its own, since whether it blocks is shared by all that are copies of one."""
    try:
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND)
    except OSError:  # a socket, another's terminal, or a system without /proc
        return os.open(os.devnull, os.O_WRONLY)


def _place(frame: FrameType | None) -> str | None:
    """Where in our own code the thread stands."""
    ours = f"{__name__.partition('.')[0]}."
    while frame is not None and not str(frame.f_globals.get("__name__")).startswith(ours):
        frame = frame.f_back
    return None if frame is None else f"{frame.f_globals['__name__']}:{frame.f_lineno}"
