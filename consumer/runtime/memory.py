"""How many unsettled offers there is memory for: `delivery.max_unsettled` is a count, and memory has its limit.

A container that takes more memory than it may is killed, starts again, and takes as much again. So the count is
lowered to what a share of the limit holds. The limit is the container's, by its control group, or the machine's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import structlog

from ..settings import Settings

log = structlog.get_logger(__name__)

BYTES_AN_UNSETTLED_CHAIN = 2_000
"""Resident memory of a chain that is decided and whose call waits, rounded up. `tests/benchmarks/bench_memory.py`
measured 1,373 bytes, and 1,824 where each offer has four keys of metadata that go to the insurer."""

BYTES_OF_A_TRACE = 800
"""What a trace adds to that, with `trace.enabled`: 216 bytes, and up to 561 for a `tracestate`."""

SHARE = 0.5
"""The part of the memory that unsettled chains may take. What is undecided takes two thirds as much each, and is as
many at the most while decisions are suspended; the rest is for the clients' queues and the program."""

UNLIMITED = 2**60
"""A figure from here on says that there is no limit: cgroup v1 has a number for that, near 2^63."""


class MemoryLimit(NamedTuple):
    """Bytes that this process may take, and in words who says so."""

    bytes: int
    source: str


def within_memory(settings: Settings, root: Path = Path("/")) -> Settings:
    """The settings with `delivery.max_unsettled` as there is memory for. The effective bound is logged.

    Args:
        root: where the file system of the control groups begins; replaced in tests.
    """
    limit = memory_limit(root)
    wanted = settings.delivery.max_unsettled
    of_one = BYTES_AN_UNSETTLED_CHAIN + (BYTES_OF_A_TRACE if settings.trace.enabled else 0)
    most = max(1, min(wanted, int(limit.bytes * SHARE) // of_one))
    log.info(
        "bound of unsettled offers",
        max_unsettled=most,
        set_to=wanted,
        memory_limit=limit.bytes,
        limit_of=limit.source,
    )
    return settings.model_copy(update={"delivery": settings.delivery.model_copy(update={"max_unsettled": most})})


def memory_limit(root: Path = Path("/")) -> MemoryLimit:
    """The least of what the control groups of this process and the machine allow."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([MemoryLimit(physical, "physical memory"), *_limits(root)])


def _limits(root: Path) -> Iterator[MemoryLimit]:
    """What each control group that this process is in allows, by cgroup v2 and v1."""
    for file in _limit_files(root):
        try:
            text = file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        # v2 says `max` where there is none.
        if text.isdecimal() and int(text) < UNLIMITED:
            yield MemoryLimit(int(text), f"/{file.relative_to(root)}")


def _limit_files(root: Path) -> Iterator[Path]:
    """A group is limited by those above it too. In a container its own may be mounted where the machine's first is."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    groups = {".": "memory.max", "memory": "memory.limit_in_bytes"}
    places = [(".", "/"), ("memory", "/")]
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            places.append((".", group))
        elif "memory" in controllers.split(","):
            places.append(("memory", group))
    for hierarchy, group in places:
        path = PurePosixPath(group.lstrip("/"))
        for above in (path, *path.parents):
            yield mounted / hierarchy / above / groups[hierarchy]
