"""Whether this member is spare: in a group that has settled, with nothing for it.

On the `consumer` protocol (KIP-848) a member to which nothing falls is never told anything by its client, and could not
tell itself from one that has not joined yet. So the group's coordinator is asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

log = structlog.get_logger(__name__)

INTERVAL = 2.0
"""Seconds between two questions."""

_TIMEOUT = 10.0


class Membership:
    """One question at a time, asked without waiting. Not thread-safe.

    Args:
        admin: asks.
        group: its name.
        monotonic: a clock in seconds.
    """

    def __init__(self, admin: AdminClient, group: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._admin = admin
        self._group = group
        self._monotonic = monotonic
        self._next_question = 0.0
        self._answer: Future[Any] | None = None
        self._refused = False

    def is_spare(self, member_id: str) -> bool:
        """Whether the group is stable, counts this member, and has no partition for it; False while that is not known.

        To be called again and again.
        """
        if self._answer is None:
            now = self._monotonic()
            if now >= self._next_question:
                self._next_question = now + INTERVAL
                self._answer = self._admin.describe_consumer_groups([self._group], request_timeout=_TIMEOUT)[
                    self._group
                ]
            return False
        if not self._answer.done():
            return False
        answer, self._answer = self._answer, None
        try:
            group = answer.result()
        except KafkaException as error:
            if not self._refused:
                self._refused = True
                log.warning("the broker does not tell who is in the group: no spare is ready", error=str(error.args[0]))
            return False
        if group.state is not ConsumerGroupState.STABLE:
            return False
        return any(
            member.member_id == member_id
            and not member.assignment.topic_partitions
            and not (member.target_assignment and member.target_assignment.topic_partitions)
            for member in group.members
        )
