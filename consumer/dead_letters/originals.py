"""The record of which a dead letter tells: as it stands in the dead letter, or read where it stood first."""

from __future__ import annotations

import json
from hashlib import sha256

from confluent_kafka import Consumer, KafkaException, Message

from ..errors import OptOutError
from ..events import RecordRef
from ..kafka.dead_letter import HEADERS_LEFT_OUT
from ..kafka.end_offsets import TIMEOUT
from ..kafka.reader import LogReader, error_text
from ..kafka.record import Record
from .letter import DeadLetter, LetterForm, named
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
        problems: list[str] = []
        rounds = 0

        def on_error(message: Message) -> None:
            problems.append(error_text(message))

        def go_on() -> bool:
            nonlocal rounds
            rounds += 1
            return rounds <= TIMEOUT and not problems

        place, found = (source.topic, source.partition), None
        reader = LogReader(self._consumer, on_error)
        try:
            for message in reader.read({place: (source.offset, source.offset + 1)}, go_on):
                found = Record.of(message)
        except KafkaException as error:
            problems.append(error.args[0].str())
        if found is None and reader.unread and (problems or rounds > TIMEOUT):
            why = problems[-1] if problems else "the broker does not answer"
            raise OptOutError(
                f"{named(source)}, of which a dead letter has a part only, could not be read: {why}. Check the right "
                "to read the topic, and the brokers; then do this again."
            )
        return found


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
