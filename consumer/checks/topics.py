"""What the four topics must be like: judged at every start, and by `opt-out topics`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import structlog
from confluent_kafka.admin import AdminClient

from ..errors import TopicsError
from ..kafka.config import BATCH
from ..kafka.topics import TopicConfig, TopicFacts, look_at_topics, topic_names
from ..output import Cell, Column, Document, TableShown
from ..settings import KafkaSettings, Settings
from ..settings.types import format_duration
from .check import Check, errors_of
from .limits import judge_limits

log = structlog.get_logger(__name__)

NAME = "topics"
"""Of the checks."""


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
    facts = look_at_topics(admin, kafka)
    checks = list(judge_topics(facts, settings))
    if errors := errors_of(checks):
        raise TopicsError("the topics do not fit:\n" + "\n".join(f"  {error}" for error in errors))
    topics = []
    for name in topic_names(kafka):
        told = facts.configs.get(name)
        policy, kept = (None, None) if told is None else (told.policy, told.retention)
        topics.append(TopicState(name, facts.counts[name], policy, kept, name in created))
    if facts.limits is not None:
        checks += judge_limits(facts.limits)
    notes = tuple(check.words for check in checks if check.level == "warning")
    return TopicsReport(facts.counts[kafka.offer_topic], tuple(topics), notes)


def judge_topics(facts: TopicFacts, settings: Settings) -> Iterator[Check]:
    """Everything that is wrong with the topics, and everything that should be known of them."""
    for untold in facts.untold:
        yield Check(NAME, "warning", *untold)
    yield from _missing(settings.kafka, facts.counts)
    yield from _uneven(settings.kafka, facts.counts)
    yield from _compacted(settings.kafka, facts)
    yield from _soon_deleted(settings, facts)
    yield from _few_copies(settings.kafka, facts)
    yield from _small_messages(settings.kafka, facts)


def fit(facts: TopicFacts, kafka: KafkaSettings) -> Check:
    """What is said of topics with which all is well; they are all there."""
    kept = ", ".join(f"{name} {kept_for(told)}" for name, told in facts.configs.items())
    partitions = facts.counts.get(kafka.offer_topic, 0)
    return Check(NAME, "ok", f"all four are there, with {partitions} partitions each. Records are kept: {kept}")


def kept_for(told: TopicConfig | None) -> str:
    """For how long a topic keeps its records, for people."""
    return "?" if told is None else _words_of(told.retention)


def document(report: TopicsReport) -> Document:
    """The topics and the notes, as `opt-out topics` shows them."""
    columns = [
        Column("topic", "topic"),
        Column("partitions", "partitions", is_number=True),
        Column("cleanup_policy", "cleanup.policy"),
        Column("kept_for", "kept for"),
        Column("retention_ms"),
        Column("state", "state"),
    ]
    rows = [
        [
            topic.name,
            topic.partitions,
            Cell(topic.policy or "?", topic.policy),
            _kept(topic),
            None if topic.retention is None else topic.retention // timedelta(milliseconds=1),
            "created" if topic.created else "ok",
        ]
        for topic in report.topics
    ]
    return Document({"topics": TableShown("Topics", columns, rows)}, notes=report.notes)


def _kept(topic: TopicState) -> Cell:
    if topic.policy is None:
        return Cell("?", None)
    text = _words_of(topic.retention)
    return Cell(text, text)


def _words_of(retention: timedelta | None) -> str:
    return "ever" if retention is None else format_duration(retention)


def _missing(kafka: KafkaSettings, counts: dict[str, int]) -> Iterator[Check]:
    for name in (kafka.offer_topic, kafka.checkout_topic):
        if name not in counts:
            yield Check(
                NAME,
                "error",
                f"the input {name} does not exist, or this principal may not see it",
                "check the name, or create it with `opt-out topics --create-inputs --partitions N`, or allow Read and "
                "Describe on it",
            )
    for name in (kafka.outcome_topic, kafka.dead_letter_topic):
        if name not in counts:
            yield Check(
                NAME,
                "error",
                f"{name} does not exist, or this principal may not see it",
                "create it with `opt-out topics`, or allow Write and Describe on it",
            )


def _uneven(kafka: KafkaSettings, counts: dict[str, int]) -> Iterator[Check]:
    offers, checkouts = counts.get(kafka.offer_topic), counts.get(kafka.checkout_topic)
    if offers is None or checkouts is None:
        return
    if offers != checkouts:
        yield Check(
            NAME,
            "error",
            f"{kafka.offer_topic} has {offers} partitions but {kafka.checkout_topic} has {checkouts}, so a session's "
            "offers and checkouts would not meet",
            "both need the same number, and producers with the same partitioner",
        )
        return
    for name in (kafka.outcome_topic, kafka.dead_letter_topic):
        found = counts.get(name, offers)
        if found < offers:
            yield Check(
                NAME,
                "error",
                f"{name} has {found} partitions but the inputs have {offers}, and each task writes to the partition "
                "of its own number",
                f"kafka-topics.sh --alter --topic {name} --partitions {offers}",
            )
        elif found > offers:
            yield Check(
                NAME, "warning", f"{name} has {found} partitions, more than the inputs' {offers}: the rest stays empty"
            )


def _compacted(kafka: KafkaSettings, facts: TopicFacts) -> Iterator[Check]:
    for name, told in facts.configs.items():
        if "compact" not in told.policy:
            continue
        if name in (kafka.offer_topic, kafka.checkout_topic):
            yield Check(
                NAME,
                "error",
                f"{name} is compacted (cleanup.policy={told.policy}), so it keeps one event of a session and deletes "
                "the others",
                "set cleanup.policy=delete",
            )
        else:
            yield Check(
                NAME,
                "warning",
                f"{name} is compacted, so records with the same key will be deleted",
                "set cleanup.policy=delete",
            )


def _soon_deleted(settings: Settings, facts: TopicFacts) -> Iterator[Check]:
    needed = settings.join.lookback + settings.join.window + settings.join.lateness
    for name in (settings.kafka.offer_topic, settings.kafka.checkout_topic):
        told = facts.configs.get(name)
        if told is not None and told.retention is not None and told.retention < needed:
            yield Check(
                NAME,
                "warning",
                f"{name} keeps records for {format_duration(told.retention)}, but a restart may need to read back over "
                f"{format_duration(needed)}",
                "raise retention.ms",
            )


def _few_copies(kafka: KafkaSettings, facts: TopicFacts) -> Iterator[Check]:
    for name in (kafka.outcome_topic, kafka.dead_letter_topic):
        told, copies = facts.configs.get(name), facts.copies.get(name, 0)
        if told is None or told.min_insync is None:
            continue
        if told.min_insync > copies:
            yield Check(
                NAME,
                "error",
                f"{name} has {copies} copies and min.insync.replicas={told.min_insync}, so nothing can be written",
                "give it more copies, or lower min.insync.replicas",
            )
        elif told.min_insync == 1 and copies > 1:
            yield Check(
                NAME,
                "warning",
                f"{name} has {copies} copies and min.insync.replicas=1, so a record may be acknowledged by one broker "
                "alone and be lost with it, while the offset that relies on it is committed",
                f"kafka-configs.sh --alter --topic {name} --add-config min.insync.replicas=2",
            )


def _small_messages(kafka: KafkaSettings, facts: TopicFacts) -> Iterator[Check]:
    most = {name: told.max_message for name, told in facts.configs.items() if told.max_message is not None}
    for name in (kafka.outcome_topic, kafka.dead_letter_topic):
        if most.get(name, BATCH) < BATCH:
            yield Check(
                NAME,
                "warning",
                f"{name} takes at most {most[name]} bytes at once (max.message.bytes), and up to {BATCH} are written: "
                "when that is refused, the service stops",
                "leave max.message.bytes at its default of 1 MiB",
            )
    inputs = [most[name] for name in (kafka.offer_topic, kafka.checkout_topic) if name in most]
    letters = most.get(kafka.dead_letter_topic)
    if letters is not None and inputs and letters < max(inputs):
        yield Check(
            NAME,
            "warning",
            f"{kafka.dead_letter_topic} takes {letters} bytes a record (max.message.bytes), the inputs {max(inputs)}: "
            "of a larger record only its place and its hash are kept",
            "give it at least the inputs' max.message.bytes",
        )
