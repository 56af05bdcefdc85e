"""What the settings of brokers and topics allow, as far as they are told: commits, segments, bytes that are kept."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from ..core.checkpoint import METADATA_LIMIT
from ..kafka.topics import BrokerLimits, TopicConfig
from ..settings.types import format_duration
from .check import Check

NAME = "limits"
"""Of the checks."""

METADATA = METADATA_LIMIT + 1
"""Bytes of a commit's metadata that the service uses where it may, the closing NUL included: Kafka's default."""

MOST_SEGMENTS = 10_000
"""Of a partition. A broker maps two files of each, and Linux allows a process 65,530 mappings (vm.max_map_count)."""

LONGEST_STOP = timedelta(days=1)
"""A stop over a night, or a day of repairs, must not cost the positions."""


def judge_limits(limits: BrokerLimits) -> Iterator[Check]:
    """What is too low."""
    if limits.offset_metadata is not None and limits.offset_metadata < METADATA:
        yield Check(
            NAME,
            "warning",
            f"the brokers take {limits.offset_metadata} bytes of a commit's metadata (offset.metadata.max.bytes), so "
            "that it tells less and a restart repeats more calls",
            f"set it to {METADATA}, Kafka's default, or more",
        )
    if limits.offsets_kept is not None and limits.offsets_kept < LONGEST_STOP:
        yield Check(
            NAME,
            "warning",
            f"the brokers forget what a group has committed {format_duration(limits.offsets_kept)} after its last "
            "member is gone (offsets.retention.minutes); a start is refused then",
            "raise it above the longest stop that you want to outlast; Kafka's default is 7d",
        )


def judge_kept(configs: Mapping[str, TopicConfig], inputs: Collection[str], needed: timedelta) -> Iterator[Check]:
    """What topics keep beside what their retention says; `needed`: how far back a start may read the inputs.

    A record goes with its whole segment, so that a long segment.ms keeps more than retention.ms says, which harms
    nobody: nothing is said of it.
    """
    for name, told in configs.items():
        if name in inputs and told.most_bytes is not None:
            yield Check(
                NAME,
                "warning",
                f"{name} keeps at most {told.most_bytes} bytes a partition (retention.bytes), however young they are",
                f"leave it at -1, or see that they hold more than {format_duration(needed)} of the busiest partition",
            )
        if told.segment and told.retention is not None and told.retention / told.segment > MOST_SEGMENTS:
            yield Check(
                NAME,
                "warning",
                f"{name} begins a segment every {format_duration(told.segment)} (segment.ms) and keeps records for "
                f"{format_duration(told.retention)}: up to {told.retention // told.segment} segments a partition, of "
                "some files each, which brokers have to keep open",
                "raise segment.ms; Kafka's default is 7d",
            )


def enough(limits: BrokerLimits) -> Check:
    """What is said where nothing is too low."""
    kept = "?" if limits.offsets_kept is None else format_duration(limits.offsets_kept)
    return Check(
        NAME,
        "ok",
        f"a commit may have {limits.offset_metadata or '?'} bytes of metadata and is kept for {kept} after the last "
        f"member is gone; a message may have {limits.message or '?'} bytes",
    )


def not_told() -> Check:
    """What is said where the brokers do not tell."""
    return Check(
        NAME,
        "warning",
        "the brokers do not tell their own settings",
        "allow DescribeConfigs on the cluster for once, or ask whoever runs it whether offset.metadata.max.bytes is at "
        f"least {METADATA} and offsets.retention.minutes longer than any stop",
    )
