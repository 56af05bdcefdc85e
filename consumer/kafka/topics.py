"""The four topics: what they must be like, checked at every start, and made by `opt-out topics`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    ResourceType,
)
from rich.table import Table

from ..errors import StartError, TopicsError
from ..settings import KafkaSettings, Settings
from ..settings.durations import format_duration

log = structlog.get_logger(__name__)

_TIMEOUT = 15.0
"""Seconds to wait for a broker's answer."""

OUTPUT_RETENTION = timedelta(days=365)
"""Outcomes are what conversion is proved with, and dead letters wait for people."""

INPUT_RETENTION = timedelta(days=30)
"""The inputs are the only store: they must outlast any outage, and a backfill reads them again."""


@dataclass(frozen=True, slots=True)
class TopicState:
    """One topic as the broker describes it.

    Attributes:
        policy: cleanup.policy; None if the broker does not tell.
        retention: retention.ms; None if the broker does not tell or keeps records for ever.
        created: just now.
    """

    name: str
    partitions: int
    policy: str | None = None
    retention: timedelta | None = None
    created: bool = False


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What was found.

    Attributes:
        partitions: of each input topic, and so the number of tasks.
        topics: the four, inputs first.
        notes: what is no obstacle but should be known.
    """

    partitions: int
    topics: tuple[TopicState, ...]
    notes: tuple[str, ...]


def check_topics(admin: AdminClient, settings: Settings) -> TopicsReport:
    """Check that the four topics exist and fit together; log what should be known.

    Raises:
        TopicsError: they do not; every obstacle is named.
        StartError: the broker does not answer.
    """
    report = inspect_topics(admin, settings)
    for note in report.notes:
        log.warning("topics", note=note)
    return report


def inspect_topics(admin: AdminClient, settings: Settings, created: frozenset[str] = frozenset()) -> TopicsReport:
    """As `check_topics`, without logging. `created`: topics to be reported as just made."""
    kafka = settings.kafka
    metadata = _metadata(admin, kafka)
    names = _names(kafka)
    counts = _counts(metadata, names)
    configs, notes = _configs(admin, metadata, [name for name in names if name in counts])
    problems = _missing(kafka, counts) + _uneven(kafka, counts, notes)
    for name in names:
        policy, _ = configs.get(name, (None, None))
        if policy is not None and "compact" in policy:
            if name in (kafka.offer_topic, kafka.checkout_topic):
                problems.append(
                    f"{name} is compacted (cleanup.policy={policy}): it keeps one event of a session and deletes the "
                    "others; set cleanup.policy=delete"
                )
            else:
                notes.append(
                    f"{name} is compacted: records with the same key will be deleted; set cleanup.policy=delete"
                )
    needed = settings.join.lookback + settings.join.window + settings.join.lateness
    for name in (kafka.offer_topic, kafka.checkout_topic):
        _, kept = configs.get(name, (None, None))
        if kept is not None and kept < needed:
            notes.append(
                f"{name} keeps records for {format_duration(kept)}, but a restart may need to read back over "
                f"{format_duration(needed)}: raise retention.ms"
            )
    if problems:
        raise TopicsError("the topics do not fit:\n" + "\n".join(f"  {problem}" for problem in problems))
    topics = []
    for name in names:
        policy, kept = configs.get(name, (None, None))
        topics.append(TopicState(name, counts[name], policy, kept, name in created))
    return TopicsReport(counts[kafka.offer_topic], tuple(topics), tuple(notes))


def table(report: TopicsReport) -> Table:
    """The topics for a terminal."""
    shown = Table(title="Topics")
    for heading in ("topic", "partitions", "cleanup.policy", "kept for", ""):
        shown.add_column(heading)
    for topic in report.topics:
        kept = "?" if topic.policy is None else "ever" if topic.retention is None else format_duration(topic.retention)
        shown.add_row(
            topic.name, str(topic.partitions), topic.policy or "?", kept, "created" if topic.created else "ok"
        )
    return shown


def make_topics(
    admin: AdminClient, settings: Settings, *, inputs: bool = False, partitions: int | None = None
) -> TopicsReport:
    """Create the outcome and the dead-letter topic where they are missing, then check all four.

    Args:
        inputs: create missing input topics too.
        partitions: of input topics that are created.

    Raises:
        TopicsError: a topic could not be created, or the four do not fit together.
        StartError: the broker does not answer.
    """
    kafka = settings.kafka
    metadata = _metadata(admin, kafka)
    counts = _counts(metadata, _names(kafka))
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
            _new(name, max(found), OUTPUT_RETENTION)
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
        _wait_until_known(admin, settings, wanted)
    return inspect_topics(admin, settings, frozenset(topic.topic for topic in wanted))


def _new(name: str, partitions: int, retention: timedelta) -> NewTopic:
    # No replication factor: the broker's default is what its operators chose.
    config = {"cleanup.policy": "delete", "retention.ms": str(retention // timedelta(milliseconds=1))}
    return NewTopic(name, num_partitions=partitions, config=config)


def _wait_until_known(admin: AdminClient, settings: Settings, wanted: list[NewTopic]) -> None:
    """Creation is acknowledged by the controller; the broker that is asked may hear of it a little later."""
    names = [topic.topic for topic in wanted]
    for _ in range(100):
        if len(_counts(_metadata(admin, settings.kafka), names)) == len(names):
            return
        time.sleep(0.1)
    raise TopicsError(f"created {', '.join(names)}, but the brokers do not list them yet: run this again")


def _names(kafka: KafkaSettings) -> list[str]:
    return [kafka.offer_topic, kafka.checkout_topic, kafka.outcome_topic, kafka.dead_letter_topic]


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
) -> tuple[dict[str, tuple[str, timedelta | None]], list[str]]:
    """(cleanup.policy, retention) of each topic of which the broker tells, and what it did not tell."""
    if not _has_controller(metadata):
        # Such as librdkafka's mock cluster, which would let the question time out.
        return {}, ["the cluster does not describe topic settings: whether the inputs are compacted was not checked"]
    configs: dict[str, tuple[str, timedelta | None]] = {}
    notes: list[str] = []
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    answers = admin.describe_configs(resources, request_timeout=_TIMEOUT) if resources else {}
    for resource, answer in answers.items():
        try:
            entries = answer.result()
        except KafkaException as error:
            notes.append(
                f"the broker does not describe {resource.name} ({error.args[0].str()}): whether it is compacted was "
                "not checked; allow DescribeConfigs on it"
            )
            continue
        kept = int(entries["retention.ms"].value)
        # Longer than a timedelta can say is for ever.
        retention = None if kept < 0 or kept > 10**14 else timedelta(milliseconds=kept)
        configs[resource.name] = entries["cleanup.policy"].value, retention
    return configs, notes


def _missing(kafka: KafkaSettings, counts: dict[str, int]) -> list[str]:
    problems = [
        f"the input {name} does not exist: check the name, or create it with "
        "`opt-out topics --create-inputs --partitions N`"
        for name in (kafka.offer_topic, kafka.checkout_topic)
        if name not in counts
    ]
    return problems + [
        f"{name} does not exist: create it with `opt-out topics`"
        for name in (kafka.outcome_topic, kafka.dead_letter_topic)
        if name not in counts
    ]


def _uneven(kafka: KafkaSettings, counts: dict[str, int], notes: list[str]) -> list[str]:
    offers, checkouts = counts.get(kafka.offer_topic), counts.get(kafka.checkout_topic)
    if offers is None or checkouts is None:
        return []
    if offers != checkouts:
        return [
            f"{kafka.offer_topic} has {offers} partitions but {kafka.checkout_topic} has {checkouts}: a session's "
            "offers and checkouts would not meet. Both need the same number, and producers with the same partitioner"
        ]
    problems = []
    for name in (kafka.outcome_topic, kafka.dead_letter_topic):
        found = counts.get(name, offers)
        if found < offers:
            problems.append(
                f"{name} has {found} partitions but the inputs have {offers}, and each task writes to the partition "
                f"of its own number: kafka-topics.sh --alter --topic {name} --partitions {offers}"
            )
        elif found > offers:
            notes.append(f"{name} has {found} partitions, more than the inputs' {offers}: the rest stays empty")
    return problems
