"""Which call is a repeat, and which fault it is counted for."""

from __future__ import annotations

from soak.repeats import FLIGHT_MS, Fault, Settled, bursts, settling

from consumer.audit.decision import Fate
from consumer.emulator.call_log import Call
from consumer.events import Reason


def fate(decide_at: int, offer_id: str = "o", reason: Reason = Reason.DECLINED) -> Fate:
    return Fate("s", "P", offer_id, frozenset(), decide_at - 10, decide_at - 10, decide_at, reason)


def call(time_ms: int, status: int | None = 204, offer_id: str = "o") -> Call:
    return Call(time_ms, "P", offer_id, status, 1, True, terminal=status in {204, 404})


def repeated(calls: list[Call], fates: list[Fate]) -> list[int]:
    return [answer.time_ms for answer in settling(calls, fates, {"s": 3}) if answer.before is not None]


def test_the_second_settling_answer_of_a_chain_is_a_repeat() -> None:
    assert repeated([call(100), call(200), call(300)], [fate(50)]) == [200, 300]


def test_a_call_tried_again_is_none() -> None:
    assert repeated([call(100, 500), call(150, None), call(200)], [fate(50)]) == []


def test_two_chains_have_an_answer_each_and_the_first_again_before_the_second_is_due_is_a_repeat() -> None:
    chains = [fate(50), fate(200)]
    assert repeated([call(100), call(250)], chains) == []
    assert repeated([call(100), call(150), call(250)], chains) == [150]
    assert repeated([call(100), call(250)], [fate(50), fate(200, reason=Reason.PURCHASED)]) == [250]


def answers(*times: int, partition: int = 3) -> list[Settled]:
    return [Settled(time, partition) for time in times]


def again(before: int, time: int, partition: int = 3) -> Settled:
    return Settled(time, partition, before)


def blamed(faults: list[Fault], *repeats: Settled) -> tuple[list[int], int]:
    found, nobody = bursts(faults, repeats, [], concurrency=4, commit_ms=10)
    return [burst.repeats for burst in found], nobody


def test_a_repeat_remembers_the_answer_before_it() -> None:
    found = settling([call(100), call(200), call(300)], [fate(50)], {"s": 3})
    assert [answer.before for answer in found] == [None, 100, 200]


def test_to_blame_is_the_first_fault_after_the_answer_that_was_lost() -> None:
    faults = [Fault(10_000, "kill"), Fault(20_000, "pause"), Fault(30_000, "wake")]
    assert blamed(faults, again(9_000, 12_000), again(9_500, 35_000), again(15_000, 31_000)) == ([2, 1, 0], 0)
    assert blamed(faults, again(10_000 + FLIGHT_MS, 12_000)) == ([1, 0, 0], 0), "on its way when its caller died"


def test_a_fault_that_struck_the_task_is_to_blame_rather_than_one_that_did_not() -> None:
    faults = [Fault(10_000, "kill", "a", frozenset({5})), Fault(20_000, "kill", "b", frozenset({3}))]
    assert blamed(faults, again(9_000, 21_000)) == ([0, 1], 0)
    assert blamed(faults, again(9_000, 12_000)) == ([1, 0], 0)


def test_a_storm_takes_no_task_away_but_an_outage_keeps_it_from_committing() -> None:
    faults = [Fault(10_000, "storm"), Fault(20_000, "broker down")]
    assert blamed(faults, again(9_000, 21_000)) == ([0, 1], 0)


def test_a_repeat_without_any_fault_between_is_blamed_on_none() -> None:
    assert blamed([Fault(10_000, "kill")], again(12_000, 14_000), again(5_000, 6_000)) == ([0], 2)


def test_the_bound_is_concurrency_and_what_the_victims_tasks_settled_since_the_last_commit() -> None:
    settled = sorted(answers(89, 90, 95, 100, 101) + answers(95, partition=5))
    (of_one,), _ = bursts([Fault(100, "kill", "a", frozenset({3}))], settled, [], concurrency=64, commit_ms=10)
    assert of_one.bound == 64 + 3
    (of_unknown,), _ = bursts([Fault(100, "kill")], settled, [(0, 3), (0, 5)], concurrency=64, commit_ms=10)
    assert of_unknown.bound == 64 + 4


def test_the_backlog_is_what_was_due_and_not_settled_on_the_worst_of_the_victims_tasks() -> None:
    due = [(10, 3), (20, 3), (30, 3), (500, 3), (10, 5), (10, 5), (10, 5)]
    fault = Fault(100, "kill", "a", frozenset({3}))
    (burst,), _ = bursts([fault], answers(50), due, concurrency=64, commit_ms=10)
    assert burst.backlog == 2
