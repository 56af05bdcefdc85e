"""Puts dead-lettered records into their topics again, each once.

The dead-letter topic itself tells what was re-submitted: a note stands in it for each record, written in one
transaction with the record, so that either both are there or neither. Whoever begins is alone from then on, by the
transactional id of the group; then it reads all notes, and then it writes. So neither a crash, nor two people at once,
nor a second dead letter of the same record puts a record there twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ..core.dating import iso_of
from ..errors import OptOutError
from ..events import RecordIdentity, RecordRef
from ..kafka.letter import RESUBMITTED_FROM, DeadLetter, ResubmissionNote, named, note_of
from ..kafka.record import Record
from ..kafka.transactions import Outgoing, RecordTooLargeError, Transactions
from ..settings import KafkaSettings
from .originals import Originals
from .prospects import Obstacle, Prospects, side_of
from .records import RecordSet
from .topic import DeadLetterTopic, Ranges, Resubmitted

BATCH, BATCH_BYTES = 500, 4_000_000
"""The most records of one transaction, and about the most bytes: it holds up whoever reads their topics."""

DONE, ALREADY = "resubmitted", "already"
"""What becomes of a dead letter, if nothing speaks against it."""


def transactional_id(group: str) -> str:
    """Under what name is written for this consumer group: of two people at once one is refused."""
    return f"{group}.dead-letters"


class Selection(NamedTuple):
    """Which dead letters are meant.

    Attributes:
        reasons: those; none: any.
        places: partitions and offsets in the dead-letter topic; none: any.
        since, until: when they were written (ms), the second one not included; None: no bound.
    """

    reasons: frozenset[str] = frozenset()
    places: frozenset[tuple[int, int]] = frozenset()
    since: int | None = None
    until: int | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether this one is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.places or letter.place[1:] in self.places)
            and (self.since is None or letter.written_at >= self.since)
            and (self.until is None or letter.written_at < self.until)
        )

    @property
    def partitions(self) -> frozenset[int]:
        """Those that they are in; none: any."""
        return frozenset(partition for partition, _ in self.places)


class Candidate(NamedTuple):
    """What is to be re-submitted: a dead letter, which record it is of, and the record."""

    letter: DeadLetter
    identity: RecordIdentity
    record: Record


class LetterTally:
    """What becomes of the dead letters that are meant.

    Attributes:
        counts: by what becomes of them (DONE, ALREADY, or the key of an `Obstacle`), and the topic that they are from.
        examples: of each obstacle one dead letter, and what it is there.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.examples: dict[Obstacle, tuple[RecordRef, str]] = {}

    def count(self, what: str, letter: DeadLetter) -> None:
        """One more."""
        self.counts[what, "" if letter.source is None else letter.source.topic] += 1

    def leave_out(self, obstacle: Obstacle, words: str, letter: DeadLetter) -> None:
        """One more, which is left out."""
        self.count(obstacle.key, letter)
        self.examples.setdefault(obstacle, (letter.place, words))

    def of(self, what: str) -> int:
        """How many, of all topics."""
        return sum(count for (key, _), count in self.counts.items() if key == what)


