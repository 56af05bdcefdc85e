"""Each rule of the second judge notices by itself that the service breaks it, whatever the first judge says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from simulation.checkers.calls import CallChecker
from simulation.checkers.commits import CommitChecker
from simulation.checkers.outputs import OutputChecker
from simulation.checkers.process import ProcessChecker
from simulation.simulate import run

from consumer.core.join import ChainFate, Join
from consumer.core.pending import PendingChains
from consumer.core.watermark import InputWatermark
from consumer.delivery.not_found import Belief, NotFoundGuard
from consumer.events import Reason
from consumer.kafka.consumer import GroupConsumer
from consumer.kafka.producer import OutputProducer
from consumer.kafka.writes import Writes
from consumer.runtime import runner

SEEDS = range(150)
"""How far a break may get."""


def _bought_instead(real: Callable[..., ChainFate]) -> Callable[..., ChainFate]:
    def fate(*args: Any) -> ChainFate:
        found = real(*args)
        return found._replace(reason=Reason.PURCHASED) if found.reason is Reason.ABANDONED else found

    return fate


def _reads_seldom(real: Callable[..., Any]) -> Callable[..., Any]:
    """It lives and calls, and reads one time in two hundred."""
    turns = 0

    def poll(self: GroupConsumer, most: int, timeout: float) -> Any:
        nonlocal turns
        turns += 1
        return real(self, most, timeout) if turns % 200 == 0 or not self.partitions else []

    return poll


def _hides_dead_letters(real: Any) -> Any:
    class Log:
        def bind(self, **fields: Any) -> Log:
            return self

        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *args, **fields: None

    return Log()


@pytest.fixture
def _second_judge_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for judge in (CallChecker, CommitChecker, OutputChecker, ProcessChecker):
        for name in ("check", "check_end", "read"):
            if hasattr(judge, name):
                monkeypatch.setattr(judge, name, lambda *args: None)


@pytest.mark.usefixtures("_second_judge_alone")
@pytest.mark.parametrize(
    ("where", "name", "broken", "says"),
    [
        (PendingChains, "bought", lambda real: lambda *args: ([], []), "it was handed the purchase"),
        (Join, "decide", lambda real: lambda self, watermark: real(self, watermark + 3_000), "which the log told"),
        (
            InputWatermark,
            "observe",
            lambda real: lambda self, event_time, timestamp, now: real(self, event_time, -1, 10**15),
            "which the log told in time",
        ),
        (Join, "_fate", _bought_instead, "nobody bought it"),
        (OutputProducer, "outcome", lambda real: lambda *args: None, "has no fate"),
        (runner, "log", _hides_dead_letters, "no dead letter or line says so"),
        (GroupConsumer, "poll", _reads_seldom, "nothing keeps it from reading"),
        (OutputProducer, "_fail", lambda real: lambda *args: None, "a write of its own was refused"),
        (Writes, "unproven", lambda real: lambda self: None, "and recorded none"),
        (NotFoundGuard, "belief", lambda real: lambda self, now: Belief.TERMINAL, "404s of"),
    ],
    ids=[
        "a purchase after the decision is ignored",
        "decided too early",
        "any date is believed",
        "all are bought",
        "no outcome is written",
        "dead letters are not logged",
        "it seldom reads",
        "a refused write is no reason to wait",
        "calls do not wait for the first outcome",
        "a run of 404s is no reason to doubt",
    ],
)
def test_the_second_judge_notices(
    where: Any, name: str, broken: Callable[[Any], Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, broken(getattr(where, name)))
    failures = (run(seed).failure or "" for seed in SEEDS)
    assert any(says in failure for failure in failures), f"{len(SEEDS)} seeds, and none of them notices"
