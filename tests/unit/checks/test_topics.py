"""The four topics must fit together before anything is read; each obstacle is named."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from support.topic_cluster import FOUR, TopicCluster

from consumer.checks.topics import TopicsReport, check_topics, inspect_topics
from consumer.errors import StartError, TopicsError
from consumer.settings import Settings


def inspect(cluster: TopicCluster) -> TopicsReport:
    return inspect_topics(cluster, Settings())  # type: ignore[arg-type]


def obstacle(cluster: TopicCluster) -> str:
    with pytest.raises(TopicsError) as caught:
        inspect(cluster)
    return str(caught.value)


def test_topics_that_fit_are_reported_with_their_partition_count() -> None:
    report = inspect(TopicCluster(FOUR))
    assert (report.partitions, report.notes) == (6, ())
    assert [topic.name for topic in report.topics] == list(FOUR)
    assert {topic.policy for topic in report.topics} == {"delete"}


def test_unequal_inputs_are_an_obstacle_that_names_both_counts() -> None:
    text = obstacle(TopicCluster(FOUR | {"checkout.completed": 5}))
    assert "offer.presented has 6 partitions but checkout.completed has 5" in text


@pytest.mark.parametrize("name", list(FOUR))
def test_a_missing_topic_is_named(name: str) -> None:
    counts = {topic: count for topic, count in FOUR.items() if topic != name}
    text = obstacle(TopicCluster(counts))
    assert f"{name} does not exist" in text
    assert text.count("does not exist") == 1


def test_outputs_with_fewer_partitions_are_an_obstacle_and_with_more_a_note() -> None:
    assert "offer.outcome has 5 partitions but the inputs have 6" in obstacle(TopicCluster(FOUR | {"offer.outcome": 5}))
    assert "opt-out.dead-letter has 1 partitions" in obstacle(TopicCluster(FOUR | {"opt-out.dead-letter": 1}))
    (note,) = inspect(TopicCluster(FOUR | {"offer.outcome": 7})).notes
    assert "offer.outcome has 7 partitions, more than" in note


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete,compact"])
def test_a_compacted_input_is_an_obstacle(policy: str) -> None:
    assert "checkout.completed is compacted" in obstacle(
        TopicCluster(FOUR, checkout__completed={"cleanup.policy": policy})
    )
    assert "offer.presented is compacted" in obstacle(TopicCluster(FOUR, offer__presented={"cleanup.policy": policy}))


def test_a_compacted_output_is_a_note() -> None:
    (note,) = inspect(TopicCluster(FOUR, offer__outcome={"cleanup.policy": "compact"})).notes
    assert "offer.outcome is compacted" in note


def test_an_input_kept_for_less_than_a_restart_reads_back_is_a_note() -> None:
    (note,) = inspect(TopicCluster(FOUR, offer__presented={"retention.ms": "3600000"})).notes
    assert "offer.presented keeps records for 1h, but a restart may need to read back over 2h35m" in note


@pytest.mark.parametrize("kept", ["-1", str(2**63 - 1)])
def test_records_kept_for_ever_are_fine(kept: str) -> None:
    report = inspect(TopicCluster(FOUR, offer__presented={"retention.ms": kept}))
    assert report.notes == ()
    assert report.topics[0].retention is None


def test_all_obstacles_are_named_at_once() -> None:
    text = obstacle(
        TopicCluster(
            {"offer.presented": 6, "checkout.completed": 5, "offer.outcome": 6},
            offer__presented={"cleanup.policy": "compact"},
        )
    )
    for part in ("6 partitions but", "opt-out.dead-letter does not exist", "offer.presented is compacted"):
        assert part in text


def test_a_broker_that_does_not_describe_topics_is_no_obstacle_but_noted() -> None:
    denied = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    (note,) = inspect(TopicCluster(FOUR, offer__presented=denied)).notes
    assert "whether it is compacted was not checked" in note


@pytest.mark.parametrize("name", ["cleanup.policy", "retention.ms"])
def test_a_broker_that_does_not_list_a_setting_is_no_obstacle_but_noted(name: str) -> None:
    """What only speaks Kafka's protocol may list some of a topic's settings."""
    (note,) = inspect(TopicCluster(FOUR, offer__presented={name: None})).notes
    assert "does not list cleanup.policy and retention.ms of offer.presented" in str(note)


def test_a_cluster_without_a_controller_is_not_asked_what_it_cannot_answer() -> None:
    cluster = TopicCluster(FOUR)
    cluster.controller = 0
    report = check_topics(cluster, Settings())  # type: ignore[arg-type]
    assert report.partitions == 6
    assert "was not checked" in report.notes[0]


def test_a_broker_that_does_not_answer_is_a_start_error_that_names_it() -> None:
    class Silent(TopicCluster):
        def list_topics(self, timeout: float) -> Any:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    with pytest.raises(StartError, match=r"kafka\.bootstrap_servers"):
        inspect(Silent(FOUR))


def test_topics_that_were_just_made_are_reported_so() -> None:
    report = inspect_topics(TopicCluster(FOUR), Settings(), frozenset({"offer.outcome"}))  # type: ignore[arg-type]
    assert [topic.name for topic in report.topics if topic.created] == ["offer.outcome"]


def test_an_input_created_beside_one_with_another_count_is_an_obstacle() -> None:
    assert "6 partitions but checkout.completed has 3" in obstacle(TopicCluster(FOUR | {"checkout.completed": 3}))


def copies(of: int, **outcome: str) -> TopicCluster:
    cluster = TopicCluster(FOUR, offer__outcome=outcome)
    cluster.copies = of
    return cluster


def test_outcomes_that_one_broker_alone_may_hold_are_a_note_where_there_are_more_copies() -> None:
    one = {"min.insync.replicas": "1"}
    (note,) = inspect(copies(3, **one)).notes
    assert "offer.outcome has 3 copies and min.insync.replicas=1" in note
    assert "--add-config min.insync.replicas=2" in note
    assert inspect(copies(1, **one)).notes == ()
    assert inspect(copies(3, **{"min.insync.replicas": "2"})).notes == ()


def test_more_copies_in_sync_than_there_are_is_an_obstacle() -> None:
    assert "has 1 copies and min.insync.replicas=2, so nothing can be written" in obstacle(
        copies(1, **{"min.insync.replicas": "2"})
    )


def test_an_output_that_takes_less_than_is_written_at_once_is_a_note() -> None:
    (note,) = inspect(TopicCluster(FOUR, offer__outcome={"max.message.bytes": "65535"})).notes
    assert "offer.outcome takes at most 65535 bytes at once" in note
    assert inspect(TopicCluster(FOUR, offer__outcome={"max.message.bytes": "65536"})).notes == ()


def test_a_dead_letter_topic_that_takes_less_than_the_inputs_is_a_note() -> None:
    small, large = {"max.message.bytes": "100000"}, {"max.message.bytes": "200000"}
    (note,) = inspect(TopicCluster(FOUR, opt_out__dead_letter=small, checkout__completed=large)).notes
    assert "takes 100000 bytes a record (max.message.bytes), the inputs 200000" in note
    assert inspect(TopicCluster(FOUR, opt_out__dead_letter=large, checkout__completed=small)).notes == ()


def test_brokers_that_take_little_metadata_are_a_note_and_such_that_do_not_tell_are_none() -> None:
    cluster = TopicCluster(FOUR)
    cluster.broker = {"offset.metadata.max.bytes": "1000"}
    (note,) = inspect(cluster).notes
    assert "the brokers take 1000 bytes of a commit's metadata" in note
    cluster.broker = KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))
    assert inspect(cluster).notes == ()
