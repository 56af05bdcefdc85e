"""The four topics must fit together before anything is read; each obstacle is named."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from support.topic_cluster import FOUR, Cluster

from consumer.checks.topics import TopicsReport, check_topics, inspect_topics
from consumer.errors import StartError, TopicsError
from consumer.settings import Settings


def inspect(cluster: Cluster) -> TopicsReport:
    return inspect_topics(cluster, Settings())  # type: ignore[arg-type]


def obstacle(cluster: Cluster) -> str:
    with pytest.raises(TopicsError) as caught:
        inspect(cluster)
    return str(caught.value)


def test_topics_that_fit_are_reported_with_their_partition_count() -> None:
    report = inspect(Cluster(FOUR))
    assert (report.partitions, report.notes) == (6, ())
    assert [topic.name for topic in report.topics] == list(FOUR)
    assert {topic.policy for topic in report.topics} == {"delete"}


def test_unequal_inputs_are_an_obstacle_that_names_both_counts() -> None:
    text = obstacle(Cluster(FOUR | {"checkout.completed": 5}))
    assert "offer.presented has 6 partitions but checkout.completed has 5" in text


@pytest.mark.parametrize("name", list(FOUR))
def test_a_missing_topic_is_named(name: str) -> None:
    counts = {topic: count for topic, count in FOUR.items() if topic != name}
    text = obstacle(Cluster(counts))
    assert f"{name} does not exist" in text
    assert text.count("does not exist") == 1


def test_outputs_with_fewer_partitions_are_an_obstacle_and_with_more_a_note() -> None:
    assert "offer.outcome has 5 partitions but the inputs have 6" in obstacle(Cluster(FOUR | {"offer.outcome": 5}))
    assert "opt-out.dead-letter has 1 partitions" in obstacle(Cluster(FOUR | {"opt-out.dead-letter": 1}))
    (note,) = inspect(Cluster(FOUR | {"offer.outcome": 7})).notes
    assert "offer.outcome has 7 partitions, more than" in note


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete,compact"])
def test_a_compacted_input_is_an_obstacle(policy: str) -> None:
    assert "checkout.completed is compacted" in obstacle(Cluster(FOUR, checkout__completed={"cleanup.policy": policy}))
    assert "offer.presented is compacted" in obstacle(Cluster(FOUR, offer__presented={"cleanup.policy": policy}))


def test_a_compacted_output_is_a_note() -> None:
    (note,) = inspect(Cluster(FOUR, offer__outcome={"cleanup.policy": "compact"})).notes
    assert "offer.outcome is compacted" in note


def test_an_input_kept_for_less_than_a_restart_reads_back_is_a_note() -> None:
    (note,) = inspect(Cluster(FOUR, offer__presented={"retention.ms": "3600000"})).notes
    assert "offer.presented keeps records for 1h, but a restart may need to read back over 2h35m" in note


@pytest.mark.parametrize("kept", ["-1", str(2**63 - 1)])
def test_records_kept_for_ever_are_fine(kept: str) -> None:
    report = inspect(Cluster(FOUR, offer__presented={"retention.ms": kept}))
    assert report.notes == ()
    assert report.topics[0].retention is None


def test_all_obstacles_are_named_at_once() -> None:
    text = obstacle(
        Cluster(
            {"offer.presented": 6, "checkout.completed": 5, "offer.outcome": 6},
            offer__presented={"cleanup.policy": "compact"},
        )
    )
    for part in ("6 partitions but", "opt-out.dead-letter does not exist", "offer.presented is compacted"):
        assert part in text


def test_a_broker_that_does_not_describe_topics_is_no_obstacle_but_noted() -> None:
    denied = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    (note,) = inspect(Cluster(FOUR, offer__presented=denied)).notes
    assert "whether it is compacted was not checked" in note


def test_a_cluster_without_a_controller_is_not_asked_what_it_cannot_answer() -> None:
    cluster = Cluster(FOUR)
    cluster.controller = 0
    report = check_topics(cluster, Settings())  # type: ignore[arg-type]
    assert report.partitions == 6
    assert "was not checked" in report.notes[0]


def test_a_broker_that_does_not_answer_is_a_start_error_that_names_it() -> None:
    class Silent(Cluster):
        def list_topics(self, timeout: float) -> Any:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    with pytest.raises(StartError, match=r"kafka\.bootstrap_servers"):
        inspect(Silent(FOUR))


def test_topics_that_were_just_made_are_reported_so() -> None:
    report = inspect_topics(Cluster(FOUR), Settings(), frozenset({"offer.outcome"}))  # type: ignore[arg-type]
    assert [topic.name for topic in report.topics if topic.created] == ["offer.outcome"]


def test_an_input_created_beside_one_with_another_count_is_an_obstacle() -> None:
    assert "6 partitions but checkout.completed has 3" in obstacle(Cluster(FOUR | {"checkout.completed": 3}))
