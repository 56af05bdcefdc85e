"""What the brokers' own settings allow."""

from __future__ import annotations

from datetime import timedelta

import pytest

from consumer.checks.limits import enough, judge_limits, not_told
from consumer.kafka.topics import BrokerLimits

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
