"""Rule 2: a way back takes for settled only what was settled by that time, however long decisions or calls were held.

Each run reads both logs as they were written, second by second, restarts and commits, and is then taken back.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.changes_world import NOW
from support.strategies import examples
from support.two_logs import START, Shown, TwoLogs

from consumer.core.chain import Chain
from consumer.core.guards import Guards
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.kafka.start_offsets import StartOffsets

pytestmark = pytest.mark.usefixtures("one_record_tells")

RULES = DecisionRules(
    window=100_000, checkout_grace=10_000, lookback=300_000, lateness=30_000, max_skew=50_000, checkout_silence=120_000
)
STEP = 5
FIRST, LAST = -100, 1_600
"""Between these (s after START) a run lives."""

Held = list[tuple[int, int]]
"""From when to when (s)."""


class Live(TwoLogs):
    """A run that settles what it decides, except while calls are held."""

    def __init__(self, shown: list[Shown], done: list[Shown]) -> None:
        super().__init__(shown, done)
        self.rules = RULES
        self.called: dict[tuple[str, int], list[int]] = {}
        self._waiting: list[Chain] = []

    def run(self, *, until: int, decisions: Held = [], calls: Held = [], down: Held = []) -> None:  # noqa: B006 - read only
        """`decisions` are held by a guard, `calls` wait, the process is `down`; up to `until` (s)."""
        self.commit("offers", 0, self.starts.new_offers(0, NOW))
        self.commit("checkouts", 0, self.starts.checkouts_from(0, MIN_TIME))
        task: Task | None = None
        guards = self._guards()
        for at in range(FIRST, until + 1, STEP):
            if _within(at, down):
                task = None
                continue
            if task is None:
                task, guards, self._waiting = self.task(), self._guards(), []
            self._turn(task, guards, at, held=_within(at, decisions), waits=_within(at, calls))
            self.keep(task)

    def _guards(self) -> Guards:
        return Guards(checkout_silence=self.rules.checkout_silence, unmatched_limit=0, lateness=self.rules.lateness)

    def _turn(self, task: Task, guards: Guards, at: int, *, held: bool, waits: bool) -> None:
        now = START + 1_000 * at
        ends = {
            "offers": sum(event.presented_at <= now for event in self.shown),
            "checkouts": sum(event.completed_at <= now for event in self.done),
        }
        self.read(task, **ends)
        for side in Side:
            task.idle(side, now)
        guards.judge([task])
        self._waiting += task.decide(suspended=held or not guards.lets_decide(task))
        if waits:
            return
        for chain in self._waiting:
            self.settle(task, chain, now)
            self.called.setdefault((chain.offer_id, chain.last.presented_at), []).append(now)
        self._waiting = []

    def missed_by_a_way_back(self, to: int) -> set[str]:
        """Offers that were not settled before that time (s), and are not decided from the position that it left."""
        moment = START + 1_000 * to
        self.changes.reset_to(moment, NOW)
        self.rules = replace(self.rules, checkout_silence=0)
        again = {(chain.offer_id, chain.last.presented_at) for chain in self.chains()}
        after = {name for name, times in self.called.items() if min(times) >= moment}
        return {offer_id for offer_id, _ in after - again}


def _within(at: int, spans: Held) -> bool:
    return any(begin <= at < end for begin, end in spans)


GAP = [(at, "") for at in range(0, 500, 50)] + [(700, ""), (750, ""), (800, ""), (850, ""), (900, "")]
OFTEN = [(at, "") for at in range(0, 1_600, 40)]


def test_what_a_gap_between_two_checkouts_held_is_decided_again() -> None:
    world = Live([(100, "early"), (590, "held")], GAP)
    world.run(until=1_200)
    ((name, (called,)),) = ((n, t) for n, t in world.called.items() if n[0] == "held")
    assert called > START + 750_000, f"{name} was due at 690 s, but the checkout at 700 s ended a silence"
    assert world.missed_by_a_way_back(745) == set()


def test_what_a_guard_held_for_long_is_decided_again() -> None:
    world = Live([(100, "early"), (200, "held"), (900, "late")], OFTEN)
    world.run(until=1_200, decisions=[(250, 800)])
    assert world.missed_by_a_way_back(790) == set()


def test_what_waited_for_the_insurer_is_decided_again() -> None:
    world = Live([(100, "early"), (200, "waits"), (900, "late")], OFTEN)
    world.run(until=1_200, calls=[(250, 800)])
    assert world.missed_by_a_way_back(790) == set()


def test_what_a_run_of_before_left_due_is_decided_again() -> None:
    world = Live([(100, "early"), (200, "left"), (900, "late")], OFTEN)
    world.run(until=1_200, down=[(250, 800)])
    assert world.missed_by_a_way_back(800) == set()


def test_what_a_higher_lateness_held_is_decided_again() -> None:
    world = Live([(100, "early"), (300, "held")], OFTEN)
    world.rules = replace(RULES, lateness=100_000)
    world.run(until=1_200)
    world.rules = RULES
    assert world.missed_by_a_way_back(480) == set()


def test_what_was_settled_by_then_is_not_called_again() -> None:
    world = Live([(100, "early"), (600, "late")], OFTEN)
    world.run(until=1_200)
    world.changes.reset_to(START + 500_000, NOW)
    assert [chain.offer_id for chain in world.chains()] == ["late"]


SPANS = st.lists(st.tuples(st.integers(0, 1_200), st.integers(5, 400)), max_size=2).map(
    lambda found: [(begin, begin + length) for begin, length in found]
)
SHOWN = st.lists(st.tuples(st.integers(0, 900), st.sampled_from("abcd")), min_size=1, max_size=8).map(sorted)
DONE = st.lists(st.tuples(st.integers(0, 1_100), st.sampled_from(["a", "b", ""])), max_size=10).map(sorted)


@examples(150)
@given(SHOWN, DONE, SPANS, SPANS, SPANS, st.integers(0, 1_500), st.sampled_from([30_000, 90_000]))
def test_a_way_back_takes_nothing_for_settled_that_was_not(
    shown: list[Shown], done: list[Shown], decisions: Held, calls: Held, down: Held, to: int, lateness: int
) -> None:
    world = Live(shown, [(-3_000, ""), (-2_000, ""), *done])
    world.rules = replace(RULES, lateness=lateness)
    world.run(until=LAST, decisions=decisions, calls=calls, down=down)
    world.rules = RULES
    wanted = StartOffsets.offsets_at(world.starts, world.consumer, Side.OFFERS, START + 1_000 * to)  # type: ignore[arg-type]
    assume(world.offers()[0] >= wanted[0])
    assert world.missed_by_a_way_back(to) == set()
