"""`opt-out` as a process of its own that need not load its libraries: it is forked from one that has.

A start takes about a second of processor time, of which nine tenths load libraries; the tests start the program more
than a thousand times. Everything else is as at any start: the command line, the environment, the files, the signals and
the exit code. What the start itself is, without this, is seen by `test_wheel.py`, `test_demo.py`, `test_stopping.py`
and by whatever starts the program by another way than these functions.

The process that forks is multiprocessing's own; it ends with the process of the tests.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from weakref import WeakSet

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["consumer.cli", "consumer.runtime.run", "consumer.checks.doctor", "consumer.checks.positions",
     "consumer.dead_letters.resubmission", "consumer.dead_letters.listing", "consumer.dead_letters.showing"]
)  # fmt: skip

_STARTED: WeakSet[BaseProcess] = WeakSet()


@atexit.register
def _end_what_is_left() -> None:
    """Where a test has left one behind: multiprocessing would wait for its end. No daemons, which may start none."""
    for process in _STARTED:
        process.kill()


class PreloadedProgram:
    """As much of `subprocess.Popen` as is asked of a program that runs.

    Args:
        arguments: behind `opt-out`.
        environ: all of its environment.
        stdout, stderr: the files that it writes to, at their ends.

    Attributes:
        returncode: as `Popen` has it, once `poll` or `wait` has seen its end.
    """

    def __init__(self, arguments: tuple[str, ...], environ: Mapping[str, str], stdout: Path, stderr: Path) -> None:
        for path in (stdout, stderr):
            path.touch()  # whoever reads it does not wait for the program
        given = arguments, dict(environ), os.getcwd(), stdout, stderr
        self._process = _FORKS.Process(target=_be, args=given)
        self._process.start()
        _STARTED.add(self._process)
        assert self._process.pid is not None, "it has been started"
        self.pid = self._process.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs; minus the signal that ended it."""
        self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code.

        Raises:
            subprocess.TimeoutExpired: it has not ended within so many seconds.
        """
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("opt-out", timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """As `Popen` does: nothing is sent to one that has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_preloaded(*arguments: str, environ: Mapping[str, str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """`opt-out`, run to its end, with nothing to read; see `subprocess.run`.

    Raises:
        subprocess.TimeoutExpired: it had not ended within `timeout` seconds, and was killed.
    """
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        program = PreloadedProgram(arguments, environ, out, err)
        try:
            code = program.wait(timeout)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
            raise
        return subprocess.CompletedProcess(
            ["opt-out", *arguments], code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")
        )


def _be(arguments: tuple[str, ...], environ: Mapping[str, str], folder: str, stdout: Path, stderr: Path) -> None:
    """In the process that was forked: be the program."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for path, stream in ((stdout, sys.stdout), (stderr, sys.stderr)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream.fileno())
        os.close(file)
    sys.argv = ["opt-out", *arguments]
    from consumer.cli import program  # noqa: PLC0415 - not needed by who asks for it

    program()
