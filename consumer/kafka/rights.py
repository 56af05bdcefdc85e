"""What the brokers let this client do, by their own word: asked at the start, before anything is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

_TIMEOUT = 15.0
"""Seconds to wait for an answer."""

_REFUSED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})
"""Not even Describe is allowed, which Write on a topic and Read on a group include."""


class Rights(NamedTuple):
    """What may be done; None where the brokers do not tell.

    Attributes:
        read: each of the inputs.
        write: to each of the outputs.
        read_group: join the group, and commit for it.
        untold: why some of it is not known, in words.
    """

    read: dict[str, bool | None]
    write: dict[str, bool | None]
    read_group: bool | None
    untold: tuple[str, ...] = ()


def rights_of(admin: AdminClient, inputs: Sequence[str], outputs: Sequence[str], group: str) -> Rights:
    """Ask the brokers for the rights on these topics and on the group.

    Brokers before 2.3 do not tell, nor does a cluster that names no controller, such as librdkafka's mock.
    """
    unknown = Rights(dict.fromkeys(inputs), dict.fromkeys(outputs), None)
    try:
        cluster = admin.list_topics(timeout=_TIMEOUT)
        if cluster.controller_id not in cluster.brokers:
            # The question would wait for one, and time out.
            return unknown._replace(untold=("the cluster does not tell what this client may do",))
        of_topics = admin.describe_topics(
            TopicCollection([*inputs, *outputs]), include_authorized_operations=True, request_timeout=_TIMEOUT
        )
        of_group = admin.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=_TIMEOUT)
    except KafkaException as error:
        return unknown._replace(untold=(error.args[0].str(),))
    untold: list[str] = []
    read = {name: _may(of_topics[name], AclOperation.READ, untold.append) for name in inputs}
    write = {name: _may(of_topics[name], AclOperation.WRITE, untold.append) for name in outputs}
    return Rights(read, write, _may(of_group[group], AclOperation.READ, untold.append), tuple(untold))


def _may(answer: Future[Any], operation: AclOperation, untold: Callable[[str], None]) -> bool | None:
    try:
        operations = answer.result().authorized_operations
    except KafkaException as error:
        if error.args[0].code() in _REFUSED:
            return False
        untold(error.args[0].str())
        return None
    # None, or none at all: a broker that tells names Describe at least.
    return operation in operations if operations else None
