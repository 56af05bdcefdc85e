"""Which call is a repeat, and which blow it is counted for."""

from __future__ import annotations

from bursts import Blow, Settled, bursts, settling

from consumer.demo.calllog import Call
from consumer.demo.check import BOUGHT, DECLINED, Fate


def fate(decide_at: int, offer_id: str = "o", kind: str = DECLINED) -> Fate:
    return Fate("s", "P", offer_id, decide_at, kind, False, decide_at - 10)


def call(time_ms: int, status: int | None = 204, offer_id: str = "o") -> Call:
    return Call(time_ms, "P", offer_id, status, 1, True, terminal=status in {204, 404})


def repeated(calls: list[Call], fates: list[Fate]) -> list[int]:
    return [answer.time_ms for answer in settling(calls, fates, {"s": 3}) if answer.again]


def test_the_second_settling_answer_of_a_chain_is_a_repeat() -> None:
    assert repeated([call(100), call(200), call(300)], [fate(50)]) == [200, 300]


def test_a_call_tried_again_is_none() -> None:
    assert repeated([call(100, 500), call(150, None), call(200)], [fate(50)]) == []


def test_two_chains_have_an_answer_each_and_the_first_again_before_the_second_is_due_is_a_repeat() -> None:
    chains = [fate(50), fate(200)]
    assert repeated([call(100), call(250)], chains) == []
    assert repeated([call(100), call(150), call(250)], chains) == [150]
    assert repeated([call(100), call(250)], [fate(50), fate(200, kind=BOUGHT)]) == [250]


def answers(*times: int, again: bool = False, partition: int = 3) -> list[Settled]:
    return [Settled(time, partition, again) for time in times]


def test_repeats_count_for_the_last_blow_before_them() -> None:
    blows = [Blow(100, "kill"), Blow(200, "pause"), Blow(300, "kill")]
    found = bursts(blows, answers(150, 160, 250, 300, 301, 999, again=True), [], concurrency=4, commit_ms=10)
    assert [burst.repeats for burst in found] == [2, 1, 2]


def test_what_makes_no_other_instance_take_over_ends_no_burst_of_a_kill() -> None:
    blows = [Blow(100, "kill"), Blow(200, "broker down"), Blow(300, "storm"), Blow(400, "wake")]
    found = bursts(blows, answers(150, 250, 350, 450, again=True), [], concurrency=4, commit_ms=10)
    assert [burst.repeats for burst in found] == [3, 1, 1, 1]


def test_the_bound_is_concurrency_and_what_the_victims_tasks_settled_since_the_last_commit() -> None:
    settled = sorted(answers(89, 90, 95, 100, 101) + answers(95, partition=5))
    (of_one,) = bursts([Blow(100, "kill", "a", frozenset({3}))], settled, [], concurrency=64, commit_ms=10)
    assert of_one.bound == 64 + 3
    (of_unknown,) = bursts([Blow(100, "kill")], settled, [(0, 3), (0, 5)], concurrency=64, commit_ms=10)
    assert of_unknown.bound == 64 + 4


def test_the_backlog_is_what_was_due_and_not_settled_on_the_worst_of_the_victims_tasks() -> None:
    due = [(10, 3), (20, 3), (30, 3), (500, 3), (10, 5), (10, 5), (10, 5)]
    blow = Blow(100, "kill", "a", frozenset({3}))
    (burst,) = bursts([blow], answers(50), due, concurrency=64, commit_ms=10)
    assert burst.backlog == 2
