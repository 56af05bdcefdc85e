"""A minute of seeds that nobody has run before, and proof that the simulation would notice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from simulation.simulate import run

from consumer.core.checkpoint import METADATA_LIMIT
from consumer.core.commits import CommitPlanner
from consumer.core.guards import Guards
from consumer.core.join import Join
from consumer.core.offsets import OfferOffsets
from consumer.core.task import Task
from consumer.core.watermark import InputWatermark
from consumer.kafka.assignment import Assignment
from consumer.kafka.consumer import GroupConsumer
from consumer.kafka.producer import OutputProducer
from consumer.runtime.loop import Loop

SECONDS = float(os.environ.get("SIMULATE_SECONDS", "60"))
"""How long CI looks for a seed that breaks an invariant."""


def test_no_new_seed_breaks_an_invariant(capsys: pytest.CaptureFixture[str]) -> None:
    first = int(os.environ["SIMULATE_FIRST"])
    until, count, calls = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < until:
        result = run(first + count, trace=100)
        again = f"python tests/simulation/simulate.py --seed {result.seed}"
        assert result.failure is None, f"seed {result.seed}: {result.failure}\nagain, with its trace: {again}"
        count += 1
        calls += result.calls
    with capsys.disabled():
        print(f"\n{count} seeds from {first} on, {calls:,} calls: no invariant broken")


def test_a_seed_runs_the_same_way_each_time() -> None:
    assert run(17).digest == run(17).digest


@pytest.mark.parametrize(
    ("where", "name", "broken"),
    [
        (CommitPlanner, "retain_from", lambda real: lambda self, *args: real(self, *args) + self._rules.lookback),
        (OfferOffsets, "lowest_open", lambda real: lambda self: real(self) + 1),
        (Join, "decide", lambda real: lambda self, watermark: real(self, watermark + 2_000)),
        (OutputProducer, "flush", lambda real: lambda self, timeout: True),
        (Join, "complete_undated", lambda real: lambda self, undated: None),
        (
            InputWatermark,
            "observe",
            lambda real: lambda self, event_time, timestamp, now: real(self, event_time, -1, 10**15),
        ),
        (Task, "_is_late", lambda real: lambda self, presented_at: False),
        (Task, "lower_metadata_limit", lambda real: lambda self: METADATA_LIMIT),
        (Guards, "_judge_silence", lambda real: lambda self, tasks, awake: False),
        (Guards, "_judge_unmatched", lambda real: lambda self, tasks: None),
        (GroupConsumer, "pause", lambda real: lambda self, wanted: None),
        (Loop, "_let_go", lambda real: lambda self: None),
        (Assignment, "_whole", lambda real: lambda self: self._assigned[0] | self._assigned[1]),
    ],
    ids=[
        "what is retained forgets lookback",
        "one too far",
        "decided too early",
        "no flush before the commit",
        "no doubt by unreadable checkouts",
        "any date is believed",
        "nothing is late",
        "metadata stays too long",
        "no silence",
        "any id matches",
        "nothing is paused",
        "the release file is read at the start only",
        "half a task is whole",
    ],
)
def test_a_broken_rule_is_noticed(
    where: type, name: str, broken: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, broken(getattr(where, name)))
    first = 358  # it notices what few others do; to come there takes minutes
    failures = (run(seed).failure or "" for seed in (first, *range(400)))
    assert any(failure.startswith("invariant broken") for failure in failures), "400 seeds, and none of them notices"
