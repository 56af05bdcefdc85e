"""Catching up in a partition whose checkouts are rare: what is due is decided on the way, and memory stays bounded.

Behind each gap in the checkouts that is longer than `checkout_silence` less lateness, a task waits until lateness has
passed on the checkouts' side. Read live, an idle watermark brings that. In a log that is read later only the next
checkout can, and that one stands behind a gap again.
"""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs
from support.builders import lone_checkout, lone_offer
from support.kafka import Message
from support.runner_world import BEGIN, Sink, edges, limits

from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.runtime.back_pressure import BackPressure
from consumer.runtime.edges import Clock
from consumer.runtime.runner import TaskRunner
from consumer.runtime.suspension import Suspension

pytestmark = pytest.mark.usefixtures("one_record_tells")

S = 1_000
M = 60 * S
H = 60 * M
RULES = DecisionRules(
    window=30 * M, checkout_grace=M, lookback=2 * H, lateness=5 * M, max_skew=5 * M, checkout_silence=30 * M
)

EIGHT = 1_800_000_000 * S
NOW = EIGHT + 9 * 24 * H

MAX_UNSETTLED = 200


def caught_up(offers: list[int], checkouts: list[int]) -> tuple[int, int]:
    """Read a log with these minutes of offers and checkouts. Returns how many calls, and undecided at the most."""
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN),
        topics=("offers", "checkouts"),
        edges=edges(outputs=Sink(), clock=Clock(wall=lambda: NOW / 1000)),
        bad_records=limits(100),
        late_limit=100,
    )
    task = runner.task
    suspension = Suspension(RULES, 50, MAX_UNSETTLED)
    pressure = BackPressure(("offers", "checkouts"), MAX_UNSETTLED)
    logs: list[list[Message]] = [
        [lone_offer(i, EIGHT + minute * M) for i, minute in enumerate(offers)],
        [lone_checkout(i, EIGHT + minute * M) for i, minute in enumerate(checkouts)],
    ]
    at, most, calls = [0, 0], 0, 0
    while at[0] < len(logs[0]):
        paused = pressure.wanted([runner], suspension)
        before = list(at)
        for side, topic in zip(Side, ("offers", "checkouts"), strict=True):
            if (topic, 0) not in paused and at[side] < len(logs[side]):
                runner.on_message(side, logs[side][at[side]], NOW)
                at[side] += 1
        suspension.judge([task])
        made = runner.decide(suspended=not suspension.lets_decide(task))
        calls += len(made)
        runner.outstanding -= len(made)  # each is answered at once
        for call in made:
            task.settle(task.pending_chain(call.chain_start))
        most = max(most, task.undecided)
        if at == before:
            break
    return calls, most


@pytest.mark.parametrize("minutes", [24, 27])
def test_a_log_is_decided_on_the_way(minutes: int) -> None:
    """An offer each minute for three days, and a checkout each 24 or 27 minutes."""
    calls, most = caught_up(list(range(3 * 24 * 60)), list(range(0, 3 * 24 * 60, minutes)))
    assert calls > 4_000
    assert most < 300


@pytest.mark.parametrize("minutes", [14, 20])
def test_a_partition_that_is_read_as_it_comes_is_decided_too(minutes: int) -> None:
    """join.lateness is raised to 15 min, a checkout comes each 14 or 20 minutes, and both inputs are asked for their
    ends each minute: what is due is decided, or a line says why not."""
    rules = DecisionRules(
        window=30 * M, checkout_grace=M, lookback=2 * H, lateness=15 * M, max_skew=5 * M, checkout_silence=30 * M
    )
    task = Task(rules, partitions=1, offers=BEGIN, checkouts=BEGIN)
    runner = TaskRunner(
        0,
        task,
        topics=("offers", "checkouts"),
        edges=edges(outputs=Sink(), clock=Clock(wall=lambda: NOW / 1000)),
        bad_records=limits(100),
        late_limit=100,
    )
    suspension = Suspension(rules, 50, MAX_UNSETTLED)
    calls, held_by = 0, set()
    for minute in range(24 * 60):
        now = EIGHT + minute * M
        runner.on_message(Side.OFFERS, lone_offer(minute, now), now)
        if minute % minutes == 0:
            runner.on_message(Side.CHECKOUTS, lone_checkout(minute // minutes, now), now)
        for side in Side:
            task.idle(side, now)
        suspension.judge([task])
        held_by.add(suspension.by.value)
        calls += len(runner.decide(suspended=not suspension.lets_decide(task)))
    assert calls > 1_000


def test_behind_a_gap_so_many_offers_are_read_and_checkouts_until_it_has_landed() -> None:
    """An offer each minute, a checkout each 10 minutes, and for 20 hours none: that partition sold nothing."""
    checkouts = [at for at in range(0, 2 * 24 * 60, 10) if not 600 < at < 1_800]
    with capture_logs() as lines:
        calls, most = caught_up(list(range(2 * 24 * 60)), checkouts)
    assert calls > 2_700
    assert most < MAX_UNSETTLED + 100
    told = [line["event"] for line in lines]
    assert [event[:26] for event in told] == ["offers are read no further", "offers are read again"]


def test_offers_that_stop_behind_one_gap_after_another_go_on() -> None:
    """Checkouts each 4 hours, and more offers than may be undecided between two of them."""
    calls, most = caught_up(list(range(3 * 24 * 60)), list(range(0, 3 * 24 * 60, 240)))
    assert calls > 3_700
    assert most < 2 * MAX_UNSETTLED + 100
