"""What is missing of the four topics is made, and nothing else is touched."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from support.topic_cluster import FOUR, TopicCluster, done

from consumer.errors import TopicsError
from consumer.kafka.topics import create_topics
from consumer.settings import KafkaSettings


def make(cluster: TopicCluster, **how: Any) -> frozenset[str]:
    return create_topics(cluster, KafkaSettings(), **how)  # type: ignore[arg-type]


def test_missing_outputs_are_created_with_as_many_partitions_deleting_and_long_kept() -> None:
    cluster = TopicCluster({"offer.presented": 6, "checkout.completed": 6})
    assert make(cluster) == {"offer.outcome", "opt-out.dead-letter"}
    for topic in cluster.created:
        assert topic.num_partitions == 6
        assert topic.config == {
            "cleanup.policy": "delete",
            "retention.ms": str(365 * 86_400_000),
            "message.timestamp.type": "LogAppendTime",
        }


def test_what_exists_is_left_as_it_is() -> None:
    cluster = TopicCluster(FOUR)
    assert make(cluster, inputs=True, partitions=12) == set()
    assert cluster.created == []


def test_missing_inputs_are_created_only_when_asked_for() -> None:
    cluster = TopicCluster({})
    assert make(cluster) == set()
    assert cluster.created == []
    assert make(cluster, inputs=True, partitions=3) == set(FOUR)
    assert cluster.counts == dict.fromkeys(FOUR, 3)


def test_creating_asks_for_no_check() -> None:
    """Topics that do not fit together are for the check to find, once what is missing has been made."""
    cluster = TopicCluster({"offer.presented": 6})
    assert make(cluster, inputs=True, partitions=3) == set(FOUR) - {"offer.presented"}
    assert cluster.counts == {
        "offer.presented": 6,
        "checkout.completed": 3,
        "offer.outcome": 6,
        "opt-out.dead-letter": 6,
    }


def test_a_topic_that_cannot_be_created_is_named() -> None:
    class Refusing(TopicCluster):
        def create_topics(self, topics: list[Any], request_timeout: float) -> dict[str, Future[Any]]:
            error = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "not yours"))
            return {topic.topic: done(error) for topic in topics}

    with pytest.raises(TopicsError, match=r"offer\.outcome could not be created: not yours"):
        make(Refusing({"offer.presented": 6, "checkout.completed": 6}))
