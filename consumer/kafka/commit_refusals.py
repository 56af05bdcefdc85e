"""What to do where the broker refuses a commit that says where a group is to start."""

from __future__ import annotations

from confluent_kafka import KafkaError

from ..core.checkpoint import METADATA_LIMIT
from ..errors import MetadataTooLongError, StartError


def refused_commit(group: str, error: KafkaError) -> StartError:
    """The broker took none of it."""
    said = f"group {group}: where to start could not be committed: {error}. Nothing was read."
    if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
        return MetadataTooLongError(f"{said} {_MORE_ROOM}")
    return StartError(f"{said} Stop the members of the group that run, then start again.")


def refused_part(group: str, place: str, error: KafkaError, *, at_first: bool) -> StartError:
    """The broker took a part only, and not that of this partition. `at_first`: the group is new."""
    said = f"group {group}: where to start was committed in part only, not for {place}: {error}. Nothing was read."
    if error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
        return MetadataTooLongError(f"{said} {_MORE_ROOM}")
    # In a group that has run, what the others say must not be deleted.
    then = "delete the group (kafka-consumer-groups --delete), then start again" if at_first else "do it again"
    return StartError(f"{said} Mend the cause, {then}.")


_MORE_ROOM = (
    f"The broker takes less metadata than the {METADATA_LIMIT + 1} characters that it does by default: set "
    "`offset.metadata.max.bytes` of all brokers to that, then do it again."
)