class Resubmission:
    """One run of the command.

    Args:
        selection: what is meant.
        again: what was re-submitted already, too.
        anyway: also what would be dead-lettered again, or passed over, as far as that can be told.
    """

    def __init__(
        self,
        topic: DeadLetterTopic,
        originals: Originals,
        prospects: Prospects,
        kafka: KafkaSettings,
        selection: Selection,
        *,
        again: bool = False,
        anyway: bool = False,
    ) -> None:
        self._topic = topic
        self._originals = originals
        self._prospects = prospects
        self._kafka = kafka
        self._selection = selection
        self._again = again
        self._anyway = anyway
        self._done = Resubmitted(topic, selection.partitions)
        self._ranges: Ranges = {}

    def plan(self) -> LetterTally:
        """What would be done now. Writes nothing, and keeps nobody from writing.

        Raises:
            OptOutError: a place that is named has no dead letter, or something could not be read.
        """
        there = self._done.read_on()
        self._ranges = self._meant(there)
        tally = LetterTally()
        for candidate in self._candidates(tally):
            tally.count(DONE, candidate.letter)
        return tally

    def carry_out(self, transactions: Transactions) -> LetterTally:
        """Write what was planned, but for what somebody else has written since.

        Raises:
            OptOutError: it could not be done, or not to the end; the message says how far.
        """
        tally = LetterTally()
        try:
            transactions.begin_session()
            self._topic.see_to_the_end(self._ranges)
            self._done.read_on()
            for batch in _batches(self._candidates(tally)):
                self._write(transactions, batch, tally)
        except OptOutError as error:
            error.args = (f"{error} Re-submitted before that: {tally.of(DONE)}.", *error.args[1:])
            raise
        return tally

    # --- inside

    def _meant(self, there: Ranges) -> Ranges:
        """Where the dead letters stand that are meant."""
        selection = self._selection
        if selection.places:
            offsets = {p: [o for partition, o in selection.places if partition == p] for p in there}
            return {p: (max(low, min(offsets[p])), min(end, max(offsets[p]) + 1)) for p, (low, end) in there.items()}
        if selection.since is None:
            return there
        since = self._topic.ranges(selection.partitions, selection.since)
        return {partition: (since[partition][0], end) for partition, (_, end) in there.items()}

    def _candidates(self, tally: LetterTally) -> Iterator[Candidate]:
        """The dead letters that are to be re-submitted, and their records; the others are counted."""
        # One record may have two dead letters, and is not to be there twice even where it is to be there again.
        taken = RecordSet()
        missing = set(self._selection.places)
        for entry in self._topic.entries(self._ranges):
            if isinstance(entry, ResubmissionNote) or not self._selection.takes(entry):
                continue
            missing.discard(entry.place[1:])
            identity = entry.identity
            if identity in taken or (identity in self._done and not self._again):
                tally.count(ALREADY, entry)
                continue
            record = self._record_of(entry, tally)
            if record is not None and identity is not None:
                taken.add(entry)
                yield Candidate(entry, identity, record)
        for partition, offset in sorted(missing):
            raise OptOutError(
                f"{named(RecordRef(self._topic.name, partition, offset))} is no dead letter of those that you mean: "
                "retention has deleted it, it was written at another time, or something else stands there. Nothing was "
                "written. `opt-out dead-letters` lists what there is."
            )

    def _record_of(self, letter: DeadLetter, tally: LetterTally) -> Record | None:
        if letter.source is not None and side_of(letter.source.topic, self._kafka) is None:
            tally.leave_out(Obstacle.OTHER_TOPIC, f"it is from {letter.source.topic}", letter)
            return None
        found = self._originals.of(letter)
        if not isinstance(found, Record):
            tally.leave_out(*found, letter)
            return None
        obstacle = self._prospects.of(found, letter.reason)
        if obstacle is not None and not (self._anyway and obstacle[0].may_be_overruled):
            tally.leave_out(*obstacle, letter)
            return None
        begin = None if self._again else self._done.begin_after(letter)
        if begin is not None:
            stamp = iso_of(letter.timestamp) or "a time that is not told"
            tally.leave_out(
                Obstacle.PERHAPS_ALREADY, f"its record is of {stamp}, and the notes begin at {iso_of(begin)}", letter
            )
            return None
        return found

    def _write(self, transactions: Transactions, batch: list[Candidate], tally: LetterTally) -> None:
        try:
            transactions.write([_outgoing(one) for one in batch], partial(_notes, batch))
        except RecordTooLargeError as error:
            if len(batch) == 1:
                tally.leave_out(Obstacle.TOO_LARGE, str(error), batch[0].letter)
                return
            # Which one it is only each by itself tells: what is sent together is refused together.
            for one in batch:
                self._write(transactions, [one], tally)
            return
        for one in batch:
            tally.count(DONE, one.letter)


def _outgoing(one: Candidate) -> Outgoing:
    """The record as it was, in the partition that it was in, where its key belongs; and dated as it was."""
    record = one.record
    headers = [*record.headers, (RESUBMITTED_FROM, named(one.letter.place))]
    return Outgoing(record.topic, record.partition, record.key, record.value, headers, record.timestamp)


def _notes(batch: Sequence[Candidate], offsets: Sequence[int]) -> list[Outgoing]:
    """Beside each dead letter, where its record stands now."""
    return [
        Outgoing(*letter.place[:2], None, None, note_of(of, letter.place, of.source._replace(offset=offset)))
        for (letter, of, _), offset in zip(batch, offsets, strict=True)
    ]


def _batches(candidates: Iterator[Candidate]) -> Iterator[list[Candidate]]:
    batch: list[Candidate] = []
    size = 0
    for candidate in candidates:
        batch.append(candidate)
        size += len(candidate.record.key or b"") + len(candidate.record.value or b"")
        if len(batch) >= BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
