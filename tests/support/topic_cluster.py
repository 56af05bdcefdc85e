"""A cluster of which only the topics matter, as an admin client sees it."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from confluent_kafka.admin import ResourceType

FOUR = {"offer.presented": 6, "checkout.completed": 6, "offer.outcome": 6, "opt-out.dead-letter": 6}


def done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
    return future


class TopicCluster:
    """What `topics` asks of an admin client, answered from memory.

    `configs` are the settings of topics; one that is None is not listed.

    Attributes:
        broker: the settings of the one broker that is asked for them, or why it does not tell.
        copies: of each partition.
    """

    def __init__(self, counts: dict[str, int], **configs: dict[str, str | None] | dict[str, str] | Exception) -> None:
        self.counts = dict(counts)
        self.configs = {name.replace("__", ".").replace("_", "-"): config for name, config in configs.items()}
        self.controller = 1
        self.copies = 3
        self.broker: dict[str, str] | Exception = {}
        self.created: list[Any] = []

    def list_topics(self, timeout: float) -> Any:
        copies = SimpleNamespace(replicas=range(self.copies))
        topics = {name: SimpleNamespace(partitions=dict.fromkeys(range(n), copies)) for name, n in self.counts.items()}
        return SimpleNamespace(topics=topics, brokers={1: None}, controller_id=self.controller)

    def describe_configs(self, resources: list[Any], request_timeout: float) -> dict[Any, Future[Any]]:
        assert self.controller == 1, "a cluster without a controller lets this question time out"
        answers = {}
        for resource in resources:
            is_broker = resource.restype is ResourceType.BROKER
            config = self.broker if is_broker else self.configs.get(resource.name, {})
            if isinstance(config, Exception):
                answers[resource] = done(config)
                continue
            usual = {} if is_broker else {"cleanup.policy": "delete", "retention.ms": "604800000"}
            entries = {name: value for name, value in (usual | config).items() if value is not None}
            answers[resource] = done({name: SimpleNamespace(value=value) for name, value in entries.items()})
        return answers

    def create_topics(self, topics: list[Any], request_timeout: float) -> dict[str, Future[Any]]:
        for topic in topics:
            self.counts[topic.topic] = topic.num_partitions
            self.configs[topic.topic] = topic.config
        self.created += topics
        return {topic.topic: done(None) for topic in topics}
