"""Whose a checkout is that cannot be read."""

from __future__ import annotations

from confluent_kafka import Message

from ..codecs.codec import MOST_BYTES
from ..errors import DecodeError, StopError


def sessions_of(message: Message, error: DecodeError) -> tuple[str, ...]:
    """The sessions that an unreadable checkout may belong to: by its key, and by its value where that can be read.

    Raises:
        StopError: its key does not tell: it may have bought any offer of the partition.
    """
    key = message.key()
    try:
        session_id = key.decode() if isinstance(key, bytes) else key
    except UnicodeDecodeError:
        session_id = None
    if not session_id:
        raise StopError(
            f"{message.topic()}[{message.partition()}] offset {message.offset()}: a checkout that cannot be read, and "
            "no readable key to tell its session by. It may have bought any offer of the partition, so none may be "
            "called. Find out what it was, then go on behind it by setting the group's offsets by hand."
        )
    sessions = (session_id,) if error.session_id in (None, session_id) else (session_id, error.session_id)
    # A session with a longer id has no offer that was admitted: so much of it is as good, and is all that is kept.
    return tuple(session[: MOST_BYTES + 1] for session in sessions)
