"""How urgent a thing is, and since when it is said to be so."""

from __future__ import annotations

import pytest
from support.run_states import MINUTE, NOW, a_snapshot, a_task

from consumer.server.history import Hour
from consumer.server.problem import Urgency, begun, lasting, listed_of, once_lasting, problem, urgency_of


def test_how_urgent_an_entry_is_stands_in_the_runbook() -> None:
    assert urgency_of("an-instance-is-not-live") is Urgency.NOW
    assert urgency_of("credentials-refused") is Urgency.TODAY
    assert urgency_of("breaker-opened") is Urgency.NOT_URGENT


def test_a_problem_has_the_urgency_of_its_entry_if_nothing_else_is_said() -> None:
    assert problem("w", None, "breaker-opened").urgency is Urgency.NOT_URGENT
    assert problem("w", None, "breaker-opened", urgency=Urgency.TODAY).urgency is Urgency.TODAY


@pytest.mark.parametrize(
    ("entry", "seconds", "urgency"),
    [
        ("breaker-opened", 900.0, Urgency.NOT_URGENT),
        ("breaker-opened", 901.0, Urgency.TODAY),
        ("credentials-refused", 1.0, Urgency.TODAY),
        ("an-instance-is-not-live", 901.0, Urgency.NOW),
    ],
)
def test_nothing_lasts_that_ends_by_itself(entry: str, seconds: float, urgency: Urgency) -> None:
    assert lasting(entry, seconds, 900.0) is urgency


def test_what_may_pass_is_urgent_once_it_has_lasted_or_nobody_knows_how_long_it_has() -> None:
    assert once_lasting(Urgency.NOW, NOW - MINUTE, NOW, 60.0) is Urgency.NOT_URGENT
    assert once_lasting(Urgency.NOW, NOW - MINUTE - 1, NOW, 60.0) is Urgency.NOW
    assert once_lasting(Urgency.NOW, None, NOW, 60.0) is Urgency.NOW


def test_what_was_so_within_a_minute_of_the_start_may_have_begun_before() -> None:
    snapshot = a_snapshot(started_at=NOW - 10 * MINUTE)
    assert begun("full", Hour(), snapshot) is None
    assert begun("full", Hour(since={"full": NOW - 9 * MINUTE - 1}), snapshot) is None
    assert begun("full", Hour(since={"full": NOW - 9 * MINUTE}), snapshot) == NOW - 9 * MINUTE


def test_tasks_are_listed_by_their_partitions() -> None:
    assert listed_of([a_task(1), a_task(4)]) == "partitions 1 and 4"
