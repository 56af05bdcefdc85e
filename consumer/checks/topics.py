"""What the four topics must be like: judged at every start, and by `opt-out topics`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import structlog
from confluent_kafka.admin import AdminClient
from rich.table import Table

from ..errors import TopicsError
from ..kafka.topics import TopicFacts, look_at_topics, topic_names
from ..settings import KafkaSettings, Settings
from ..settings.types import format_duration
from .check import Check

log = structlog.get_logger(__name__)


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
    if problems := [check.words for check in checks if check.level == "problem"]:
        raise TopicsError("the topics do not fit:\n" + "\n".join(f"  {problem}" for problem in problems))
    topics = []
    for name in topic_names(kafka):
        policy, kept = facts.configs.get(name, (None, None))
        topics.append(TopicState(name, facts.counts[name], policy, kept, name in created))
    notes = tuple(check.words for check in checks if check.level == "note")
    return TopicsReport(facts.counts[kafka.offer_topic], tuple(topics), notes)


def judge_topics(facts: TopicFacts, settings: Settings) -> Iterator[Check]:
    """Everything that is wrong with the topics, and everything that should be known of them."""
    for untold in facts.untold:
        yield Check("note", untold)
    yield from _missing(settings.kafka, facts.counts)
    yield from _uneven(settings.kafka, facts.counts)
    yield from _compacted(settings.kafka, facts)
    yield from _soon_deleted(settings, facts)


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


def _missing(kafka: KafkaSettings, counts: dict[str, int]) -> Iterator[Check]:
    for name in (kafka.offer_topic, kafka.checkout_topic):
        if name not in counts:
            yield Check(
                "problem",
                f"the input {name} does not exist, or this principal may not see it: check the name, or create it with "
                "`opt-out topics --create-inputs --partitions N`, or allow Read and Describe on it",
            )
    for name in (kafka.outcome_topic, kafka.dead_letter_topic):
        if name not in counts:
            yield Check(
                "problem",
                f"{name} does not exist, or this principal may not see it: create it with `opt-out topics`, or allow "
                "Write and Describe on it",
            )


def _uneven(kafka: KafkaSettings, counts: dict[str, int]) -> Iterator[Check]:
    offers, checkouts = counts.get(kafka.offer_topic), counts.get(kafka.checkout_topic)
    if offers is None or checkouts is None:
        return
    if offers != checkouts:
        yield Check(
            "problem",
            f"{kafka.offer_topic} has {offers} partitions but {kafka.checkout_topic} has {checkouts}: a session's "
            "offers and checkouts would not meet. Both need the same number, and producers with the same partitioner",
        )
        return
    for name in (kafka.outcome_topic, kafka.dead_letter_topic):
        found = counts.get(name, offers)
        if found < offers:
            yield Check(
                "problem",
                f"{name} has {found} partitions but the inputs have {offers}, and each task writes to the partition "
                f"of its own number: kafka-topics.sh --alter --topic {name} --partitions {offers}",
            )
        elif found > offers:
            yield Check("note", f"{name} has {found} partitions, more than the inputs' {offers}: the rest stays empty")


def _compacted(kafka: KafkaSettings, facts: TopicFacts) -> Iterator[Check]:
    for name in topic_names(kafka):
        policy, _ = facts.configs.get(name, ("", None))
        if "compact" not in policy:
            continue
        if name in (kafka.offer_topic, kafka.checkout_topic):
            yield Check(
                "problem",
                f"{name} is compacted (cleanup.policy={policy}): it keeps one event of a session and deletes the "
                "others; set cleanup.policy=delete",
            )
        else:
            yield Check(
                "note", f"{name} is compacted: records with the same key will be deleted; set cleanup.policy=delete"
            )


def _soon_deleted(settings: Settings, facts: TopicFacts) -> Iterator[Check]:
    needed = settings.join.lookback + settings.join.window + settings.join.lateness
    for name in (settings.kafka.offer_topic, settings.kafka.checkout_topic):
        _, kept = facts.configs.get(name, ("", None))
        if kept is not None and kept < needed:
            yield Check(
                "note",
                f"{name} keeps records for {format_duration(kept)}, but a restart may need to read back over "
                f"{format_duration(needed)}: raise retention.ms",
            )
