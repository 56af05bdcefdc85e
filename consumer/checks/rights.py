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
from .check import Check, errors_of

log = structlog.get_logger(__name__)

NAME = "rights"
"""Of the checks."""


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
    if errors := errors_of(judge_rights(rights, kafka.group_id)):
        raise StartError(
            "what is called could not be known or recorded, so nothing is called:\n"
            + "\n".join(f"  {error}" for error in errors)
        )


def judge_rights(rights: Rights, group: str) -> Iterator[Check]:
    """The rights that are missing."""
    missing = [(name, "read", "Read") for name, may in rights.read.items() if may is False]
    missing += [(name, "written to", "Write") for name, may in rights.write.items() if may is False]
    for name, done, right in missing:
        yield Check(
            NAME,
            "error",
            f"{name} may not be {done}",
            f"allow {right} and Describe on this topic to the principal that the service logs in as (kafka-acls.sh "
            f"--add --allow-principal ... --operation {right} --operation Describe --topic {name}), then start again",
        )
    if rights.read_group is False:
        yield Check(
            NAME,
            "error",
            f"the group {group} may not be read, so nothing could be committed",
            "allow Read on it to the principal that the service logs in as (kafka-acls.sh --add --allow-principal ... "
            f"--operation Read --group {group}), then start again",
        )


def there(rights: Rights) -> Check:
    """What is said where no right is known to be missing."""
    if rights.untold:
        return Check(
            NAME,
            "warning",
            f"the brokers do not tell whether everything can be recorded ({'; '.join(dict.fromkeys(rights.untold))})",
            "give the rights that the page operations of the manual lists; the first call shows whether they do",
        )
    return Check(NAME, "ok", "the inputs and the group may be read, and the outputs written, by the brokers' own word")
