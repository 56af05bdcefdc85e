"""Whether what is called could be recorded, as far as the brokers tell: asked at each start.

What they do not tell is found out by the first call; see `kafka.writes`.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from confluent_kafka.admin import AdminClient

from ..errors import StartError
from ..kafka.rights import Rights, rights_of
from ..settings import KafkaSettings
from .check import Check

log = structlog.get_logger(__name__)


def check_rights(admin: AdminClient, kafka: KafkaSettings) -> None:
    """See that the inputs may be read, outcomes and dead letters written, and offsets committed.

    Raises:
        StartError: one of them may not; every one is named, with the right to give.
    """
    rights = rights_of(
        admin,
        (kafka.offer_topic, kafka.checkout_topic),
        (kafka.outcome_topic, kafka.dead_letter_topic),
        kafka.group_id,
    )
    for why in rights.untold:
        log.info("whether everything can be recorded is not told by the brokers: the first call shows it", why=why)
    if problems := [check.words for check in judge_rights(rights, kafka.group_id)]:
        raise StartError(
            "what is called could not be known or recorded, so nothing is called:\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )


def judge_rights(rights: Rights, group: str) -> Iterator[Check]:
    """The rights that are missing."""
    for name, may in rights.read.items():
        if may is False:
            yield Check(
                "problem",
                f"{name} may not be read: allow Read and Describe on this topic to the principal that the service logs "
                "in as (kafka-acls.sh --add --allow-principal ... --operation Read --operation Describe "
                f"--topic {name}), then start again",
            )
    for name, may in rights.write.items():
        if may is False:
            yield Check(
                "problem",
                f"{name} may not be written to: allow Write and Describe on this topic to the principal that the "
                "service logs in as (kafka-acls.sh --add --allow-principal ... --operation Write --operation Describe "
                f"--topic {name}), then start again",
            )
    if rights.read_group is False:
        yield Check(
            "problem",
            f"the group {group} may not be read, so nothing could be committed: allow Read on it to the principal that "
            "the service logs in as (kafka-acls.sh --add --allow-principal ... --operation Read "
            f"--group {group}), then start again",
        )
