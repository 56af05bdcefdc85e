"""The four topics: what the broker tells of them, and the making of those that are missing.

What they must be like is judged in `checks.topics`; nothing here asks for that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from ..errors import StartError, TopicsError
from ..settings import KafkaSettings

_TIMEOUT = 15.0
"""Seconds to wait for a broker's answer."""

_TIMEOUT_LIMITS = 5.0
"""Seconds to wait for what is good to know, and is no obstacle."""

OUTPUT_RETENTION = timedelta(days=365)
"""Outcomes are what conversion is proved with, and dead letters wait for people."""

INPUT_RETENTION = timedelta(days=30)
"""The inputs are the only store: they must outlast any outage, and a backfill reads them again."""


STAMPED_BY_BROKER = {"message.timestamp.type": "LogAppendTime"}
"""Of what we write, the broker's stamp tells what time it has. Ours would tell nothing that `settled_at` does not."""


class TopicConfig(NamedTuple):
    """What the broker tells of a topic's settings.

    Attributes:
        policy: cleanup.policy.
        retention: retention.ms; None: for ever.
        min_insync: min.insync.replicas; None where it is not told, here and below.
        max_message: max.message.bytes.
        most_bytes: retention.bytes of a partition; None also where there is no bound.
        segment: segment.ms.
    """

    policy: str
    retention: timedelta | None
    min_insync: int | None = None
    max_message: int | None = None
    most_bytes: int | None = None
    segment: timedelta | None = None


