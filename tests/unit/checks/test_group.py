"""Who is in the group, and whether what it holds is still there for long."""

from __future__ import annotations

from datetime import timedelta

import pytest

from consumer.checks.group import judge_held, judge_members
from consumer.kafka.members import FirstHeld, GroupMembers, Member
from consumer.kafka.topics import TopicConfig

INPUTS = "offers", "checkouts"
OURS = Member("opt-out", "/10.0.0.1", {"offers": 2, "checkouts": 2})
NOW, HOUR = 1_800_000_000_000, 3_600_000


def test_a_group_in_which_nobody_is_is_well() -> None:
    (check,) = judge_members(GroupMembers("empty", ()), "g", INPUTS)
    assert (check.level, check.found) == ("ok", "nobody is in group g (empty)")
    (check,) = judge_members(GroupMembers("dead", ()), "g", INPUTS)
    assert (check.level, check.found) == ("ok", "nobody is in group g (which does not exist yet)")


def test_members_that_read_our_topics_or_nothing_yet_are_a_warning_that_names_them() -> None:
    waiting = Member("other", "/10.0.0.2", {})
    (check,) = judge_members(GroupMembers("stable", (OURS, waiting)), "g", INPUTS)
    assert check.level == "warning"
    assert check.found == (
        "2 members of group g (stable): 'opt-out' at /10.0.0.1 (2 of offers, 2 of checkouts), "
        "'other' at /10.0.0.2 (nothing yet)"
    )


def test_a_member_that_reads_another_topic_is_an_error() -> None:
    stranger = Member("console", "/10.0.0.3", {"offers": 1, "clicks": 3})
    error, warning = judge_members(GroupMembers("stable", (OURS, stranger)), "g", INPUTS)
    assert (error.level, warning.level) == ("error", "warning")
    assert "'console' at /10.0.0.3, which reads clicks" in error.found
    assert "1 member of group g" in warning.found


@pytest.mark.parametrize(
    ("age", "kept", "level"),
    [
        (timedelta(hours=20), timedelta(hours=24), "ok"),
        (timedelta(hours=22), timedelta(hours=24), "warning"),
        (timedelta(hours=22), None, "ok"),
    ],
)
def test_what_is_held_and_soon_deleted_is_a_warning(age: timedelta, kept: timedelta | None, level: str) -> None:
    stamps = {"offers": NOW - round(age.total_seconds() * 1000)}
    (check,) = judge_held(FirstHeld(stamps), {"offers": TopicConfig("delete", kept)}, NOW, timedelta(hours=3))
    assert check.level == level
    assert f"is {round(age.total_seconds() / 3600)}h old" in check.found
    assert ("may be deleted" in check.found) is (level == "warning")


def test_of_a_topic_that_does_not_tell_how_long_it_keeps_records_none_is_soon_deleted() -> None:
    (check,) = judge_held(FirstHeld({"offers": 0}), {}, NOW, timedelta(hours=3))
    assert check.level == "ok"


def test_partitions_of_which_it_is_not_known_are_no_ok() -> None:
    (check,) = judge_held(FirstHeld({}, unknown=2), {}, NOW, timedelta(hours=3))
    assert check.level == "warning"
    assert check.found.startswith("of 2 partitions that the group has committed it was not told in time")
