"""Calls that wait for another try: each falls due at its time, in order, and once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random

import pytest
from support import virtual_time
from support.delivery_world import make_calls

from consumer.delivery import retries
from consumer.delivery.limiter import CredentialLimiter
from consumer.delivery.partner import Partner, PendingCall
from consumer.delivery.retries import Retries
from consumer.delivery.runs import Runs
from consumer.settings import DeliverySettings


class Due:
    """Retries whose calls are known by offer id; made within `virtual_time.run`. `steps` lists (time, offer ids)."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.steps: list[tuple[float, list[str]]] = []
        self.on_due: Callable[[], object] = lambda: None
        self.retries = Retries(self._on_due)
        self._partner = Partner("P", CredentialLimiter("key", 10.0), Runs(DeliverySettings(), 100), Random(1))

    def push(self, offer_id: str, seconds: float) -> None:
        (call,) = make_calls([offer_id])
        self.retries.push(PendingCall(call, self._partner), seconds)

    def keep(self, offer_ids: Iterable[str]) -> None:
        self.retries.keep(lambda pending: pending.call.offer_id in offer_ids)

    def _on_due(self, due: list[PendingCall]) -> None:
        self.steps.append((round(self.loop.time(), 6), [pending.call.offer_id for pending in due]))
        self.on_due()


def steps(play: Callable[[Due], None], until: float = 100.0) -> list[tuple[float, list[str]]]:
    """What falls due and when, after `play` has pushed."""

    async def main() -> list[tuple[float, list[str]]]:
        due = Due()
        play(due)
        await asyncio.sleep(until)
        return due.steps

    return virtual_time.run(main())


@pytest.mark.parametrize(
    ("pushed", "expected"),
    [
        ([("a", 3.0)], [(3.0, ["a"])]),
        ([("a", 1.0), ("b", 3.0), ("c", 2.0)], [(1.0, ["a"]), (2.0, ["c"]), (3.0, ["b"])]),
        ([("a", 3.0), ("b", 1.0)], [(1.0, ["b"]), (3.0, ["a"])]),
        ([("b", 1.0), ("a", 1.0), ("c", 1.0)], [(1.0, ["b", "a", "c"])]),
        ([("a", 0.0)], [(0.0, ["a"])]),
    ],
    ids=["one", "in any order", "an earlier one comes later", "equal times in the order they came", "at once"],
)
def test_a_call_falls_due_at_its_time_and_once(
    pushed: list[tuple[str, float]], expected: list[tuple[float, list[str]]]
) -> None:
    def play(due: Due) -> None:
        for offer_id, seconds in pushed:
            due.push(offer_id, seconds)

    assert steps(play) == expected


def test_a_call_may_be_pushed_again_when_it_falls_due() -> None:
    def play(due: Due) -> None:
        def again() -> None:
            if len(due.steps) < 3:
                due.push("a", 2.0)

        due.on_due = again
        due.push("a", 1.0)

    assert steps(play) == [(1.0, ["a"]), (3.0, ["a"]), (5.0, ["a"])]


def test_a_call_pushed_while_another_falls_due_takes_its_place_among_those_that_wait() -> None:
    def play(due: Due) -> None:
        def again() -> None:
            due.on_due = lambda: None
            due.push("c", 1.0)

        due.on_due = again
        due.push("a", 1.0)
        due.push("b", 3.0)

    assert steps(play) == [(1.0, ["a"]), (2.0, ["c"]), (3.0, ["b"])]


def test_calls_that_are_due_together_come_in_batches_so_that_the_loop_does_other_work_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retries, "BATCH", 2)

    def play(due: Due) -> None:
        for offer_id in "abcde":
            due.push(offer_id, 1.0)
        due.on_due = lambda: due.loop.call_soon(due.steps.append, (1.0, ["other work"]))

    assert [offers for _, offers in steps(play)] == [
        ["a", "b"],
        ["other work"],
        ["c", "d"],
        ["other work"],
        ["e"],
        ["other work"],
    ]


def test_only_what_is_kept_falls_due_and_still_in_order() -> None:
    def play(due: Due) -> None:
        # A heap of these is no heap any more once its first is taken out, unless it is made one again.
        for seconds in (1, 2, 10, 3, 4, 11, 12):
            due.push(str(seconds), seconds)
        due.keep(["2", "3", "4", "10", "11", "12"])

    assert [step for step in steps(play) if step[1]] == [
        (2.0, ["2"]),
        (3.0, ["3"]),
        (4.0, ["4"]),
        (10.0, ["10"]),
        (11.0, ["11"]),
        (12.0, ["12"]),
    ]


def test_a_call_that_is_pushed_after_all_were_forgotten_falls_due() -> None:
    def play(due: Due) -> None:
        due.push("a", 1.0)
        due.keep("")
        due.push("b", 5.0)

    assert [step for step in steps(play) if step[1]] == [(5.0, ["b"])]


def test_nothing_falls_due_once_they_are_closed() -> None:
    def play(due: Due) -> None:
        due.push("a", 1.0)
        due.push("b", 2.0)
        due.loop.call_at(1.5, due.retries.close)

    assert steps(play) == [(1.0, ["a"])]


def test_they_may_be_closed_before_anything_waits() -> None:
    assert steps(lambda due: due.retries.close()) == []
