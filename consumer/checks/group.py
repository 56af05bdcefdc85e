"""The group: who is in it, what it has committed, and whether that is still in the log for long."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from ..kafka.members import FirstHeld, GroupMembers
from ..kafka.topics import TopicConfig
from ..settings.types import format_duration
from .check import Check

MEMBERS, POSITIONS, HELD = "members", "positions", "held"
"""Of the checks."""

_MOST_NAMED = 5


def judge_members(found: GroupMembers, group: str, inputs: Collection[str]) -> Iterator[Check]:
    """Who is in the group. `inputs`: the topics that a member of ours reads."""
    strangers = [one for one in found.members if one.partitions.keys() - set(inputs)]
    for one in strangers[:_MOST_NAMED]:
        others = ", ".join(sorted(one.partitions.keys() - set(inputs)))
        yield Check(
            MEMBERS,
            "error",
            f"in group {group} is {one.client!r} at {one.host}, which reads {others}: it is another program, and "
            "commits for this group",
            "give one of the two another group (kafka.group_id)",
        )
    ours = [one for one in found.members if one not in strangers]
    if ours:
        named = ", ".join(f"{one.client!r} at {one.host} ({_reads(one.partitions)})" for one in ours[:_MOST_NAMED])
        yield Check(
            MEMBERS,
            "warning",
            f"{len(ours)} member{'s' * (len(ours) > 1)} of group {group} ({found.state}): {named}",
            "if these are instances of this service, all is well; else it is another program with the group's name",
        )
    if not found.members:
        state = "which does not exist yet" if found.state == "dead" else found.state
        yield Check(MEMBERS, "ok", f"nobody is in group {group} ({state})")


def judge_held(held: FirstHeld, configs: Mapping[str, TopicConfig], now: int, needed: timedelta) -> Iterator[Check]:
    """Whether retention is about to delete what the group has not put behind it.

    Args:
        held: the oldest such records.
        now: the wall clock (ms).
        needed: how far back a start may read from there on.
    """
    if held.unknown:
        yield Check(
            HELD,
            "warning",
            f"of {held.unknown} partitions that the group has committed it was not told in time what it holds",
            "see that all brokers answer, then ask again",
        )
    for topic, stamp in held.stamps.items():
        age = timedelta(milliseconds=max(0, now - stamp))
        kept = configs[topic].retention if topic in configs else None
        found = f"the first record of {topic} that the group has not put behind it is {_short(age)} old"
        if kept is not None and age + needed > kept:
            yield Check(
                HELD,
                "warning",
                f"{found}, and {topic} keeps records for {format_duration(kept)}: what is held may be deleted "
                "before it is settled",
                "start soon, or raise retention.ms until the service has caught up",
            )
        else:
            yield Check(HELD, "ok", f"{found}; {topic} keeps it {'for ever' if kept is None else _for(kept)}")


def _for(kept: timedelta) -> str:
    return f"for {format_duration(kept)}"


def _reads(partitions: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {topic}" for topic, count in partitions.items()) or "nothing yet"


def _short(age: timedelta) -> str:
    return format_duration(timedelta(seconds=round(age.total_seconds())))
