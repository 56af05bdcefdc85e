"""What became of records and offers is counted in one place for all tasks, and the last few are remembered."""

from __future__ import annotations

import pytest
from support.builders import NOW, checkout, offer, raw
from support.loop_world import LoopWorld, assign, revoke

from consumer.core.watermark import Side
from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef
from consumer.hiding import Hider
from consumer.kafka.record import Record
from consumer.runtime.counts import MOST_RECENT, MOST_WORDS, Counts


def outcome(number: int) -> OfferOutcome:
    return OfferOutcome(
        offer_id=f"o-{number}", partner_code="ACME", session_id="s", outcome=Outcome.OPTED_OUT, reason=Reason.DECLINED,
        checkout_id=None, presented_at=1, decided_at=2, settled_at=3, status_code=204, attempts=1, details=Details(),
        source=RecordRef("offers", 5, number), mode=Mode.LIVE, note="a note",
    )  # fmt: skip


def record(number: int) -> Record:
    return Record("offers", 5, number, NOW, b"key", b"value")


def test_the_last_outcomes_are_remembered_newest_first_and_no_more_than_a_page() -> None:
    counts = Counts(lambda: NOW / 1000)
    for number in range(MOST_RECENT + 5):
        counts.outcome(outcome(number))
    found = counts.recent_outcomes()
    assert [one.offset for one in found] == list(range(MOST_RECENT + 4, 4, -1))
    assert (found[0].offer_id, found[0].outcome, found[0].reason, found[0].status_code, found[0].note) == (
        "o-24", "OPTED_OUT", "DECLINED", 204, "a note",
    )  # fmt: skip
    assert counts.outcomes == {Outcome.OPTED_OUT: MOST_RECENT + 5}


def test_the_last_dead_letters_are_remembered_newest_first_and_no_more_than_a_page() -> None:
    counts = Counts(lambda: NOW / 1000)
    for number in range(MOST_RECENT + 5):
        counts.dead_letter(Side.CHECKOUTS, record(number), "undecodable", "e" * 10_000)
    found = counts.recent_dead_letters()
    assert [one.offset for one in found] == list(range(MOST_RECENT + 4, 4, -1))
    assert (found[0].written_at, found[0].reason, len(found[0].error)) == (NOW, "undecodable", MOST_WORDS)
    assert counts.dead_letters == {("checkouts", "undecodable"): MOST_RECENT + 5}


def test_secrets_in_an_error_are_hidden_before_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.hiding.IN_USE", Hider(["s3cr3t-of-ours"]))
    counts = Counts(lambda: NOW / 1000)
    for before in range(MOST_WORDS - 20, MOST_WORDS):
        counts.dead_letter(Side.OFFERS, record(1), "rejected", f"{'x' * before} s3cr3t-of-ours")
        assert "s3c" not in counts.recent_dead_letters()[0].error


def test_all_that_becomes_of_offers_is_counted_and_outlives_the_task() -> None:
    world = LoopWorld()
    world.begin()
    counts = world.loop.tasks.counts
    world.turn([offer(0, 10_000), offer(1, 10_000, offer_id="bought"), raw("offers", 2, "s1", b"\xff")])
    world.turn([checkout(0, 10_500, "bought", session="s1")])
    world.idle(20_000)
    assert counts.decisions == {Reason.DECLINED: 1, Reason.PURCHASED: 1}
    assert counts.outcomes == {Outcome.PURCHASED: 1}
    assert counts.dead_letters == {("offers", "undecodable"): 1}
    world.delivery.answer()
    world.turn()
    assert counts.outcomes == {Outcome.PURCHASED: 1, Outcome.OPTED_OUT: 1}
    world.turn([checkout(1, 10_600, "o1", session="s1")])
    assert counts.purchases_after_opt_out == 1
    world.turn(revoke)
    world.turn(assign)
    assert world.snapshot().counts.outcomes == {Outcome.PURCHASED: 1, Outcome.OPTED_OUT: 1}
    assert len(world.snapshot().outcomes) == 2
