"""A contender at work: its processes are looked at from outside, by what the system and the broker say of them."""

from __future__ import annotations

import os
import subprocess
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from brokers.apache import dies_with_us

TICK = os.sysconf("SC_CLK_TCK")
LOOK_EVERY = 0.2
"""Seconds between two looks."""
QUIET = 6.0
"""Seconds without a new verdict after which a contender is taken to be through, if it has written as many as there are
offers to judge: of those behind them some are decided, too."""


class Sample(NamedTuple):
    """One look: seconds since 1970, and the seconds of processor time that the processes have had until then."""

    at: float
    cpu: float


@dataclass(slots=True)
class Seen:
    """What was seen of a contender's processes, taken together.

    Attributes:
        samples: in the order of time.
        started_at: seconds since 1970.
        peak: the most memory that was resident, in bytes.
        ended: the exit code of one that ended by itself; None: they were stopped when they had nothing left to do.
        logs: where the output of each is.
    """

    started_at: float
    logs: list[Path]
    samples: list[Sample] = field(default_factory=list)
    peak: int = 0
    ended: int | None = None

    def texts(self) -> list[str]:
        """The output of each."""
        return [log.read_text(errors="replace") for log in self.logs]

    def cpu_between(self, begin: float, end: float) -> float:
        """Seconds of processor time between two moments (seconds since 1970)."""
        return self._cpu_at(end) - self._cpu_at(begin)

    def _cpu_at(self, moment: float) -> float:
        """By the two looks around it."""
        after = bisect_left(self.samples, (moment,))
        if after == 0 or after == len(self.samples):
            return self.samples[min(after, len(self.samples) - 1)].cpu
        before, behind = self.samples[after - 1], self.samples[after]
        part = (moment - before.at) / (behind.at - before.at)
        return before.cpu + part * (behind.cpu - before.cpu)


@contextmanager
def started(
    command: Sequence[str], environ: Mapping[str, str], logs: Sequence[Path]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A process for each log, which takes its output; asked to stop at the end, together, and ended by force after."""
    running = []
    try:
        for log in logs:
            with log.open("wb") as stream:
                running.append(
                    subprocess.Popen(
                        [*dies_with_us(), *command],
                        env=dict(environ),
                        stdin=subprocess.DEVNULL,
                        stdout=stream,
                        stderr=subprocess.STDOUT,
                    )
                )
        yield running
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def watched(
    command: Sequence[str],
    environ: Mapping[str, str],
    logs: Sequence[Path],
    taken: Callable[[], int],
    expected: int,
    *,
    patience: float = 60.0,
    at_most: float = 900.0,
) -> Seen:
    """Start it, look at it until its output has grown no more, and stop it.

    Args:
        command, environ: of its processes.
        logs: the file that takes the output, of each process.
        taken: how many verdicts the broker has taken so far.
        expected: with so many it may be through: `QUIET` seconds are enough then, instead of `patience`.
        patience: seconds without a new verdict after which nothing more is expected; twice that before the first.
        at_most: seconds for all of it.
    """
    seen = Seen(time.time(), list(logs))
    with started(command, environ, logs) as running:
        count, grown = 0, time.monotonic()
        until = time.monotonic() + at_most
        while time.monotonic() < until:
            seen.ended = next((code for process in running if (code := process.poll()) is not None), None)
            if seen.ended is not None:
                break
            seen.samples.append(Sample(time.time(), sum(cpu_of(process.pid) for process in running)))
            seen.peak = max(seen.peak, sum(_peak_of(process.pid) for process in running))
            before, count = count, taken()
            now = time.monotonic()
            if count > before:
                grown = now
            elif now - grown > (QUIET if count >= expected else patience if count else 2 * patience):
                break
            time.sleep(LOOK_EVERY)
    return seen


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has had, user and system."""
    # The name of the program stands in brackets, and may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_of(pid: int | str = "self") -> int:
    """Bytes of a process that are in memory."""
    return _status_of(pid, "VmRSS:")


def _peak_of(pid: int) -> int:
    return _status_of(pid, "VmHWM:")


def _status_of(pid: int | str, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
