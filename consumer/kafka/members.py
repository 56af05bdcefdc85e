"""Who is in the group, as its coordinator tells, and how old the records are that it has not put behind it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from .end_offsets import bounds
from .group import committed_by
from .reader import LogReader
from .record import Record

_TIMEOUT = 8.0
"""Seconds to wait for an answer, and for the records."""


class Member(NamedTuple):
    """One of a group: what it calls itself, where it is, and what it is to read, by topic."""

    client: str
    host: str
    partitions: Mapping[str, int]


class GroupMembers(NamedTuple):
    """The state that the coordinator names, such as `stable` or `empty`, and who is there."""

    state: str
    members: tuple[Member, ...]


def members_of(admin: AdminClient, group: str) -> GroupMembers:
    """Ask the coordinator. A group that it does not know is `dead` and has nobody.

    Raises:
        KafkaException: it does not tell.
    """
    told = admin.describe_consumer_groups([group], request_timeout=_TIMEOUT)[group].result()
    members = []
    for one in told.members:
        partitions: dict[str, int] = {}
        for place in one.assignment.topic_partitions if one.assignment else ():
            partitions[place.topic] = partitions.get(place.topic, 0) + 1
        members.append(Member(one.client_id, one.host, partitions))
    return GroupMembers(told.state.name.lower(), tuple(members))


def first_held(consumer: Consumer, partitions: Mapping[str, int]) -> dict[str, int]:
    """When the first record of a partition was stamped (ms) that the group has not put behind it; the oldest by topic.

    Where nothing is committed, or everything is behind the group, there is none.

    Args:
        consumer: has the group's name, and joins nothing.
        partitions: how many each topic has.

    Raises:
        StartError, KafkaException: the brokers do not tell.
    """
    places = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    wanted = {}
    for place in committed_by(consumer, places):
        low, high = bounds(consumer, place)
        if low <= place.offset < high:
            wanted[place.topic, place.partition] = place.offset, high
    deadline = time.monotonic() + _TIMEOUT
    firsts: dict[tuple[str, int], int] = {}
    if wanted:
        # Each of them alone: the record at the offset may be gone, and then the next one counts.
        messages = LogReader(consumer, lambda _: None).read(
            wanted, lambda: len(firsts) < len(wanted) and time.monotonic() < deadline, round_s=0.2
        )
        for record in map(Record.of, messages):
            firsts.setdefault((record.topic, record.partition), record.timestamp)
    stamps: dict[str, int] = {}
    for (topic, _), stamp in firsts.items():
        if stamp >= 0:
            stamps[topic] = min(stamp, stamps.get(topic, stamp))
    return stamps