class BrokerLimits(NamedTuple):
    """What a broker tells of its own settings; None where it does not.

    Attributes:
        offset_metadata: offset.metadata.max.bytes.
        offsets_kept: offsets.retention.minutes: how long positions outlive the last member of their group.
        message: message.max.bytes.
    """

    offset_metadata: int | None
    offsets_kept: timedelta | None
    message: int | None


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the broker tells of the four topics.

    Attributes:
        counts: the partitions of each topic that exists.
        copies: of the partition of each topic that has the fewest.
        configs: the settings of each topic of which the broker tells.
        untold: in words, what the broker does not tell of the topics, and what to do about it.
        limits: None where the broker does not tell.
    """

    counts: dict[str, int]
    copies: dict[str, int]
    configs: dict[str, TopicConfig]
    untold: list[tuple[str, str]]
    limits: BrokerLimits | None


def topic_names(kafka: KafkaSettings) -> list[str]:
    """The four, inputs first."""
    return [kafka.offer_topic, kafka.checkout_topic, kafka.outcome_topic, kafka.dead_letter_topic]


def look_at_topics(admin: AdminClient, kafka: KafkaSettings) -> TopicFacts:
    """Ask the broker for the four topics.

    Raises:
        StartError: it does not answer.
    """
    metadata = _metadata(admin, kafka)
    names = topic_names(kafka)
    counts = _counts(metadata, names)
    copies = {name: min(len(one.replicas) for one in metadata.topics[name].partitions.values()) for name in counts}
    return TopicFacts(counts, copies, *_configs(admin, metadata, list(counts)))


def create_topics(
    admin: AdminClient, kafka: KafkaSettings, *, inputs: bool = False, partitions: int | None = None
) -> frozenset[str]:
    """Create the outcome and the dead-letter topic where they are missing. Returns the names of those created.

    Args:
        inputs: create missing input topics too.
        partitions: of input topics that are created.

    Raises:
        TopicsError: a topic could not be created.
        StartError: the broker does not answer.
    """
    metadata = _metadata(admin, kafka)
    counts = _counts(metadata, topic_names(kafka))
    wanted: list[NewTopic] = []
    for name in (kafka.offer_topic, kafka.checkout_topic):
        if name not in counts and inputs:
            if partitions is None:
                raise TopicsError(f"{name} does not exist: say with --partitions how many it is to have")
            wanted.append(_new(name, partitions, INPUT_RETENTION))
            counts[name] = partitions
    found = [counts[name] for name in (kafka.offer_topic, kafka.checkout_topic) if name in counts]
    if len(found) == 2:
        wanted += [
            _new(name, max(found), OUTPUT_RETENTION, **STAMPED_BY_BROKER)
            for name in (kafka.outcome_topic, kafka.dead_letter_topic)
            if name not in counts
        ]
    if wanted and not _has_controller(metadata):
        raise TopicsError("this cluster names no controller, so it cannot create topics: create them where it was made")
    if wanted:
        for name, answer in admin.create_topics(wanted, request_timeout=_TIMEOUT).items():
            try:
                answer.result()
            except KafkaException as error:
                raise TopicsError(f"{name} could not be created: {error.args[0].str()}") from error
        _wait_until_known(admin, kafka, wanted)
    return frozenset(topic.topic for topic in wanted)


def _new(name: str, partitions: int, retention: timedelta, **more: str) -> NewTopic:
    # No replication factor: the broker's default is what its operators chose.
    config = {"cleanup.policy": "delete", "retention.ms": str(retention // timedelta(milliseconds=1))} | more
    return NewTopic(name, num_partitions=partitions, config=config)


def _wait_until_known(admin: AdminClient, kafka: KafkaSettings, wanted: list[NewTopic]) -> None:
    """Creation is acknowledged by the controller; the broker that is asked may hear of it a little later."""
    names = [topic.topic for topic in wanted]
    for _ in range(100):
        if len(_counts(_metadata(admin, kafka), names)) == len(names):
            return
        time.sleep(0.1)
    raise TopicsError(f"created {', '.join(names)}, but the brokers do not list them yet: run this again")


def _metadata(admin: AdminClient, kafka: KafkaSettings) -> ClusterMetadata:
    try:
        # All topics: to ask for one by name would create it on brokers that create topics on demand.
        return admin.list_topics(timeout=_TIMEOUT)
    except KafkaException as error:
        raise StartError(
            f"no broker of {kafka.bootstrap_servers} answered within {_TIMEOUT:g} s: {error.args[0].str()}. Check "
            "kafka.bootstrap_servers, the network, and the security settings in kafka.properties."
        ) from error


def _counts(metadata: ClusterMetadata, names: list[str]) -> dict[str, int]:
    return {
        name: len(metadata.topics[name].partitions)
        for name in names
        if name in metadata.topics and metadata.topics[name].partitions
    }


def _has_controller(metadata: ClusterMetadata) -> bool:
    return metadata.controller_id in metadata.brokers


def _configs(
    admin: AdminClient, metadata: ClusterMetadata, names: list[str]
) -> tuple[dict[str, TopicConfig], list[tuple[str, str]], BrokerLimits | None]:
    """The settings of each topic of which the broker tells, what it did not tell, and its own."""
    if not _has_controller(metadata):
        # Such as librdkafka's mock cluster, which would let the question time out.
        untold = "the cluster does not describe topic settings, so whether the inputs are compacted was not checked"
        return {}, [(untold, "")], None
    configs: dict[str, TopicConfig] = {}
    not_told: list[tuple[str, str]] = []
    # In a request of its own: not every broker answers that one, and the topics are what a start needs.
    broker = ConfigResource(ResourceType.BROKER, str(metadata.controller_id))
    limits = admin.describe_configs([broker], request_timeout=_TIMEOUT_LIMITS)[broker]
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources, request_timeout=_TIMEOUT) if resources else {}
    for resource, answer in answers.items():
        try:
            config = _topic_config(answer.result())
        except KafkaException as error:
            words = f"the broker does not describe {resource.name} ({error.args[0].str()}), so whether it is compacted "
            not_told.append((f"{words}was not checked", "allow DescribeConfigs on it"))
            continue
        if config is None:
            untold = "does not list cleanup.policy and retention.ms of"
            not_told.append((f"the broker {untold} {resource.name}, so whether it is compacted was not checked", ""))
        else:
            configs[resource.name] = config
    try:
        return configs, not_told, _limits(limits.result())
    except KafkaException:  # such as without the right on the cluster, which a start does not need
        return configs, not_told, None


def _topic_config(entries: Mapping[str, Any]) -> TopicConfig | None:
    """None where the broker does not list what a start goes by."""
    kept, policy = number(entries, "retention.ms"), entries.get("cleanup.policy")
    if kept is None or policy is None or policy.value is None:
        return None
    # Longer than a timedelta can say is for ever.
    retention = None if kept < 0 or kept > 10**14 else timedelta(milliseconds=kept)
    most_bytes, segment_ms = number(entries, "retention.bytes"), number(entries, "segment.ms")
    return TopicConfig(
        policy.value,
        retention,
        number(entries, "min.insync.replicas"),
        number(entries, "max.message.bytes"),
        None if most_bytes is None or most_bytes < 0 else most_bytes,
        None if segment_ms is None or segment_ms > 10**14 else timedelta(milliseconds=segment_ms),
    )


def _limits(entries: Mapping[str, Any]) -> BrokerLimits:
    kept = number(entries, "offsets.retention.minutes")
    return BrokerLimits(
        number(entries, "offset.metadata.max.bytes"),
        None if kept is None else timedelta(minutes=kept),
        number(entries, "message.max.bytes"),
    )


def number(entries: Mapping[str, Any], name: str) -> int | None:
    """What the broker tells of one setting; None where it does not list it, or lists it without a value."""
    entry = entries.get(name)
    return None if entry is None or entry.value is None else int(entry.value)
