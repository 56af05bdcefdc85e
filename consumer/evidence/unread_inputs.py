"""Records of the inputs that could not be read, as the dead-letter topic tells: they have no chain, and no outcome."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import NamedTuple

from ..codecs.codec import EMPTY_ID, KEY_MISMATCH, TOO_LARGE, UNDECODABLE
from ..kafka.causes import Causes
from ..kafka.clients import Clients
from ..kafka.record import Record
from ..settings import KafkaSettings
from .outcome_parts import TimeRange
from .spans import SLACK_MS, records_of, spans_since

_WITHOUT_OUTCOME = frozenset({UNDECODABLE, KEY_MISMATCH, EMPTY_ID, TOO_LARGE})
"""Reasons of dead letters of which no outcome tells."""


class UnreadInput(NamedTuple):
    """How many records of a topic could not be read for a reason."""

    topic: str
    reason: str
    records: int


def unread_inputs(settings: KafkaSettings, causes: Causes, wanted: TimeRange) -> list[UnreadInput]:
    """The records that could not be read and were stamped within the range, each once.

    Raises:
        StartError: the dead-letter topic cannot be read.
    """
    inputs = {settings.offer_topic, settings.checkout_topic}
    # With the record's own timestamp: where a topic was made anew, another one stands in the same place.
    records: dict[tuple[str, str, str, int], str] = {}
    with closing(Clients(settings, causes).log_reader()) as consumer:
        for span in spans_since(consumer, settings.dead_letter_topic, wanted.begin - SLACK_MS):
            for message in records_of(consumer, span):
                told = {name: (value or b"").decode(errors="replace") for name, value in Record.of(message).headers}
                topic, reason = told.get("source.topic", ""), told.get("reason", "")
                stamped = told.get("source.timestamp", "")
                if topic not in inputs or reason not in _WITHOUT_OUTCOME or not stamped.lstrip("-").isdecimal():
                    continue
                if wanted.begin <= int(stamped) < wanted.end:
                    place = told.get("source.partition", ""), told.get("source.offset", "")
                    records[topic, *place, int(stamped)] = reason
    counts = Counter((topic, reason) for (topic, *_), reason in records.items())
    return [UnreadInput(topic, reason, count) for (topic, reason), count in sorted(counts.items())]
