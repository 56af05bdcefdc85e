"""Each rule of the second judge notices by itself that the service breaks it, whatever the first judge says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from simulation.checkers.calls import CallChecker
from simulation.checkers.commits import CommitChecker
from simulation.checkers.outputs import OutputChecker
from simulation.checkers.process import ProcessChecker
from simulation.checkers.truth import WELL, TruthChecker
from simulation.checkers.violation import Violation
from simulation.simulate import run
from simulation.workload.drawing import draw
from simulation.workload.kinds import Kind
from simulation.workload.scenario import CHECKOUTS, OFFERS, START, Written
from simulation.world.broker import Broker
from simulation.world.group import Member
from simulation.world.insurer import Insurer
from simulation.world.journal import Journal
from simulation.world.timeline import Clock

from consumer.core.chain import ChainFate
from consumer.core.join import Join
from consumer.core.pending import PendingChains
from consumer.core.rules import DecisionRules
from consumer.core.watermark import InputWatermark
from consumer.delivery.gate import Gate
from consumer.delivery.not_found import Belief, NotFoundGuard
from consumer.events import CheckoutCompleted, OfferPresented, Reason
from consumer.kafka.producer import OutputProducer
from consumer.kafka.writes import Writes
from consumer.runtime.reports import Reports

SEEDS = range(150)
"""How far a break may get."""


def _bought_instead(real: Callable[..., ChainFate]) -> Callable[..., ChainFate]:
    def fate(*args: Any) -> ChainFate:
        found = real(*args)
        return found._replace(reason=Reason.PURCHASED) if found.reason is Reason.ABANDONED else found

    return fate


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
        (Reports, "dead_letter", lambda real: lambda *args: None, "no dead letter or line says so"),
        (OutputProducer, "_fail", lambda real: lambda *args: None, "a write of its own was refused"),
        (Writes, "unproven", lambda real: lambda self: None, "and recorded none"),
        (NotFoundGuard, "belief", lambda real: lambda self, now: Belief.TERMINAL, "404s of"),
        (Gate, "lets_leave", lambda real: lambda *args, **named: True, "it was handed the purchase"),
    ],
    ids=[
        "a purchase after the decision is ignored",
        "decided too early",
        "any date is believed",
        "all are bought",
        "no outcome is written",
        "dead letters are not logged",
        "a refused write is no reason to wait",
        "calls do not wait for the first outcome",
        "a run of 404s is no reason to doubt",
        "a call is not asked for when its connection stands",
    ],
)
def test_the_second_judge_notices(
    where: Any, name: str, broken: Callable[[Any], Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, name, broken(getattr(where, name)))
    first = 141, 61, 99004588  # they notice what few others do; to come there takes minutes
    failures = (run(seed).failure or "" for seed in (*first, *SEEDS))
    assert any(says in failure for failure in failures), f"{len(SEEDS)} seeds, and none of them notices"


@pytest.mark.parametrize(
    ("unread_for", "well_for", "notices"),
    [(WELL + 1, WELL + 2, True), (WELL - 1, WELL + 2, False), (WELL + 1, WELL - 1, False), (WELL + 1, None, False)],
    ids=["nothing keeps it from reading", "it came just now", "it is well since just now", "it is not well"],
)
def test_the_second_judge_notices_who_calls_and_does_not_read(
    unread_for: float, well_for: float | None, notices: bool
) -> None:
    """No break of the whole service shows this often: what is not read holds up what is decided, too."""
    shown, bought = START * 1000, START * 1000 + 60_000
    offer = OfferPresented("s", "ada", "o", shown, 0)
    purchase = CheckoutCompleted("s", "c", bought, 0, ("o",))
    records = [
        Written(shown, OFFERS, 0, 0, shown, b"s", b"", offer, True, happened=shown),
        Written(bought, CHECKOUTS, 0, 0, bought, b"s", b"", purchase, True, happened=bought, bought=("o",)),
    ]
    rules = DecisionRules(window=4_000, checkout_grace=0, lookback=60_000, lateness=1_000, max_skew=2_000)
    scenario = replace(draw(0), partitions=1, settings=[rules], records=records, unwritten=set())
    clock, random = Clock(START), Random(0)
    broker = Broker(clock, random, (OFFERS, CHECKOUTS), ("outcomes", "dead letters"), 1, "classic")
    broker.group.members["p"] = Member("p", clock.now, owned={(topic, 0) for topic in (OFFERS, CHECKOUTS)})
    judge = TruthChecker(
        scenario,
        broker,
        Insurer(clock, random, frozenset(), frozenset()),
        Journal(clock),
        frozenset({Kind.KNOWN_PURCHASES}),
    )
    process: Any = SimpleNamespace(
        name="p",
        is_refused=False,
        dead=False,
        beats=True,
        is_full=lambda partition: False,
        service=SimpleNamespace(tasks=SimpleNamespace(runners={0})),
        consumer=SimpleNamespace(was_handed=lambda place, offset: False, reads=lambda place: True),
    )
    left = bought / 1000 + unread_for
    if well_for is not None:
        clock.now = left - well_for
        judge.look(process)
    clock.now = left
    with pytest.raises(Violation, match="nothing keeps it from reading") if notices else nullcontext():
        judge.on_leave(process, "o")
