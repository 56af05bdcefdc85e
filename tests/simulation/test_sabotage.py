"""A rule is taken out of the service, and the simulation has to notice, by the hazard that is made for the rule.

Each sabotage is one small function put in the place of one of the service's. Where that has another name now, the test
fails and says so: a sabotage that breaks nothing would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from simulation import hazards
from simulation.hazards import Hazard, run_hazard

from consumer.calls import AnswerKind
from consumer.delivery import queue
from consumer.delivery.answers import Effect
from consumer.kafka.consumer import GroupConsumer
from consumer.kafka.end_offsets import EndOffsets
from consumer.kafka.producer import OutputProducer
from consumer.runtime.idleness import Idleness
from consumer.runtime.runner import TaskRunner
from consumer.runtime.tasks import Tasks

SEEDS = range(20)
"""In so many ways each hazard is run: unharmed all of them are right, and of the harmed ones at least one is not."""

Sabotage = Callable[[Any], Callable[..., Any]]
"""Given the real function, what stands in its place."""


def dated_after_the_answer(real: Any) -> Any:
    def answers(self: EndOffsets) -> Any:
        answer = real(self)
        return None if answer is None else (int(self._wall() * 1000), answer[1])

    return answers


def watched_for_ever(real: Any) -> Any:
    def begin(self: Idleness, *args: Any) -> None:
        now = self._monotonic()
        with patch.object(self, "_monotonic", lambda: now - 1e6):
            real(self, *args)

    return begin


def any_leader_will_do(real: Any) -> Any:
    def answers(self: EndOffsets) -> Any:
        self._epochs.clear()
        return real(self)

    return answers


def only_the_owner_writes(real: Any) -> Any:
    return lambda self, result: None if self._closed else real(self, result)


def a_cancelled_404_is_given_up(real: Any) -> Any:
    def effect_of(kind: AnswerKind, pending: Any, now: float) -> Effect:
        effect: Effect = real(kind, pending, now)
        return Effect.GIVE_UP if pending.given_up and effect is Effect.SETTLE_NOT_FOUND else effect

    return effect_of


def half_is_whole(real: Any) -> Any:
    def commit(self: GroupConsumer, offsets: Any) -> Any:
        answers = real(self, offsets)
        taken = {answer.partition for answer in answers if answer.error is None}
        return [
            SimpleNamespace(topic=answer.topic, partition=answer.partition, error=None)
            if answer.partition in taken
            else answer
            for answer in answers
        ]

    return commit


def lost_is_revoked(_: Any) -> Any:
    return lambda self, partitions: self.revoked(partitions)


def a_failure_is_forgotten(_: Any) -> Any:
    return lambda *_: None


CASES: list[tuple[str, Callable[[], Hazard], Any, str, Sabotage]] = [
    (
        "the idle clock is read after the answer",
        hazards.an_answer_that_takes_long,
        EndOffsets,
        "answers",
        dated_after_the_answer,
    ),
    (
        "idleness is trusted without having watched",
        hazards.a_start_at_the_end_of_an_outage,
        Idleness,
        "begin",
        watched_for_ever,
    ),
    (
        "an outage is no reason to distrust idleness",
        hazards.an_outage,
        Idleness,
        "trouble",
        a_failure_is_forgotten,
    ),
    (
        "a new leader is no reason to distrust idleness",
        hazards.a_leader_that_changes_unseen,
        EndOffsets,
        "answers",
        any_leader_will_do,
    ),
    (
        "a former owner's outcome is not written",
        hazards.a_rebalance_while_a_call_is_in_flight,
        TaskRunner,
        "on_result",
        only_the_owner_writes,
    ),
    (
        "a 404 that comes after a cancel is dropped",
        hazards.a_rebalance_while_a_404_is_in_flight,
        queue,
        "effect_of",
        a_cancelled_404_is_given_up,
    ),
    ("half a commit is taken for a whole", hazards.half_of_each_commit, GroupConsumer, "_commit", half_is_whole),
    (
        "lost partitions commit as if revoked",
        hazards.a_member_that_was_given_up,
        Tasks,
        "lost",
        lost_is_revoked,
    ),
    (
        "a write that failed for good does not stop commits",
        hazards.outcomes_that_are_refused,
        OutputProducer,
        "_fail",
        a_failure_is_forgotten,
    ),
]
"""What is broken, the hazard that shows it, and the function that is replaced."""


@pytest.mark.parametrize("make", dict.fromkeys(case[1] for case in CASES), ids=lambda make: make.__name__)
def test_the_service_gets_through_each_hazard(make: Callable[[], Hazard]) -> None:
    for seed in SEEDS:
        judged = run_hazard(make, seed)
        assert judged.failure is None, f"seed {seed}: {judged.failure}\n" + "\n".join(judged.trace[-40:])


@pytest.mark.parametrize(("make", "where", "name", "broken"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_a_sabotage_is_noticed(
    make: Callable[[], Hazard], where: Any, name: str, broken: Sabotage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, broken(getattr(where, name)))
    assert any(run_hazard(make, seed).failure for seed in SEEDS), f"seeds {SEEDS}, and none of them notices"
