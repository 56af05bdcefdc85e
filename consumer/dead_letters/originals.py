"""The record of which a dead letter tells: as it stands in the dead letter, or read where it stood first."""

from __future__ import annotations

import json
from hashlib import sha256

from confluent_kafka import Consumer, KafkaException

from ..errors import OptOutError
from ..events import RecordRef
from ..kafka.dead_letter import HEADERS_LEFT_OUT
from ..kafka.letter import DeadLetter, LetterForm, named
from ..kafka.reader import NotAllReadError, read_all
from ..kafka.record import Record
from .prospects import Obstacle


class Originals:
    """Gives the whole record of a dead letter.

    Args:
        consumer: made with `config.record_reader_config`; not the one that reads the dead-letter topic meanwhile.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def of(self, letter: DeadLetter) -> Record | tuple[Obstacle, str]:
        """The record with its key, value and own headers, or why it is not to be had.

        Raises:
            OptOutError: its topic could not be read.
        """
        source = letter.source
        if source is None:
            return Obstacle.UNTOLD, "its headers do not say where it is from"
        if letter.form is LetterForm.WHOLE:
            return Record(*source, letter.timestamp, letter.key, letter.value, letter.headers)
        found = self._read(source)
        if found is None:
            return Obstacle.GONE, f"{named(source)} is no longer there"
        if not _is_same(letter, found):
            return Obstacle.GONE, f"at {named(source)} stands another record now"
        if found.headers and found.headers[0][0] == HEADERS_LEFT_OUT:
            return Obstacle.GONE, f"the headers of {named(source)} cannot be read by the Kafka client"
        return found

    def _read(self, source: RecordRef) -> Record | None:
        place = source.topic, source.partition
        try:
            for message in read_all(self._consumer, {place: (source.offset, source.offset + 1)}):
                return Record.of(message)
        except NotAllReadError as error:
            if not error.is_gone:
                raise _unread(source, str(error)) from error
        except KafkaException as error:
            raise _unread(source, error.args[0].str()) from error
        return None


def _unread(source: RecordRef, why: str) -> OptOutError:
    return OptOutError(
        f"{named(source)}, of which a dead letter has a part only, could not be read: {why}. Check the right to read "
        "the topic, and the brokers; then do this again."
    )


def _is_same(letter: DeadLetter, record: Record) -> bool:
    """A topic may have been made anew, and have another record in this place."""
    if letter.form is not LetterForm.STUB:
        return (record.key, record.value) == (letter.key, letter.value)
    try:
        told = json.loads(letter.value or b"")
        return (told["key_sha256"], told["value_sha256"]) == (_hash(record.key), _hash(record.value))
    except (ValueError, KeyError, TypeError):
        return False


def _hash(data: bytes | None) -> str | None:
    return None if data is None else sha256(data).hexdigest()
