"""What is shown: the verdict, what is left out of it, and the JSON of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.run_states import (
    GOOD_PULSE,
    MINUTE,
    NOW,
    OFFER,
    QUOTED,
    SESSION,
    STATES,
    a_snapshot,
    a_task,
    an_outcome,
    denied,
    latest_of,
    well,
)

from consumer.server.history import Hour
from consumer.server.problems import Pulse
from consumer.server.status import Status, Verdict, delay, document, status_of
from consumer.snapshot import Snapshot

EMPTY_HOUR = Hour()


def status(snapshot: Snapshot | None, *, show_ids: bool = False, pulse: Pulse = GOOD_PULSE) -> Status:
    return status_of(snapshot, pulse, EMPTY_HOUR, NOW, show_ids=show_ids)


def as_text(found: Status) -> str:
    return json.dumps(document(found), ensure_ascii=False)


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        ("well", Verdict.WELL),
        ("restoring", Verdict.WAITING),
        ("transaction", Verdict.WAITING),
        ("suspended", Verdict.TROUBLE),
        ("denied", Verdict.TROUBLE),
        ("full", Verdict.TROUBLE),
        ("behind", Verdict.TROUBLE),
    ],
)
def test_the_verdict_of_each_state(state: str, verdict: Verdict) -> None:
    assert status(STATES[state]()).verdict is verdict


def test_before_the_first_turn_it_waits() -> None:
    found = status(None)
    assert found.verdict is Verdict.WAITING
    assert document(found)["run"] is None


@pytest.mark.parametrize("state", STATES)
def test_no_id_is_told_and_nothing_that_may_quote_one(state: str) -> None:
    text = as_text(status(STATES[state]()))
    assert "5f2c8e" not in text
    assert "77e0aa" not in text
    assert "the insurer says" not in text


def test_where_ids_are_shown_all_of_it_is() -> None:
    found = document(status(denied(), show_ids=True))
    assert found["ids_shown"] is True
    run = found["run"]
    assert (run["outcomes"][0]["offer_id"], run["outcomes"][0]["session_id"]) == (OFFER, SESSION)
    assert run["outcomes"][2]["note"] == QUOTED
    assert run["partners"][0]["last_note"] == QUOTED
    assert run["dead_letters"][0]["error"] == f"no Avro: {OFFER!r}"
    assert run["tasks"][3]["oldest_unsettled"]["offer_id"] == OFFER


def test_what_is_hidden_is_null_and_its_place_is_told() -> None:
    run = document(status(denied()))["run"]
    told = run["outcomes"][0]
    assert (told["offer_id"], told["session_id"], told["note"]) == (None, None, None)
    assert (told["partition"], told["offset"], told["partner_code"]) == (0, 90_217, "ACME")
    assert run["dead_letters"][0] == {
        "written_at": "2026-11-06T23:51:14.000Z",
        "reason": "undecodable",
        "topic": "offer.presented",
        "partition": 2,
        "offset": 77_003,
        "error": None,
    }
    assert run["tasks"][3]["oldest_unsettled"] == {
        "partner_code": "ACME",
        "offset": 88_120,
        "presented_at": "2026-11-07T01:35:14.000Z",
        "due_at": "2026-11-07T02:10:14.000Z",
        "decided_at": None,
        "offer_id": None,
        "session_id": None,
    }


def test_a_problem_names_its_entry_as_a_link_and_as_a_command() -> None:
    (problem,) = document(status(denied()))["problems"]
    assert problem == {
        "sentence": "partition 3: oldest unsettled offer is 1 h 16 min old, partner ACME answers 403 since 02:10; "
        "512 calls wait; committed offset held at 88,120",
        "since": "2026-11-07T02:10:00.000Z",
        "urgency": "Today",
        "partitions": [3],
        "partner": "ACME",
        "runbook": "manual/runbook#credentials-refused",
        "command": "opt-out manual runbook#credentials-refused",
    }


def test_a_task_tells_its_watermark_and_by_how_much_it_is_behind() -> None:
    task = a_task()
    assert delay(task, NOW) == 302
    assert delay(a_task(watermark=None), NOW) is None
    found: dict[str, Any] = document(status(a_snapshot(tasks=(task,))))["run"]["tasks"][0]
    assert (found["watermark"], found["delay_seconds"]) == ("2026-11-07T02:46:12.000Z", 302)
    assert found["held_back"] is None
    assert found["offers"]["lag"] == 0
    assert found["checkouts"]["committed"] == 33_870


def test_a_partner_tells_how_fast_it_is_called() -> None:
    latest = latest_of(well(), NOW)
    found = document(status_of(latest.snapshot, GOOD_PULSE, latest.history.hour(NOW), NOW, show_ids=False))
    acme = found["run"]["partners"][0]
    assert acme["rate_limit"] == 10.0
    assert 0 <= acme["tries_a_second"] < 1
    assert len(found["last_hour"]) == 60
    assert {"minute", "answered", "failed", "decided"} == set(found["last_hour"][0])


def test_it_is_json_whatever_a_partner_is_called() -> None:
    found = status(a_snapshot(outcomes=(an_outcome(partner_code="é\x00\ud83d"),)), show_ids=True)
    assert json.loads(json.dumps(document(found)))["run"]["outcomes"][0]["partner_code"] == "é\x00\ud83d"


def test_the_problems_are_worked_out_of_what_is_shown() -> None:
    """So that no sentence may hold what was taken out."""
    assert MINUTE
    hidden = status(denied())
    assert hidden.snapshot is not None
    assert hidden.snapshot.partners[0].last_note is None
    assert hidden.problems == status(denied(), show_ids=True).problems
