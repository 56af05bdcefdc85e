"""How long is waited before another try."""

from __future__ import annotations

from random import Random

import pytest

from consumer.backoff import full_jitter


@pytest.mark.parametrize(("failures", "longest"), [(1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (8, 60.0), (10**6, 60.0)])
def test_the_longest_wait_doubles_up_to_the_cap(failures: int, longest: float) -> None:
    assert full_jitter(failures, max) == longest
    assert full_jitter(failures, min) == 0.0


def test_where_it_begins_and_ends_is_for_whoever_waits_to_say() -> None:
    assert [full_jitter(n, max, base_s=0.5, cap_s=8.0) for n in (1, 2, 5, 6, 99)] == [0.5, 1.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize(("failures", "most"), [(1, 1.0), (3, 4.0), (7, 60.0), (100_000, 60.0)])
def test_back_off_is_fully_jittered_so_that_waiters_spread_out(failures: int, most: float) -> None:
    random = Random(1)
    waits = sorted(full_jitter(failures, random.uniform) for _ in range(1_000))
    assert 0.0 <= waits[0] < most / 50
    assert waits[500] == pytest.approx(most / 2, rel=0.1)
    assert most * 49 / 50 < waits[-1] <= most
