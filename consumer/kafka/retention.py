"""How long the brokers keep the inputs: by their topics' settings, and by where each partition begins and ends.

Asked without waiting, as everything is that is asked while running.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from .topics import number

log = structlog.get_logger(__name__)

INTERVAL = 3_600.0
"""Seconds between two questions for the settings, which hardly ever change."""

_TIMEOUT = 10.0
"""Seconds after which the client gives a question up. The next one comes soon enough."""

FOR_EVER = 10**14
"""Milliseconds from which on a retention is for ever: three thousand years."""


class Kept(NamedTuple):
    """What a topic's settings say: milliseconds, and bytes of each partition. None: without a bound, or not listed."""

    ms: int | None
    bytes: int | None


class Retention:
    """What is known of these topics. Not thread-safe.

    Args:
        admin: asks.
        topics: their names.
        monotonic: a clock in seconds.
    """

    def __init__(
        self, admin: AdminClient, topics: Collection[str], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._admin = admin
        self._topics = topics
        self._monotonic = monotonic
        self._next_question = monotonic()
        self._settings: Mapping[ConfigResource, Future[Any]] = {}
        self._kept: dict[str, Kept] = {}
        self._refused = False
        self._asked: tuple[Mapping[TopicPartition, Future[Any]], Mapping[TopicPartition, Future[Any]]] = ({}, {})
        self._told: dict[tuple[str, int], tuple[int, int]] = {}

    def kept(self, topic: str) -> Kept | None:
        """What its settings say; None while that is not known. To be called again and again."""
        now = self._monotonic()
        if now >= self._next_question:
            self._next_question = now + INTERVAL
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in self._topics]
            self._settings = self._admin.describe_configs(resources, request_timeout=_TIMEOUT)
        if self._settings and all(answer.done() for answer in self._settings.values()):
            self._take_settings()
        return self._kept.get(topic)

    def ask_bounds(self, places: Collection[tuple[str, int]]) -> None:
        """Ask where these partitions begin and end, open transactions included; none: nothing is asked."""
        self.bounds()  # what is told already
        if not places:
            return
        # The client is typed only in part.
        first, end = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        self._asked = (
            self._admin.list_offsets({TopicPartition(*place): first for place in places}, request_timeout=_TIMEOUT),
            self._admin.list_offsets({TopicPartition(*place): end for place in places}, request_timeout=_TIMEOUT),
        )

    def bounds(self) -> dict[tuple[str, int], tuple[int, int]]:
        """The first offset and the end of each partition, as far as they were told when they were asked for last."""
        asked = self._asked
        if asked[0] and all(answer.done() for answers in asked for answer in answers.values()):
            self._asked = {}, {}
            first, end = (
                {
                    (place.topic, place.partition): answer.result().offset
                    for place, answer in answers.items()
                    if answer.exception() is None
                }
                for answers in asked
            )
            both = {place: (first[place], end[place]) for place in first.keys() & end.keys()}
            # A time-out of the client is told as an offset that is none.
            self._told = {place: bounds for place, bounds in both.items() if min(bounds) >= 0}
        return self._told

    def _take_settings(self) -> None:
        answers, self._settings = self._settings, {}
        for resource, answer in answers.items():
            try:
                entries = answer.result()
            except KafkaException as error:
                if not self._refused:
                    self._refused = True
                    log.info(
                        "the broker does not tell how long a topic is kept: nobody is warned before retention deletes "
                        "what is held; allow DescribeConfigs on it",
                        topic=resource.name,
                        error=error.args[0].str(),
                    )
                continue
            ms, size = number(entries, "retention.ms"), number(entries, "retention.bytes")
            self._kept[resource.name] = Kept(
                None if ms is None or not 0 <= ms < FOR_EVER else ms, None if size is None or size < 0 else size
            )
