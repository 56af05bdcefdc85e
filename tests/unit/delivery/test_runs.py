"""What is remembered of partners that are forgotten."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from consumer.delivery import runs
from consumer.delivery.not_found import Belief
from consumer.delivery.runs import KeptRuns, Runs
from consumer.settings import DeliverySettings

LIMIT, MAX_REFUSED = 3, 2


def kept_runs(**settings: object) -> KeptRuns:
    chosen = {"not_found_limit": LIMIT, "rejected": "dead-letter", **settings}
    return KeptRuns(DeliverySettings.model_validate(chosen), MAX_REFUSED)


def with_404s(taken: Runs, count: int = 1) -> Runs:
    for _ in range(count):
        taken.not_found.not_found(100.0)
    return taken


def refused(taken: Runs) -> bool:
    """One more request is; True if it may be dead-lettered."""
    taken.refusals.refused()
    return taken.refusals.may_dead_letter


def test_a_run_of_404s_goes_on_where_it_was() -> None:
    kept = kept_runs()
    kept.keep("P", with_404s(kept.take("P"), 2))
    taken = kept.take("P")
    assert (taken.not_found.run, taken.not_found.believe_at) == (2, 160.0)
    assert with_404s(taken).not_found.belief(1_000.0) is Belief.RETRY
    kept.keep("P", taken)
    assert kept.take("P").not_found.tripped


def test_a_run_of_refused_requests_goes_on_where_it_was() -> None:
    kept = kept_runs()
    for dead_lettered in (True, True, False):
        taken = kept.take("P")
        assert refused(taken) is dead_lettered
        kept.keep("P", taken)
        assert refused(kept.take("Q")), "each partner has a run of its own"


@pytest.mark.parametrize("end", ["not_found", "refusals"])
def test_what_a_204_has_ended_takes_no_place(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(runs, "MOST_KEPT", 0)
    kept = kept_runs()
    taken = with_404s(kept.take("P"), LIMIT)
    taken.not_found.recorded()
    refused(taken)
    taken.refusals.accepted()
    with capture_logs() as logs:
        kept.keep("P", taken)
        kept.keep("Q", kept.take("Q"))
    assert (kept.take("P").at_rest, logs) == (True, [])
    (with_404s if end == "not_found" else refused)(taken)
    assert not taken.at_rest


def test_once_one_run_is_lost_a_partner_of_which_nothing_is_known_has_used_up_what_it_may_lose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "MOST_KEPT", 2)
    kept = kept_runs()
    lost = with_404s(kept.take("lost"))
    for code in ("A", "B"):
        kept.keep(code, with_404s(kept.take(code)))
    assert kept.take("before").at_rest, "while none is lost, one of which nothing is known was never called"
    with capture_logs() as logs:
        kept.keep("lost", lost)
        kept.keep("lost too", with_404s(kept.take("lost too")))
    assert [(line["log_level"], line["remembered"]) for line in logs] == [("warning", 2)]
    assert kept.take("A").not_found.run == 1, "those that are kept go on where they were"
    kept.keep("B", kept.take("B"))
    for code in ("lost", "never called"):
        taken = kept.take(code)
        assert not taken.not_found.tripped
        assert not refused(taken)
        assert with_404s(taken).not_found.belief(1_000.0) is Belief.RETRY
    taken.not_found.recorded()
    taken.refusals.accepted()
    assert taken.at_rest, "a 204 ends what may have been"
    assert refused(taken)
    assert with_404s(taken).not_found.belief(101.0) is Belief.UNCONFIRMED


def test_without_a_limit_nothing_is_counted_nor_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_KEPT", 0)
    kept = kept_runs(not_found_limit=0, rejected="hold")
    taken = kept.take("P")
    with_404s(taken)
    refused(taken)
    assert taken.at_rest
    taken.use_up()
    assert taken.at_rest
    assert with_404s(taken).not_found.belief(100.0) is Belief.TERMINAL


@pytest.mark.parametrize("limit", [1, 20])
def test_used_up_the_next_404_trips_the_guard_and_says_so(limit: int) -> None:
    taken = kept_runs(not_found_limit=limit).take("P")
    taken.use_up()
    assert taken.not_found.belief(0.0) is not Belief.RETRY
    assert taken.not_found.not_found(100.0)
    assert taken.not_found.belief(1e9) is Belief.RETRY
