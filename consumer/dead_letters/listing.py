"""How many dead letters there are, by their reason and where they are from, and the newest of them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..core.dating import iso_of
from ..kafka.letter import DeadLetter, LetterForm, ResubmissionNote, named
from ..output import Cell, Column, Document, TableShown
from .resubmission import Selection
from .topic import DeadLetterTopic, Resubmitted

COUNTS = (
    Column("reason", "reason"),
    Column("topic", "from"),
    Column("partition", "partition", is_number=True),
    Column("dead_letters", "dead letters", is_number=True),
    Column("resubmitted", "re-submitted", is_number=True),
    Column("first", "first"),
    Column("last", "last"),
)
NEWEST = (
    Column("place", "dead letter"),
    Column("written", "written"),
    Column("reason", "reason"),
    Column("source", "record"),
    Column("form"),
    Column("resubmitted", "re-submitted"),
    Column("error", "error"),
)

NOT_TOLD = "not told"
"""In the place of a reason, where the dead letter has no headers of ours."""


@dataclass(slots=True)
class CountOfLetters:
    """Dead letters of one reason from one partition; when the first and the last of them was written (ms)."""

    letters: int = 0
    resubmitted: int = 0
    first: int = field(default=2**62)
    last: int = field(default=-(2**62))

    def add(self, letter: DeadLetter, *, resubmitted: bool) -> None:
        """One more."""
        self.letters += 1
        self.resubmitted += resubmitted
        self.first, self.last = min(self.first, letter.written_at), max(self.last, letter.written_at)


def listing(topic: DeadLetterTopic, selection: Selection, newest: int) -> Document:
    """The dead letters that are meant: counted, and so many of the newest.

    Raises:
        OptOutError: the topic could not be read.
    """
    done = Resubmitted(topic)
    there = done.read_on()
    begins = there if selection.since is None else topic.ranges(since=selection.since)
    counts: dict[tuple[str, str, int], CountOfLetters] = {}
    kept: list[tuple[tuple[int, int, int], DeadLetter]] = []
    for entry in topic.entries({p: (begins[p][0], end) for p, (_, end) in there.items() if p in begins}):
        if isinstance(entry, ResubmissionNote) or not selection.takes(entry):
            continue
        source = entry.source
        key = entry.reason or NOT_TOLD, "" if source is None else source.topic, entry.place.partition
        counts.setdefault(key, CountOfLetters()).add(entry, resubmitted=entry.identity in done)
        if newest:
            item = (entry.written_at, *entry.place[1:]), entry
            (heapq.heappush if len(kept) < newest else heapq.heappushpop)(kept, item)
    return _document(topic.name, counts, [letter for _, letter in sorted(kept, reverse=True)], done)


def _document(
    topic: str,
    counts: dict[tuple[str, str, int], CountOfLetters],
    newest: Sequence[DeadLetter],
    done: Resubmitted,
) -> Document:
    total, again = sum(c.letters for c in counts.values()), sum(c.resubmitted for c in counts.values())
    rows = [
        [*key, count.letters, count.resubmitted, _when(count.first), _when(count.last)]
        for key, count in sorted(counts.items())
    ]
    facts: dict[str, object] = {"topic": topic, "dead_letters": total, "resubmitted": again}
    if not total:
        return Document({}, {"counts": [], "newest": [], **facts}, [f"{topic}: no dead letter of these is there"])
    tables = {"counts": TableShown(f"The dead letters in {topic}", COUNTS, rows)}
    if newest:
        tables["newest"] = TableShown("The newest of them", NEWEST, [_row(letter, done) for letter in newest])
    else:
        facts["newest"] = []
    notes = [f"{topic}: {total} dead letters, {again} of them re-submitted"]
    return Document(tables, facts, notes)


def _row(letter: DeadLetter, done: Resubmitted) -> list[object]:
    source = letter.source
    return [
        Cell(f"{letter.place.partition}:{letter.place.offset}", named(letter.place)),
        _when(letter.written_at),
        letter.reason or NOT_TOLD,
        None if source is None else named(source),
        letter.form.name.lower(),
        letter.identity in done,
        letter.error if letter.form is not LetterForm.UNTOLD else letter.form.value,
    ]


def _when(milliseconds: int) -> Cell:
    return Cell(iso_of(milliseconds) or str(milliseconds), milliseconds)
