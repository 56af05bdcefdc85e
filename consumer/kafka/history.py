"""What brokers know of a deployment beside the offsets of its two topics: a second witness to what is committed.

Of which cluster and topics it is now; what else its group has committed; and whether it has told outcomes before. An
offset that expired, or a group that was renamed, looks like a group that has never run. The outcomes know better.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

import structlog
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from ..core.provenance import UNMAPPED, Provenance
from ..errors import DecodeError, StartError
from ..events import Mode, OfferOutcome, RecordRef
from ..settings import KafkaSettings, Settings
from .end_offsets import TIMEOUT, bounds
from .reader import LogReader, place_of
from .topic_watch import id_of

log = structlog.get_logger(__name__)

_Ranges: TypeAlias = Mapping[tuple[str, int], tuple[int, int]]
"""By topic and partition an offset, and the one behind the last."""

_TIMEOUT = 15.0
"""Seconds to wait for an answer."""

LAST_OUTCOMES = 20
"""Records at the end of each partition of the outcome topic that are looked at. They are ours, unless the topic is
shared."""

MOST_OUTCOMES = 50_000
"""Records, over all partitions, that are looked at where the last ones are a backfill's: what the deployment told may
stand before them."""


def find_provenance(admin: AdminClient, settings: Settings) -> Provenance:
    """Whose a commit is that is made now. What the cluster does not tell is not known.

    Raises:
        StartError: no broker answers.
    """
    kafka = settings.kafka
    topics = [kafka.offer_topic, kafka.checkout_topic]
    try:
        metadata = admin.list_topics(timeout=_TIMEOUT)
    except KafkaException as error:
        raise StartError(f"no broker told the cluster's id: {error.args[0].str()}. Start again.") from error
    # A cluster without a controller, such as librdkafka's mock cluster, would let the question time out.
    ids = topic_ids(admin, topics) if metadata.controller_id in metadata.brokers else {}
    return Provenance(
        cluster=metadata.cluster_id or "",
        offer_topic_id=ids.get(kafka.offer_topic, ""),
        checkout_topic_id=ids.get(kafka.checkout_topic, ""),
        offer_topic=kafka.offer_topic,
        checkout_topic=kafka.checkout_topic,
        base_url=_spelt_alike(settings.api.base_url),
        mapping=settings.input.mapping or UNMAPPED,
    )


def _spelt_alike(url: str) -> str:
    """The URL as it is compared: in a host's name, case means nothing, and the scheme's own port may be left out."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def topic_ids(admin: AdminClient, topics: list[str]) -> dict[str, str]:
    """The id of each topic of which the broker tells one.

    Raises:
        StartError: it does not answer.
    """
    ids: dict[str, str] = {}
    for topic, answer in admin.describe_topics(TopicCollection(topics), request_timeout=_TIMEOUT).items():
        try:
            ids[topic] = id_of(answer.result())
        except KafkaException as error:
            raise StartError(
                f"{topic}: the broker does not tell the topic's id: {error.args[0].str()}. Allow Describe on it, and "
                "start again; nothing was read."
            ) from error
    return ids


class GroupHistory:
    """What the group and the outcome topic tell of earlier runs.

    Args:
        admin: asks.
        reader: makes a consumer with `config.record_reader_config`.
        decode: reads an outcome, or raises `DecodeError`.
    """

    def __init__(
        self,
        admin: AdminClient,
        reader: Callable[[], Consumer],
        settings: KafkaSettings,
        decode: Callable[[bytes], OfferOutcome],
    ) -> None:
        self._admin = admin
        self._reader = reader
        self._kafka = settings
        self._decode = decode

    def other_topics(self) -> list[str]:
        """The topics beside our two of which the group has committed offsets.

        Raises:
            StartError: the broker does not tell.
        """
        group = self._kafka.group_id
        question = self._admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group)], request_timeout=_TIMEOUT
        )
        try:
            places = question[group].result().topic_partitions or []
        except KafkaException as error:
            raise StartError(
                f"group {group}: the broker does not tell what it has committed: {error.args[0].str()}. Check the "
                "rights of the group, then start again; nothing was read."
            ) from error
        ours = {self._kafka.offer_topic, self._kafka.checkout_topic}
        return sorted({place.topic for place in places if place.offset >= 0} - ours)

    def earlier_outcome(self) -> RecordRef | None:
        """Where an outcome stands that tells of our offer topic; None if the last ones of each partition tell of none.

        A backfill has a group of its own, and tells nothing of the deployment's. So it is looked at what stands before
        its outcomes. Where that goes on for too long, it may be any: then the first that was looked at is named.

        Raises:
            StartError: the topic could not be read.
        """
        topic = self._kafka.outcome_topic
        consumer = self._reader()
        try:
            there = self._ranges(consumer, topic)
            found, backfilled = self._first_of_ours(consumer, _last(there, LAST_OUTCOMES))
            if found is None and backfilled:
                more = _last({place: there[place] for place in backfilled}, MOST_OUTCOMES // len(backfilled))
                found, _ = self._first_of_ours(consumer, more)
                cut = [RecordRef(*place, begin) for place, (begin, _) in more.items() if begin > there[place][0]]
                found = found or next(iter(cut), None)
            return found
        except KafkaException as error:
            raise StartError(_unread(topic, error.args[0].str())) from error
        finally:
            consumer.close()

    @staticmethod
    def _ranges(consumer: Consumer, topic: str) -> _Ranges:
        count = len(consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic].partitions)
        places = [TopicPartition(topic, partition) for partition in range(count)]
        told = {(topic, place.partition): bounds(consumer, place) for place in places}
        return {place: (low, high) for place, (low, high) in told.items() if high > low}

    def _first_of_ours(
        self, consumer: Consumer, ranges: _Ranges
    ) -> tuple[RecordRef | None, Collection[tuple[str, int]]]:
        """Where an outcome of the deployment stands; and in which partitions there are some of backfills."""
        backfilled: set[tuple[str, int]] = set()
        if not ranges:
            return None, backfilled
        deadline = time.monotonic() + TIMEOUT
        problems: list[str] = []

        def on_error(message: Message) -> None:
            error = message.error()
            problems.append("" if error is None else error.str())

        reader = LogReader(consumer, on_error)
        told = 0
        for message in reader.read(ranges, lambda: time.monotonic() < deadline):
            try:
                outcome = self._decode(message.value() or b"")
            except DecodeError:
                continue  # of another program, or of another format
            told += 1
            if outcome.source.topic != self._kafka.offer_topic:
                continue
            if outcome.mode is Mode.LIVE:
                return RecordRef(*place_of(message), message.offset() or 0), backfilled
            backfilled.add(place_of(message))
        if reader.unread:
            raise StartError(_unread(self._kafka.outcome_topic, problems[-1] if problems else "it took too long"))
        if not told:
            log.warning(
                "whether outcomes were told before is not known: the last records of the outcome topic are none",
                topic=self._kafka.outcome_topic,
            )
        return None, backfilled


def _last(ranges: _Ranges, most: int) -> _Ranges:
    """The last records of each range."""
    return {place: (max(low, high - most), high) for place, (low, high) in ranges.items()}


def _unread(topic: str, why: str) -> str:
    return (
        f"{topic}: whether outcomes were told before could not be read: {why}. Check the broker and the right to read "
        "the topic, then start again; nothing was called."
    )
