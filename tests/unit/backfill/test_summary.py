"""What a backfill and its rehearsal say at their ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.outcomes import outcome_of

from consumer.backfill.compare import Comparison
from consumer.backfill.end import Left
from consumer.backfill.rehearsal import NothingWritten
from consumer.backfill.run import BackfillReport
from consumer.backfill.summary import of_rehearsals, of_run
from consumer.backfill.tally import FateTally
from consumer.backfill.told import Told
from consumer.backfill.what_if import Rehearsal
from consumer.events import Mode, Outcome, Reason
from consumer.runtime.outcomes import CUT_OFF

NOTHING_LEFT = Left(0, 0, ())


def report(*fates: tuple[Outcome, Reason], left: Left = NOTHING_LEFT, **more: object) -> BackfillReport:
    tally = FateTally(NothingWritten())
    for fate, reason in fates:
        tally.outcome(replace(outcome_of(fate, reason), note=CUT_OFF if reason is Reason.LATE else None), 0)
    given = {"skipped": 0, "cut_off_before": 0, "interrupted": False} | more
    return BackfillReport(tally=tally, left=left, **given)  # type: ignore[arg-type]


def test_a_range_that_is_settled_is_told_as_complete() -> None:
    done = report((Outcome.OPTED_OUT, Reason.DECLINED), (Outcome.PURCHASED, Reason.PURCHASED), skipped=4)
    assert done.is_complete
    document = of_run(done)
    assert list(document.tables["settled"].rows) == [("bought", 1), ("called: declined", 1)]
    assert document.notes == [
        "2 offers settled here, 1 of them by a call; 4 had an outcome already",
        "all of the range is settled",
    ]


def test_each_reason_why_a_range_is_not_settled_is_said_and_none_is_complete() -> None:
    cases = {
        "1 open": report(left=Left(1, 0, (0,))),
        "2 decided and not settled": report(left=Left(0, 2, (0,))),
        "partitions 0, 3 were not read": report(left=Left(0, 0, (0, 3))),
        "1 dead-lettered as late": report((Outcome.DEAD_LETTERED, Reason.LATE)),
        "5 dead-lettered as late": report(cut_off_before=5),
        "stopped by a signal": report(interrupted=True),
    }
    for words, found in cases.items():
        assert not found.is_complete, words
        notes = of_run(found).notes
        assert any(note.startswith(words) for note in notes), notes
        assert notes[-1] == "not all of the range is settled"
        assert of_run(found).facts["complete"] is False


def test_what_came_late_by_itself_is_settled_and_hides_no_gap() -> None:
    tally = FateTally(NothingWritten())
    tally.outcome(outcome_of(Outcome.DEAD_LETTERED, Reason.LATE), 0)
    found = BackfillReport(tally, 0, 0, NOTHING_LEFT, interrupted=False)
    assert found.is_complete
    assert not any("a part of the log" in note or "so long before" in note for note in of_run(found).notes)


@pytest.mark.parametrize("told", ["nothing", "given up before", "called since"])
def test_a_dry_run_over_a_gap_is_as_complete_as_the_run_that_it_foretells(told: str) -> None:
    given_up = replace(outcome_of(Outcome.DEAD_LETTERED, Reason.LATE, mode=Mode.BACKFILL), note=CUT_OFF)
    others = Told()
    if told != "nothing":
        others.add(given_up)
    if told == "called since":
        others.add(outcome_of())
    found = Comparison(others)
    found.add(given_up)
    found.finish()
    rehearsed = Rehearsal(found, NOTHING_LEFT, interrupted=False)
    assert rehearsed.is_complete is (told == "called since")
    said = any("a part of the log is gone" in note for note in of_rehearsals([rehearsed], []).notes)
    assert said is not rehearsed.is_complete


def rehearsal(*offers: str, others: Told | None = None) -> Rehearsal:
    found = Comparison(others or Told())
    for offer in offers:
        found.add(outcome_of(offer_id=offer))
    found.finish()
    return Rehearsal(found, NOTHING_LEFT, interrupted=False)


def test_a_rehearsal_says_what_would_happen_and_that_nothing_did() -> None:
    document = of_rehearsals([rehearsal("a", "b")], [])
    assert list(document.tables) == ["would_happen", "differences"]
    assert document.notes[0].startswith("2 offers would be called")
    assert document.notes[-1] == "nothing was called, committed or written"


def test_other_rules_are_put_beside_those_in_force() -> None:
    first = rehearsal("a", "b")
    last = rehearsal("a", others=first.found.fates)
    document = of_rehearsals([first, last], ["join.window=15m"])
    assert list(document.tables) == ["would_happen", "differences", "what_if", "changes"]
    assert list(document.tables["changes"].rows) == [["nothing", "called: declined", 1]]
    assert "by join.window=15m 1 would be called, which is -1" in document.notes
