"""What a backfill and its rehearsal show at their ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..output import Column, Document, TableShown
from .compare import differences_table, fate_in_words, groups_table
from .run import BackfillReport
from .what_if import Rehearsal

_FATES = (Column("fate", "fate"), Column("chains", "offers", is_number=True))


def of_run(report: BackfillReport) -> Document:
    """What a backfill has done."""
    fates: Counter[str] = Counter()
    for fate, count in report.tally.fates.items():
        fates[fate_in_words(fate)] += count
    tables = {"settled": TableShown("Settled by this run", _FATES, sorted(fates.items()))} if fates else {}
    left, notes = report.left, []
    settled, calls = sum(fates.values()), report.tally.calls
    notes.append(
        f"{settled:,} offers settled here, {calls:,} of them by a call; {report.skipped:,} had an outcome already"
    )
    if report.tally.dead_letters:
        notes.append(f"{report.tally.dead_letters:,} records written to the dead-letter topic")
    if report.cut_off:
        notes.append(
            f"{report.cut_off:,} dead-lettered as late: presented so long before what the log still has that nobody "
            "knows whether they were bought"
        )
    if left.waiting:
        notes.append(f"{left.waiting:,} decided and not settled: give the same command again")
    if left.undecided:
        notes.append(f"{left.undecided:,} open: the log does not decide them yet. Give the same command again later")
    elif left.unfinished and not left.waiting:
        notes.append(f"partitions {_named(left.unfinished)} were not read to the end of the range")
    if report.interrupted:
        notes.append("stopped by a signal: the same command goes on from here")
    notes.append("all of the range is settled" if report.is_complete else "not all of the range is settled")
    return Document(
        tables,
        {
            "calls": report.tally.calls,
            "skipped": report.skipped,
            "dead_letters": report.tally.dead_letters,
            "cut_off": report.cut_off,
            "open": left.undecided,
            "waiting": left.waiting,
            "complete": report.is_complete,
        },
        notes,
    )


def of_rehearsals(rehearsals: Sequence[Rehearsal], changes: Sequence[str]) -> Document:
    """What would happen, by the settings in force and by others."""
    first, last = rehearsals[0], rehearsals[-1]
    tables = {"would_happen": groups_table(first.found)}
    notes = [
        f"{first.found.calls:,} offers would be called by the rules in force; "
        f"{first.found.same:,} have that fate in the outcome topic already"
    ]
    if not first.interrupted:
        title = "Different from what offer.outcome tells"
        tables["differences"] = differences_table(first.found, title, "would be", "was told")
        notes += [] if first.found.differences else ["nothing of it differs from what offer.outcome tells"]
    if len(rehearsals) > 1:
        set_to = ", ".join(changes)
        tables["what_if"] = groups_table(last.found)
        title = f"What {set_to} would change"
        tables["changes"] = differences_table(last.found, title, "by " + set_to, "by the rules in force")
        more = last.found.calls - first.found.calls
        notes.append(f"by {set_to} {last.found.calls:,} would be called, which is {more:+,}")
    for one in rehearsals:
        if one.found.cut_off:
            notes.append(f"{one.found.cut_off:,} would be dead-lettered as late, since a part of the log is gone")
        if one.left.undecided:
            notes.append(f"{one.left.undecided:,} open: the log does not decide them yet")
    if last.interrupted:
        notes.append("stopped by a signal: the figures are of a part only")
    notes.append("nothing was called, committed or written")
    return Document(tables, {"complete": all(one.is_complete for one in rehearsals)}, notes)


def _named(partitions: Sequence[int]) -> str:
    return ", ".join(str(partition) for partition in partitions)
