"""What to do where the broker refuses to commit where a group is to start."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from consumer.errors import MetadataTooLongError
from consumer.kafka import commit_refusals


def refused_commit(group: str, error: KafkaError) -> str:
    return str(commit_refusals.refused_commit(group, error))


def refused_part(group: str, place: str, error: KafkaError, *, at_first: bool) -> str:
    return str(commit_refusals.refused_part(group, place, error, at_first=at_first))


TOO_LARGE = KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE)
FORBIDDEN = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


def test_a_commit_of_which_nothing_was_taken_is_refused_for_the_members_that_run() -> None:
    error = KafkaError(KafkaError.UNKNOWN_MEMBER_ID)
    assert refused_commit("g", error).endswith(
        "Nothing was read. Stop the members of the group that run, then start again."
    )
    assert refused_commit("g", error).startswith("group g: where to start could not be committed: KafkaError{")


def test_of_a_group_that_has_run_nothing_is_deleted() -> None:
    assert refused_part("g", "offers[0]", FORBIDDEN, at_first=False).endswith("Mend the cause, do it again.")
    assert "in part only, not for offers[0]" in refused_part("g", "offers[0]", FORBIDDEN, at_first=False)
    assert "delete the group (kafka-consumer-groups --delete)" in refused_part("g", "p", FORBIDDEN, at_first=True)


@pytest.mark.parametrize("at_first", [False, True])
def test_no_member_is_blamed_for_metadata_that_the_broker_finds_too_long(at_first: bool) -> None:
    for said in (refused_commit("g", TOO_LARGE), refused_part("g", "offers[0]", TOO_LARGE, at_first=at_first)):
        assert said.endswith("set `offset.metadata.max.bytes` of all brokers to that, then do it again.")
        assert "than the 4096 characters" in said
        assert "members" not in said
        assert "delete" not in said


def test_it_can_be_told_from_other_refusals() -> None:
    assert isinstance(commit_refusals.refused_commit("g", TOO_LARGE), MetadataTooLongError)
    assert isinstance(commit_refusals.refused_part("g", "p", TOO_LARGE, at_first=False), MetadataTooLongError)
    assert not isinstance(commit_refusals.refused_commit("g", FORBIDDEN), MetadataTooLongError)
