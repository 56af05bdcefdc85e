"""Which entry of the runbook belongs to a warning of the log, or to an error that ends the program.

The entries themselves are the headings of `manual/runbook.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .errors import (
    ClockError,
    DeadLetterError,
    DecodeError,
    GapError,
    MetadataTooLongError,
    OffsetGoneError,
    OptOutError,
    OutdatedLoginError,
    OutputFileError,
    PartitionsChangedError,
    PositionsError,
    RangeError,
    SchemaWaitError,
    SettingsError,
    StartError,
    StopError,
    TooManyDeadLettersError,
    TopicMadeAnewError,
    TopicsError,
    TruncatedLogError,
)

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

LINES: Mapping[str, str] = {
    # The calls.
    "no call leaves for now": "no-call-leaves",
    "credentials refused": "credentials-refused",
    "new credentials refused": "new-credentials-are-refused",
    "new credentials not taken over": "new-credentials-are-not-taken-over",
    "nothing but 404s": "nothing-but-404s",
    "too many partners without a 204": "nothing-but-404s",
    "404s are believed": "404s-are-believed",
    "rejected": "rejected",
    "rejected, and its record is gone": "rejected-and-the-record-is-gone",
    "the record of a rejected offer cannot be read": "a-rejected-record-cannot-be-read",
    "nothing but rejected requests": "nothing-but-rejected-requests",
    "unexpected answer": "unexpected-answer",
    "breaker opened": "breaker-opened",
    "told to wait by Retry-After": "told-to-wait",
    "calls still in flight": "calls-still-in-flight",
    "spans are lost": "spans-are-lost",
    "release file not taken over": "release-file-not-taken-over",
    "released": "released",
    "purchase_after_opt_out": "purchase-after-opt-out",
    # The decisions.
    "decisions are held: offers are presented": "no-checkouts-come",
    "checkouts come again": "no-checkouts-come",
    "decisions are held: the purchased ids": "purchased-ids-match-nothing",
    "decisions are held: checkouts in a row": "checkouts-are-dated-implausibly",
    "decisions go on": "decisions-go-on",
    "offers are read no further": "offers-are-read-no-further",
    "offers are read again": "offers-are-read-no-further",
    "checkouts are read no further either": "offers-are-read-no-further",
    "checkouts are read no further in these partitions": "checkouts-are-read-no-further",
    "checkouts are read again": "checkouts-are-read-no-further",
    "decisions are held: the clock": "the-clock-is-wrong",
    "no idle watermark": "no-idle-watermark",
    "the watermark stands still": "the-watermark-stands-still",
    "the group has assigned nothing yet": "the-group-has-assigned-nothing",
    "the clock of this machine differs": "the-clock-is-wrong",
    "nobody tells the time": "nobody-tells-the-time",
    "nobody else tells the time": "nobody-tells-the-time",
    # The input.
    "a schema is not known": "a-schema-is-not-known",
    "dead letter": "dead-letter",
    "dead letter too large": "dead-letter-too-large",
    "offers are kept back": "offers-are-kept-back",
    "offers are no longer kept back": "offers-are-kept-back",
    "implausible checkout": "implausible-checkout",
    "implausible offer": "implausible-offer",
    "some keys are in a wrong partition": "some-keys-are-in-a-wrong-partition",
    "the producers' partitioner is neither": "the-partitioner-is-unknown",
    "not all keys were sampled in time": "not-all-keys-were-sampled",
    "no keys were sampled": "not-all-keys-were-sampled",
    # Reading and committing.
    "reading is paused": "reading-is-paused",
    "reading goes on": "reading-is-paused",
    "commit put off": "commit-put-off",
    "commit failed": "commit-failed",
    "some commits were put off": "some-commits-were-put-off",
    "commit metadata is kept shorter": "commit-metadata-is-kept-shorter",
    "write failed": "write-failed",
    "partitions wait for their pair": "partitions-wait-for-their-pair",
    "the broker does not tell the topics' ids": "topic-ids-are-not-told",
    "kafka": "kafka-trouble",
    "kafka: a certificate or a secret has changed": "a-certificate-or-a-secret-has-changed",
    "kafka: the client certificate ends soon": "the-client-certificate-ends-soon",
    "kafka: what has changed in the files": "changed-credentials-are-not-taken-over",
    "the brokers do not answer": "the-brokers-do-not-answer",
    "the stop takes too long": "the-stop-takes-too-long",
    "the loop stands still": "the-loop-stands-still",
    "metrics and the status page stay as they are": "metrics-stay-as-they-are",
    "a held commit nears": "a-held-commit-nears-the-retention",
    # The start.
    "a new group starts": "a-new-group-starts",
    "whether outcomes were told before": "a-new-group-starts",
    "lookback was raised": "lookback-was-raised",
    "found at the start of the task": "found-at-the-start-of-the-task",
    "topics": "a-note-about-the-topics",
    "the broker does not tell who is in the group": "group-members-are-not-told",
    "a part of the log is gone": "the-log-no-longer-covers-a-range",
}
"""How a warning or an error of ours begins (the field `event`), and its entry. The longest beginning counts."""

OTHER_LINES = "any-other-line"
"""The entry of what libraries log."""

ERRORS: Mapping[type[OptOutError], str] = {
    SettingsError: "settings-are-wrong",
    StartError: "the-start-is-refused",
    TopicsError: "the-topics-do-not-fit",
    OffsetGoneError: "an-offset-is-gone",
    ClockError: "the-clock-is-wrong",
    PositionsError: "what-is-committed-is-not-ours",
    MetadataTooLongError: "commit-metadata-is-kept-shorter",
    OutdatedLoginError: "a-certificate-or-a-secret-has-changed",
    StopError: "the-service-stops",
    PartitionsChangedError: "the-partition-count-changed",
    DeadLetterError: "write-failed",
    TooManyDeadLettersError: "too-many-unusable-records",
    TruncatedLogError: "a-partition-is-shorter-than-before",
    TopicMadeAnewError: "a-topic-was-made-anew",
    DecodeError: "dead-letter",
    RangeError: "the-range-of-a-backfill-is-wrong",
    GapError: "the-log-no-longer-covers-a-range",
    SchemaWaitError: "a-schema-is-not-known",
    OutputFileError: "a-file-cannot-be-written",
    OptOutError: "a-command-failed",
}
"""The entry of each class of `errors.py`."""

_OURS = __package__ + "."
_URGENT = frozenset({"warning", "error", "critical"})


def command_for(entry: str) -> str:
    """The command that shows this entry in a terminal."""
    return f"opt-out manual runbook#{entry}"


def entry_of_line(event: str) -> str:
    """The entry of a warning that the service itself logs, by how it begins; OTHER_LINES if it has none."""
    known = [beginning for beginning in LINES if event.startswith(beginning)]
    return LINES[max(known, key=len)] if known else OTHER_LINES


def entry_of_error(error: OptOutError) -> str:
    """The entry of an error, by the nearest of its classes."""
    return next(ERRORS[kind] for kind in type(error).__mro__ if kind in ERRORS)


def name_entry(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A processor: a warning, and what is worse, says in the field `runbook` how to see its entry.

    To come after those that set `level` and `logger`.
    """
    if event.get("level") in _URGENT:
        ours = str(event.get("logger", "")).startswith(_OURS)
        event["runbook"] = command_for(entry_of_line(str(event["event"])) if ours else OTHER_LINES)
    return event
