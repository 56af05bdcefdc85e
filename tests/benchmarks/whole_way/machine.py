"""What figures depend on beside the program: said at the head of each output."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> str:
    """Where this runs, in a line, and how busy it is: others' load makes processor time dearer, too."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, load {load}"
