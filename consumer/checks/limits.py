"""What the brokers' own settings allow, as far as they tell: how much a commit may say, and how long it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ..core.checkpoint import METADATA_LIMIT
from ..kafka.topics import BrokerLimits
from ..settings.types import format_duration
from .check import Check

NAME = "limits"
"""Of the checks."""

METADATA = METADATA_LIMIT + 1
"""Bytes of a commit's metadata that the service uses where it may, the closing NUL included: Kafka's default."""

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
