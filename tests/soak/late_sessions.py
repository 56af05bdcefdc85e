"""Which sessions a torture run cannot judge, since a record of theirs was late.

Late is a record whose event lies more than `lateness` behind the newest event before it in its partition, or that the
broker took more than `lateness` after its event. What becomes of those depends on what was read first, so sessions
with such records are left out, and counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from consumer.audit.reading import Place, read_topic
from consumer.events import RecordIdentity, RecordRef


def read_sessions(
    bootstrap: str, topics: Iterable[str], lateness: int, overdue: Collection[Place]
) -> tuple[dict[str, int], dict[RecordIdentity, str]]:
    """Each session's partition, and the late records with their sessions.

    A record's timestamp is its event's time: that is how the feed writes them.
    """
    partition_of: dict[str, int] = {}
    late: dict[RecordIdentity, str] = {}
    for topic in topics:
        newest: dict[int, int] = {}
        for message in read_topic(bootstrap, topic):
            partition, at = message.partition() or 0, message.timestamp()[1]
            session_id = bytes(message.key() or b"").decode()
            partition_of[session_id] = partition
            place = RecordRef(topic, partition, message.offset() or 0)
            if at < newest.get(partition, at) - lateness or place in overdue:
                late[RecordIdentity(place, at)] = session_id
            newest[partition] = max(at, newest.get(partition, at))
    return partition_of, late
