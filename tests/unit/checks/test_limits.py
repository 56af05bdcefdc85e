"""What the brokers' own settings allow."""

from __future__ import annotations

from datetime import timedelta

import pytest

from consumer.checks.limits import MOST_SEGMENTS, enough, judge_kept, judge_limits, not_told
from consumer.kafka.topics import BrokerLimits, TopicConfig

DAY = timedelta(days=1)
KAFKAS_OWN = BrokerLimits(4_096, 7 * DAY, 1_048_588)


def test_kafkas_defaults_are_enough_and_named() -> None:
    assert list(judge_limits(KAFKAS_OWN)) == []
    said = enough(KAFKAS_OWN)
    assert said.level == "ok"
    assert "4096 bytes of metadata and is kept for 7d" in said.found
    assert "1048588 bytes" in said.found


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (KAFKAS_OWN._replace(offset_metadata=4_095), "4095 bytes of a commit's metadata (offset.metadata.max.bytes)"),
        (KAFKAS_OWN._replace(offsets_kept=timedelta(hours=23)), "forget what a group has committed 23h after"),
    ],
)
def test_what_is_too_low_is_a_warning_that_names_it(limits: BrokerLimits, says: str) -> None:
    (warning,) = judge_limits(limits)
    assert warning.level == "warning"
    assert says in warning.found
    assert warning.remedy


def test_what_is_not_told_is_no_finding_and_all_of_it_a_warning() -> None:
    assert list(judge_limits(BrokerLimits(None, None, None))) == []
    assert "? bytes of metadata" in enough(BrokerLimits(None, None, None)).found
    assert not_told().level == "warning"


# --- what topics keep


def kept(name: str, **told: object) -> list[str]:
    config = TopicConfig("delete", 30 * DAY)._replace(**told)  # type: ignore[arg-type]
    found = list(judge_kept({name: config}, ("in",), timedelta(hours=2, minutes=35)))
    assert [check.level for check in found] == ["warning"] * len(found)
    return [check.words for check in found]


def test_a_long_segment_keeps_more_and_is_nothing_to_tell() -> None:
    assert kept("in") == []
    assert kept("in", segment=365 * DAY) == []
    assert kept("in", segment=30 * DAY / MOST_SEGMENTS) == []


def test_so_many_segments_that_a_broker_may_run_out_of_mappings_are_a_warning() -> None:
    (words,) = kept("out", segment=timedelta(seconds=10))
    assert "out begins a segment every 10s (segment.ms) and keeps records for 30d: up to 259200 segments" in words
    assert "raise segment.ms" in words
    assert kept("out", segment=timedelta(seconds=10), retention=None) == [], "how many it will be is not known"


def test_an_input_that_is_bounded_by_its_bytes_may_be_kept_for_less_than_a_start_reads_back() -> None:
    (words,) = kept("in", most_bytes=1_000_000)
    assert "in keeps at most 1000000 bytes a partition (retention.bytes)" in words
    assert "more than 2h35m" in words
    assert kept("out", most_bytes=1_000_000) == []
