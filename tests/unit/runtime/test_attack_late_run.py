"""Offers are kept back as late, in a quiet partition whose checkouts were ahead."""

from __future__ import annotations

from dataclasses import replace

from support.builders import checkout, offer
from support.runner_world import AT, Sink, edges, limits
from support.runner_world import RULES as RUNNER_RULES

from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.runtime.runner import TaskRunner

RULES = replace(RUNNER_RULES, max_skew=10_000_000)  # window 1,000, grace 100, lookback 5,000, no lateness


def stamped(message, at):  # type: ignore[no-untyped-def]
    message._timestamp = at
    return message


def test_checkouts_are_read_on_while_offers_are_kept_back() -> None:
    """One offer, checkouts paused 1.1 windows ahead; the next offer comes 1.8 windows after the first one. Behind it
    come late ones, a mass of them. Neither input is read on any more, for as long as an operator does nothing; the
    checkouts, which hold W, should be read up to a window beyond the offers."""
    runner = TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=Sink()),
        bad_records=limits(100),
        late_limit=2,
        checkouts_end=0,
    )
    now = AT + 100_000
    runner.on_message(Side.OFFERS, stamped(offer(0, AT), AT), now)
    runner.on_message(Side.CHECKOUTS, stamped(checkout(0, AT + 1_100, session="x"), AT + 1_100), now)
    assert runner.pauses() == {Side.CHECKOUTS}
    runner.on_message(Side.OFFERS, stamped(offer(1, AT + 1_800, offer_id="o2"), AT + 1_800), now)
    for n in range(2, 8):
        runner.on_message(Side.OFFERS, stamped(offer(n, AT - 5_000, offer_id=f"l{n}"), AT - 5_000), now)
    assert runner.late_run.suspended
    assert runner.task.watermarks.checkouts.value < runner.task.watermarks.offers.value
    assert runner.pauses() == {Side.OFFERS}
