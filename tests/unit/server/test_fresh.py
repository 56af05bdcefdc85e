"""What is made once a second, however many ask."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from consumer.server.fresh import FRESH, Fresh


def test_within_a_second_it_is_made_once_and_anew_of_another_thing() -> None:
    now, made = [5.0], list[int]()

    def make() -> int:
        made.append(len(made))
        return made[-1]

    fresh = Fresh(make, lambda: now[0])
    first, second = object(), object()
    assert [fresh.get(first), fresh.get(first)] == [0, 0]
    assert fresh.get(second) == 1
    now[0] += FRESH - 0.01
    assert fresh.get(second) == 1
    now[0] += 0.01
    assert [fresh.get(second), fresh.get(second)] == [2, 2]


def test_threads_that_ask_at_once_are_told_the_same() -> None:
    made = list[int]()
    together = threading.Barrier(8)
    fresh = Fresh(lambda: made.append(1) or len(made), lambda: 5.0)

    def ask(_: int) -> int:
        together.wait(5)
        return fresh.get()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [1] * 8
    assert made == [1]
