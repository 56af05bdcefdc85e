"""Who is in the group, as its coordinator tells, and how old the records are that it has not put behind it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from ..errors import PositionsError, StartError
from .end_offsets import bounds_within
from .group import committed_by
from .reader import LogReader
from .record import Record

_TIMEOUT = 8.0
"""Seconds to wait for an answer; and for what `first_held` asks and reads, all together: less than a check may take."""

_CHANGE_TIMEOUT = 15.0
"""Seconds to wait for an answer before positions change."""

_EMPTY = frozenset({ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD})


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


def need_empty_group(admin: AdminClient, group: str) -> None:
    """Before an operator changes what a group has committed.

    Raises:
        PositionsError: it has members.
        StartError: the broker does not tell.
    """
    try:
        found = admin.describe_consumer_groups([group], request_timeout=_CHANGE_TIMEOUT)[group].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return
        raise StartError(
            f"group {group}: the broker does not tell who is in it: {error.args[0].str()}. Nothing was changed. Allow "
            "Describe on the group, and do this again."
        ) from error
    if found.state not in _EMPTY:
        raise PositionsError(
            f"group {group} has {len(found.members)} members: its positions change only while nobody works on them. "
            "Nothing was changed. Stop all instances, and if one was killed wait until its session has timed out; then "
            "do this again."
        )


class FirstHeld(NamedTuple):
    """The first records that the group has not put behind it.

    Attributes:
        stamps: when the oldest of each topic was stamped (ms); none where nothing is committed, or all is behind the
            group.
        unknown: of how many partitions it was not told or read in time.
    """

    stamps: Mapping[str, int]
    unknown: int = 0


def first_held(
    consumer: Consumer, partitions: Mapping[str, int], monotonic: Callable[[], float] = time.monotonic
) -> FirstHeld:
    """Ask where the group stands, and read the first record there of each partition.

    Args:
        consumer: has the group's name, and joins nothing.
        partitions: how many each topic has.

    Raises:
        StartError, KafkaException: the brokers do not tell.
    """
    deadline = monotonic() + _TIMEOUT
    asked = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    committed = [place for place in committed_by(consumer, asked, _TIMEOUT / 2) if place.offset >= 0]
    # Half of what is left: the other half is for the records.
    told = bounds_within(consumer, committed, (deadline - monotonic()) / 2, monotonic)
    wanted = {}
    for place in committed:
        where = place.topic, place.partition
        if where in told and told[where][0] <= place.offset < told[where][1]:
            wanted[where] = place.offset, told[where][1]
    firsts: dict[tuple[str, int], int] = {}
    unread: set[tuple[str, int]] = set()
    if wanted:
        reader = LogReader(consumer, lambda _: None)
        # Each of them alone: the record at the offset may be gone, and then the next one counts.
        messages = reader.read(wanted, lambda: len(firsts) < len(wanted) and monotonic() < deadline, round_s=0.2)
        for record in map(Record.of, messages):
            firsts.setdefault((record.topic, record.partition), record.timestamp)
        unread = reader.unread - firsts.keys()
    stamps: dict[str, int] = {}
    for (topic, _), stamp in firsts.items():
        if stamp >= 0:
            stamps[topic] = min(stamp, stamps.get(topic, stamp))
    return FirstHeld(stamps, len(committed) - len(told) + len(unread))
