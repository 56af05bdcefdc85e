"""What figures depend on beside the program: said at the head of each output."""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path


def head() -> str:
    """The command, the machine and how busy it is, the versions, and a yardstick."""
    return "\n".join(
        [
            f"command: {' '.join(sys.argv)}",
            f"machine: {machine()}",
            f"versions: Python {platform.python_version()}, confluent-kafka {version('confluent-kafka')}, "
            f"fastavro {version('fastavro')}",
            # Where others are at work, processor time is dearer: the caches and the cores' parts are shared.
            f"yardstick: {yardstick():.0f} ms of CPU for a million turns of an empty loop in Python",
        ]
    )


def machine() -> str:
    """Where this runs, in a line, and how busy it is."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, load {load}"


def yardstick() -> float:
    """Milliseconds of processor time that a million turns of an empty loop take here and now; the least of three."""
    found = []
    for _ in range(3):
        began = time.process_time()
        for _ in range(1_000_000):
            pass
        found.append((time.process_time() - began) * 1000)
    return min(found)
