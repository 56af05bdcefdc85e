"""Every error this project raises, as one tree.

    OptOutError
    ├── SettingsError            a setting is wrong: exit 2
    │   └── RangeError           the range or the name of a backfill is: exit 2
    ├── StartError               the service must not start: exit 1
    │   ├── TopicsError          topics missing, unequal or compacted
    │   ├── OffsetGoneError      the broker no longer has a committed offset
    │   ├── ClockError           what is committed lies in the future of this machine's clock
    │   ├── PositionsError       what is committed is not ours, or of another topic, cluster or API
    │   ├── MetadataTooLongError  the broker takes less metadata than a commit has
    │   └── GapError             the log no longer has all that a backfill needs
    ├── StopError                the service must not go on: exit 1
    │   ├── PartitionsChangedError  the partition count changed while running
    │   ├── DeadLetterError      a dead letter or an outcome could not be written
    │   ├── TooManyDeadLettersError  the input looks systematically wrong
    │   ├── TruncatedLogError    a log is shorter than what was already read from it
    │   └── TopicMadeAnewError   a topic was deleted, or deleted and made anew, while running
    ├── OutputFileError          a file that a command was to write could not be written: exit 1
    ├── DecodeError              one record cannot be decoded: it is dead-lettered, the service goes on
    └── SchemaWaitError          it is not known yet whether a record can be decoded: it waits, the service goes on

A message says what happened, to what, and what to do.
"""

from __future__ import annotations


class OptOutError(Exception):
    """The base of all errors of this project."""


class SettingsError(OptOutError):
    """One or more settings are wrong; the message names each, what is wrong and what would be right."""


class RangeError(SettingsError):
    """A backfill's range is none, or its name belongs to another range."""


class StartError(OptOutError):
    """The service must not start as things are."""


class TopicsError(StartError):
    """A topic is missing, or the topics do not fit together."""


class OffsetGoneError(StartError):
    """A committed offset is outside what the broker still holds; resetting it silently would lose opt-outs."""


class ClockError(StartError):
    """What is committed lies in the future of this machine's clock: one of the two is wrong."""


class PositionsError(StartError):
    """What the group has committed is not what this service left there, or not of what it reads now."""


class MetadataTooLongError(StartError):
    """The broker takes less metadata with a commit than there is to be said."""


class GapError(StartError):
    """Retention has deleted records that a backfill needs to decide its range."""


class StopError(OptOutError):
    """The running service must stop rather than guess or lose something."""


class PartitionsChangedError(StopError):
    """The number of partitions changed while running: keys have moved between tasks."""


class DeadLetterError(StopError):
    """A dead letter or an outcome could not be written."""


class TooManyDeadLettersError(StopError):
    """So many records are unreadable that the input, not a record, must be wrong."""


class TruncatedLogError(StopError):
    """A partition ends before an offset that was already read from it: it was re-created or truncated."""


class TopicMadeAnewError(StopError):
    """An input topic was deleted, or deleted and made anew, while running: the offsets mean nothing in the new one."""


class OutdatedLoginError(OptOutError):
    """A certificate or a secret has changed that no client takes while it lives: the service stopped for a restart."""


class OutputFileError(OptOutError):
    """A file that a command was to write could not be written; nothing is left of it."""


class DecodeError(OptOutError):
    """One record cannot be decoded.

    `reason` is the short name that the dead letter carries in its header, such as `undecodable` or `key_mismatch`.
    `session_id` is the one that its value names, None where that cannot be read.
    """

    def __init__(self, reason: str, message: str, session_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.session_id = session_id or None


class SchemaWaitError(OptOutError):
    """The schema that a record was written with is not known yet: the registry is being asked. The record waits."""
