"""What is said of calls: that none leaves, that a partner is stopped or fails, that an offer is not settled."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from support.run_states import GOOD_PULSE, HOUR, MINUTE, NOW, a_partner, a_snapshot, a_task, oldest

from consumer.delivery.doing import MOST_TOLD
from consumer.events import Outcome
from consumer.server.history import History
from consumer.server.problem import Problem, Urgency
from consumer.server.problems import problems_of
from consumer.snapshot import CallsSnapshot, CountsSnapshot, Snapshot


def of(*snapshots: Snapshot) -> tuple[Problem, ...]:
    """What is said of the last one, after the others."""
    history = History()
    for one in snapshots:
        history.note(one)
    return problems_of(snapshots[-1], GOOD_PULSE, NOW, history.hour(NOW))


def only(*snapshots: Snapshot) -> Problem:
    (found,) = of(*snapshots)
    return found


def calls_of(**counts: int) -> CallsSnapshot:
    """Tries of ACME by status: `s204=3`."""
    answers = {("ACME", status[1:]): count for status, count in counts.items()}
    return CallsSnapshot(answers=MappingProxyType(answers), unsettled={"ACME": 6})


# --- the calls


def test_a_gate_that_is_closed_says_why_and_no_partner_is_blamed() -> None:
    tasks = (a_task(due_uncalled=512, oldest_unsettled=oldest()),)
    found = only(a_snapshot(tasks=tasks, calls=CallsSnapshot(gate_closed=("writes fail", "the clock is wrong"))))
    assert found.sentence == "no call leaves, and 512 offers wait: writes fail; the clock is wrong"
    assert found.entry == "no-call-leaves"


def test_a_gate_that_lets_calls_leave_singly_is_no_reason_to_act() -> None:
    calls = CallsSnapshot(gate_narrow=("no outcome of this run is known to be written",))
    found = only(a_snapshot(tasks=(a_task(due_uncalled=1),), calls=calls))
    assert found.sentence == "calls leave singly, and 1 offer waits: no outcome of this run is known to be written"
    assert found.urgency is Urgency.NOT_URGENT


def test_a_gate_that_no_call_has_looked_at_for_long_is_not_told_of() -> None:
    calls = CallsSnapshot(gate_closed=("the loop has only just gone on",))
    assert of(a_snapshot(tasks=(a_task(due_uncalled=0),), calls=calls)) == ()


@pytest.mark.parametrize(
    ("by", "status", "words", "entry"),
    [
        ("credentials", 401, "partner ACME answers 401 since 02:51; 6 calls wait", "credentials-refused"),
        (
            "credentials",
            None,
            "partner ACME has no credentials that are taken since 02:51; 6 calls wait",
            "credentials-refused",
        ),
        ("breaker", 503, "partner ACME answers 503 since 02:51; 6 calls wait", "breaker-opened"),
        ("breaker", None, "partner ACME does not answer since 02:51; 6 calls wait", "breaker-opened"),
        (
            "retry_after",
            None,
            "partner ACME answers 429 and has told us to wait since 02:51; 6 calls wait",
            "told-to-wait",
        ),
        ("not_found", 404, "partner ACME answers nothing but 404 since 02:51; 6 calls wait", "nothing-but-404s"),
        ("rejected", 422, "partner ACME refuses requests (422) since 02:51; 6 calls wait", "rejected"),
    ],
)
def test_each_thing_that_stops_a_partner_has_its_words(by: str, status: int | None, words: str, entry: str) -> None:
    partner = a_partner(stopped_by=(by,), stopped_since=NOW, last_status=status)
    found = only(a_snapshot(partners=(partner,)))
    assert (found.sentence, found.entry) == (words, entry)


@pytest.mark.parametrize(("due_ago", "urgency"), [(MINUTE, Urgency.NOT_URGENT), (16 * MINUTE, Urgency.TODAY)])
def test_what_ends_by_itself_is_for_today_when_it_does_not(due_ago: int, urgency: Urgency) -> None:
    partner = a_partner(stopped_by=("breaker",), stopped_since=NOW - due_ago)
    tasks = (a_task(oldest_unsettled=oldest(due_ago=due_ago)),)
    assert only(a_snapshot(partners=(partner,), tasks=tasks)).urgency is urgency


def test_offers_that_wait_long_for_their_turn_are_said_with_the_rate() -> None:
    late = a_task(2, oldest_unsettled=oldest(due_ago=20 * MINUTE))
    tasks = (late, a_task(1, oldest_unsettled=oldest(due_ago=MINUTE)))
    found = only(a_snapshot(tasks=tasks, partners=(a_partner(unsettled=9_000),)))
    assert found.sentence == (
        "partition 2: oldest unsettled offer is 55 min old, calls of partner ACME are made, at most 10 a second with "
        "its credential, and wait for their turn; 9,000 calls wait; committed offset held at 90,218"
    )
    assert found.entry == "an-offset-is-stuck"


def test_an_offer_that_is_tried_and_fails_does_not_wait_for_its_turn() -> None:
    """One offer is answered 500 each time, all others 204: so no breaker opens, and the commit is held."""
    tried = a_partner(unsettled=1, last_status=500, answered={"204": 40_000, "500": 61})
    found = only(a_snapshot(tasks=(a_task(oldest_unsettled=oldest(), unsettled=1),), partners=(tried,)))
    assert "its call to partner ACME is tried and does not succeed, and the last that failed was answered 500" in (
        found.sentence
    )
    assert (found.since, found.entry) == (NOW - 41 * MINUTE, "an-offset-is-stuck")


def test_an_offer_waits_since_it_was_decided_and_not_since_it_was_due() -> None:
    """A new group reads a week: what it has just decided was due days ago."""
    due = oldest(due_ago=7 * 24 * HOUR)

    def decided(ago: int) -> Snapshot:
        waits = replace(due, decided_at=NOW - ago)
        return a_snapshot(tasks=(a_task(oldest_unsettled=waits),), partners=(a_partner(unsettled=9_000),))

    assert of(decided(4 * MINUTE)) == ()
    assert only(decided(6 * MINUTE)).since == NOW - 6 * MINUTE


def test_first_calls_wait_for_checkouts_and_not_for_their_turn() -> None:
    task = a_task(oldest_unsettled=oldest(), due_uncalled=3, first_calls=3)
    found = only(a_snapshot(tasks=(task,), partners=()))
    assert "calls wait until the checkouts are read that stood in the log when this instance began; 3 calls wait" in (
        found.sentence
    )


def test_a_partner_that_is_stopped_and_has_no_call_is_no_trouble() -> None:
    """Its partitions went to another instance while its credentials were refused: nobody asks here any more."""
    idle = a_partner(unsettled=0, in_flight=0, stopped_by=("credentials",), stopped_since=NOW - HOUR, last_status=403)
    assert of(a_snapshot(partners=(idle,))) == ()


def test_a_stopped_partner_beyond_those_told_one_by_one_is_said_to_be_stopped() -> None:
    """The hundred busiest may hide one that is stopped with a single call."""
    busy = tuple(a_partner(f"P{number}", unsettled=9) for number in range(MOST_TOLD))
    for by, words in (("credentials", "has no credentials that are taken"), ("breaker", "partner ACME fails")):
        calls = CallsSnapshot(unsettled={"ACME": 1}, stopped={"ACME": (by,)})
        task = a_task(oldest_unsettled=oldest(), unsettled=1)
        found = only(a_snapshot(tasks=(task,), partners=busy, calls=calls))
        assert words in found.sentence
        assert "are made" not in found.sentence
        assert found.partner == "ACME"


def test_a_breaker_that_is_open_for_long_is_for_today_whatever_offer_is_the_oldest() -> None:
    def since(minutes: int) -> Snapshot:
        return a_snapshot(partners=(a_partner(stopped_by=("breaker",), stopped_since=NOW - minutes * MINUTE),))

    assert only(since(14)).urgency is Urgency.NOT_URGENT
    assert only(since(16)).urgency is Urgency.TODAY


def test_a_breaker_that_was_open_at_the_start_already_is_for_today_when_it_stays_so() -> None:
    calls = CallsSnapshot(stopped={"ACME": ("breaker",)}, unsettled={"ACME": 6})
    stopped = a_snapshot(partners=(a_partner(stopped_by=("breaker",)),), calls=calls)
    assert only(replace(stopped, taken_at=NOW - 14 * MINUTE), stopped).urgency is Urgency.NOT_URGENT
    assert only(replace(stopped, taken_at=NOW - 16 * MINUTE), stopped).urgency is Urgency.TODAY


def test_few_tries_that_fail_for_an_hour_are_for_today() -> None:
    def states(minutes: int) -> list[Snapshot]:
        """Each ten minutes three tries are answered, and three fail."""
        return [
            a_snapshot(taken_at=NOW - ago * MINUTE, calls=calls_of(s204=60 - ago * 3 // 10, s503=60 - ago * 3 // 10))
            for ago in range(minutes, -1, -10)
        ]

    assert only(*states(20)).urgency is Urgency.NOT_URGENT
    assert only(*states(50)).urgency is Urgency.TODAY


@pytest.mark.parametrize(
    ("changes", "entry"),
    [({"calls": CallsSnapshot(gate_closed=("writes fail",))}, "no-call-leaves"), ({"full": True}, "reading-is-paused")],
)
def test_what_passes_in_a_moment_is_for_today_when_it_lasts_and_is_said_with_since_when(
    changes: dict[str, Any], entry: str
) -> None:
    def states(minutes: int) -> list[Snapshot]:
        before = a_snapshot(taken_at=NOW - minutes * MINUTE - 1_000)
        return [before, a_snapshot(taken_at=NOW - minutes * MINUTE, **changes), a_snapshot(**changes)]

    short, long = only(*states(9)), only(*states(11))
    assert (short.entry, short.urgency, short.since) == (entry, Urgency.NOT_URGENT, NOW - 9 * MINUTE)
    assert (long.urgency, long.since) == (Urgency.TODAY, NOW - 11 * MINUTE)


def test_what_was_so_at_the_start_may_have_begun_before_it() -> None:
    started = NOW - 20 * MINUTE
    first = a_snapshot(started_at=started, taken_at=started + 5_000, full=True)
    assert only(first, a_snapshot(started_at=started, full=True)).since is None


@pytest.mark.parametrize(
    ("good", "bad", "urgency"),
    [(100, 20, None), (100, 30, Urgency.TODAY), (3, 1, Urgency.NOT_URGENT), (10, 0, None)],
)
def test_tries_that_fail_though_nothing_stops_the_partner(good: int, bad: int, urgency: Urgency | None) -> None:
    before = a_snapshot(taken_at=NOW - 10 * MINUTE, calls=calls_of(s204=1_000, s503=1_000))
    now = a_snapshot(taken_at=NOW, calls=calls_of(s204=1_000 + good, s503=1_000 + bad))
    assert [one.urgency for one in of(before, now)] == ([] if urgency is None else [urgency])


@pytest.mark.parametrize(("found", "known", "said"), [(21, 20, True), (21, 22, False), (20, 0, False)])
def test_offers_of_which_the_insurer_knows_few(found: int, known: int, said: bool) -> None:
    before = a_snapshot(taken_at=NOW - 50 * MINUTE, calls=calls_of(s204=500, s404=9_000))
    now = a_snapshot(taken_at=NOW, calls=calls_of(s204=500 + known, s404=9_000 + found))
    assert [one.entry for one in of(before, now)] == (["404s-are-believed"] if said else [])


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_partner_that_is_told_to_wait_most_of_the_time(share: float) -> None:
    """Each pause lasts for seconds."""
    states = [
        a_snapshot(
            taken_at=NOW - 1_000 * (1_900 - second),
            calls=CallsSnapshot(
                unsettled={"ACME": 6}, stopped={"ACME": ("retry_after",) if second % 10 < 10 * share else ()}
            ),
            partners=(),
        )
        for second in range(1_900)
    ]
    last = a_snapshot(taken_at=NOW, partners=(), calls=CallsSnapshot(unsettled={"ACME": 6}, stopped={"ACME": ()}))
    assert [one.entry for one in of(*states, last)] == (["told-to-wait"] if share > 0.5 else [])


@pytest.mark.parametrize(("bought", "told", "said"), [(6, 500, True), (6, 700, False), (5, 0, False)])
def test_purchases_after_opt_outs_that_are_more_than_customers_who_come_back(
    bought: int, told: int, said: bool
) -> None:
    before = a_snapshot(taken_at=NOW - 50 * MINUTE, counts=CountsSnapshot(purchases_after_opt_out=40))
    counts = CountsSnapshot(purchases_after_opt_out=40 + bought, outcomes={Outcome.OPTED_OUT: told})
    found = of(before, a_snapshot(taken_at=NOW, counts=counts))
    assert [(one.entry, one.urgency) for one in found] == ([("purchase-after-opt-out", Urgency.NOW)] if said else [])
