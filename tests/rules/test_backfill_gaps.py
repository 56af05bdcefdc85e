"""What a range needs of the logs, and what of it is gone."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from simulation.world.broker import Broker
from simulation.world.consumer import SimulatedConsumer
from simulation.world.timeline import Clock
from support.builders import CODEC

from consumer.backfill.plan import Log
from consumer.backfill.scope import BackfillScope, EventTimeRange
from consumer.core.horizon import Horizon
from consumer.core.rules import DecisionRules

T = 1_800_000_000_000
HOUR = 3_600_000
RULES = DecisionRules(window=1_000, checkout_grace=100, lookback=5_000, lateness=1_000, max_skew=1_000)


def missing(first_offers: int, first_checkouts: int, begin: int) -> list[str]:
    """Of logs with a record an hour each, of which those below these offsets are gone: what a range lacks."""
    broker = Broker(Clock(T / 1000), Random(1), ("offers", "checkouts"), ("outcomes", "dead"), 1, "classic")
    for topic, first in (("offers", first_offers), ("checkouts", first_checkouts)):
        for number in range(100):
            broker.logs[topic, 0].append(T + number * HOUR, b"s", b"")
        broker.logs[topic, 0].delete_below(first)
    process: Any = SimpleNamespace(name="p", touch=lambda what: None, wait=lambda until, timeout: until())
    consumer: Any = SimulatedConsumer(broker, process, lambda error: None)
    log = Log(consumer, broker.topics, 1, RULES, CODEC)
    return [one.topic for one in log.missing(BackfillScope(EventTimeRange(begin, begin + HOUR), RULES))]


def test_nothing_is_missing_where_nothing_was_deleted() -> None:
    assert missing(0, 0, T - 10 * HOUR) == []


def test_offers_are_needed_from_a_lookback_before_the_range() -> None:
    assert missing(5, 0, T + 5 * HOUR + RULES.lookback + RULES.max_skew) == []
    assert missing(5, 0, T + 5 * HOUR + RULES.lookback + RULES.max_skew - 1) == ["offers"]


@pytest.mark.parametrize(
    ("older", "lacks"), [(1, ["checkouts"]), (Horizon.HEAD - 1, ["checkouts"]), (Horizon.HEAD, [])]
)
def test_so_many_older_checkouts_are_needed_as_tell_how_old_the_log_is(older: int, lacks: list[str]) -> None:
    # By fewer, a task finds its log younger than it is, and dead-letters what it could decide.
    assert missing(0, 10, T + (9 + older) * HOUR + HOUR // 2) == lacks
