"""The bound of unsettled offers is one in bytes: a container's limit counts, whichever version of cgroups it has."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import structlog

from consumer.calls import CallTrace
from consumer.codecs.trace_context import MOST_STATE_BYTES
from consumer.events import TraceContext
from consumer.runtime.memory import BYTES_AN_UNSETTLED_CHAIN, BYTES_OF_A_TRACE, memory_limit, within_memory
from consumer.settings import ApiSettings, DeliverySettings, KafkaSettings, Settings, TraceSettings

GIB = 2**30

V1_NONE = str(2**63 - 4096)
"""What cgroup v1 says where there is no limit."""


def system(folder: Path, groups: str, **files: str) -> Path:
    """A root with these lines in /proc/self/cgroup and these limits; in a file's name `__` stands for a slash."""
    written = {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{k.replace('__', '/')}": v for k, v in files.items()}}
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")
    return folder


def settings(most: int) -> Settings:
    return Settings(kafka=KafkaSettings(), api=ApiSettings(auth="none"), delivery=DeliverySettings(max_unsettled=most))


def physical() -> int:
    (line,) = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        pytest.param("0::/", {"memory.max": str(GIB)}, id="v2, in the container's own namespace"),
        pytest.param("0::/a/b", {"a__b__memory.max": "max", "a__memory.max": str(GIB)}, id="v2, a group above"),
        pytest.param("5:memory:/docker/1", {"memory__memory.limit_in_bytes": str(GIB)}, id="v1, mounted at the root"),
        pytest.param(
            "7:cpu,memory:/k/1\n0::/",
            {"memory__k__1__memory.limit_in_bytes": str(GIB), "memory__memory.limit_in_bytes": V1_NONE},
            id="v1, its own group",
        ),
    ],
)
def test_the_limit_of_the_control_group_counts(groups: str, files: dict[str, str], tmp_path: Path) -> None:
    found = memory_limit(system(tmp_path, groups, **files))
    assert found.bytes == GIB
    assert found.source.startswith("/sys/fs/cgroup/")


@pytest.mark.parametrize("files", [{}, {"memory.max": "max"}, {"memory__memory.limit_in_bytes": V1_NONE}])
def test_without_such_a_limit_the_machine_counts(files: dict[str, str], tmp_path: Path) -> None:
    found = memory_limit(system(tmp_path, "0::/", **files))
    assert found.source == "physical memory"
    assert found.bytes == pytest.approx(physical(), rel=0.02)


def test_where_nothing_is_told_of_groups_the_machine_counts(tmp_path: Path) -> None:
    assert memory_limit(tmp_path).bytes == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_the_bound_is_what_half_of_the_memory_holds_and_never_more_than_is_set(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/", **{"memory.max": str(512 * 2**20)})
    with structlog.testing.capture_logs() as lines:
        bounded = within_memory(settings(1_000_000), root)
    assert bounded.delivery.max_unsettled == 256 * 2**20 // BYTES_AN_UNSETTLED_CHAIN == 134_217
    assert lines == [
        {
            "event": "bound of unsettled offers",
            "log_level": "info",
            "max_unsettled": 134_217,
            "set_to": 1_000_000,
            "memory_limit": 512 * 2**20,
            "limit_of": "/sys/fs/cgroup/memory.max",
        }
    ]
    assert within_memory(settings(1_000), root).delivery.max_unsettled == 1_000


def test_a_limit_too_small_for_anything_still_lets_one_offer_through(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/", **{"memory.max": "4096"})
    assert within_memory(settings(1_000_000), root).delivery.max_unsettled == 1


def test_with_traces_each_offer_is_taken_to_be_as_large_as_one_may_be(tmp_path: Path) -> None:
    root = system(tmp_path, "0::/", **{"memory.max": str(512 * 2**20)})
    on = settings(1_000_000).model_copy(update={"trace": TraceSettings(enabled=True)})
    most = within_memory(on, root).delivery.max_unsettled
    assert most == 256 * 2**20 // (BYTES_AN_UNSETTLED_CHAIN + BYTES_OF_A_TRACE)


def test_a_trace_is_no_larger_than_it_is_taken_to_be() -> None:
    context = TraceContext("0" * 55, "s" * MOST_STATE_BYTES)
    slots = 2 * 8  # in the event, and in the call
    parts = [context, context.traceparent, context.tracestate, CallTrace(context)]
    size = sum(sys.getsizeof(part) for part in parts) + slots
    assert size - sys.getsizeof(context.tracestate) <= 216
    assert size <= BYTES_OF_A_TRACE
