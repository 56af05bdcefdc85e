"""A contender at work: its process is looked at from outside, by what the system and the broker say of it."""

from __future__ import annotations

import os
import subprocess
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from brokers.apache import dies_with_us

TICK = os.sysconf("SC_CLK_TCK")
LOOK_EVERY = 0.2
"""Seconds between two looks."""


class Sample(NamedTuple):
    """One look: seconds since 1970, and the seconds of processor time that the process has had until then."""

    at: float
    cpu: float


@dataclass(slots=True)
class Process:
    """What was seen of a process.

    Attributes:
        samples: in the order of time.
        started_at: seconds since 1970.
        peak: the most memory that was resident, in bytes.
        ended: its exit code, if it ended by itself; None: it was stopped when it had nothing left to do.
        log: where its output is.
    """

    started_at: float
    log: Path
    samples: list[Sample] = field(default_factory=list)
    peak: int = 0
    ended: int | None = None

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


def watched(
    command: Sequence[str],
    environ: Mapping[str, str],
    log: Path,
    taken: Callable[[], int],
    expected: int,
    *,
    patience: float = 60.0,
    at_most: float = 900.0,
) -> Process:
    """Start it, look at it until its output has grown no more, and stop it.

    Args:
        command, environ: of the process.
        log: the file that takes its output.
        taken: how many verdicts the broker has taken so far.
        expected: with so many it may be through: two quiet seconds are enough, instead of `patience`.
        patience: seconds without a new verdict after which nothing more is expected; twice that before the first.
        at_most: seconds for all of it.
    """
    with log.open("wb") as stream:
        running = subprocess.Popen(
            [*dies_with_us(), *command],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    seen = Process(time.time(), log)
    count, grown = 0, time.monotonic()
    until = time.monotonic() + at_most
    try:
        while time.monotonic() < until:
            if (code := running.poll()) is not None:
                seen.ended = code
                break
            seen.samples.append(Sample(time.time(), cpu_of(running.pid)))
            seen.peak = max(seen.peak, _peak_of(running.pid))
            before, count = count, taken()
            now = time.monotonic()
            if count > before:
                grown = now
            elif now - grown > (2.0 if count >= expected else patience if count else 2 * patience):
                break
            time.sleep(LOOK_EVERY)
    finally:
        running.terminate()
        try:
            running.wait(40)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
    return seen


def cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has had, user and system."""
    # The name of the program stands in brackets, and may hold blanks.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _peak_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
