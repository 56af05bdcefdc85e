"""An offer that stands in two records with one date, of which one joins no chain: a backfill settles the chain.

The one that does not join is told by an outcome of its own, LATE or IMPLAUSIBLE_TIME. That is no outcome of the chain:
whoever goes on after it, or comes to that range later, has still to call the offer.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from support.builders import NOW, checkout, offer
from support.kafka import Message
from support.runner_world import AT, Sink, edges, limits, pass_time

from consumer.backfill.mode import BackfillMode
from consumer.backfill.scope import BackfillScope, EventTimeRange
from consumer.backfill.told import Told
from consumer.calls import CallResult
from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import OfferOutcome, Outcome, Reason
from consumer.runtime.runner import TaskRunner

RULES = DecisionRules(window=1_000, checkout_grace=100, lookback=5_000, lateness=0, max_skew=1_000)

JOINS = offer(3, AT)
LATE = offer(5, AT, stamp=AT + RULES.lookback)
AHEAD = offer(1, AT, stamp=AT - RULES.max_skew - 1)
"""The same offer with the same date: read long after it was decided, or stamped long before it was shown."""


class Backfill:
    """One process of a backfill, which knows these outcomes from its start on."""

    def __init__(self, told: Iterable[OfferOutcome], *, force: bool = False) -> None:
        known, self.sink = Told(), Sink()
        for outcome in told:
            known.add(outcome)
        scope = BackfillScope(EventTimeRange(AT, AT + 1), RULES, force)
        self.runner = TaskRunner(
            0,
            Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
            topics=("offers", "checkouts"),
            edges=edges(outputs=self.sink, mode=BackfillMode(("offers", "checkouts"), scope, known)),
            bad_records=limits(100),
            late_limit=0,
        )

    def read(self, *offers: Message, bought: bool = False, calls: bool = True) -> list[tuple[Outcome, Reason, int]]:
        """Decide after each record, and make the calls at the end. Returns what is told: the fates, and of what record.

        `calls`: otherwise it is killed before they leave.
        """
        if bought:
            self.runner.on_message(Side.CHECKOUTS, checkout(0, AT + 10, "o1", session="s1"), NOW)
        waiting = []
        for message in offers:
            self.runner.on_message(Side.OFFERS, message, NOW)
            if message is not AHEAD:
                pass_time(self.runner, AT + 20_000)
            waiting += self.runner.decide()
        for call in waiting if calls else ():
            self.runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
        return [(told.outcome, told.reason, told.source.offset) for told in self.sink.outcomes]


IS_LATE = Outcome.DEAD_LETTERED, Reason.LATE, 5
IS_AHEAD = Outcome.DEAD_LETTERED, Reason.IMPLAUSIBLE_TIME, 1
IS_CALLED = Outcome.OPTED_OUT, Reason.ABANDONED, 3
IS_BOUGHT = Outcome.PURCHASED, Reason.PURCHASED, 3


@pytest.mark.parametrize(
    ("records", "before"), [((JOINS, LATE), IS_LATE), ((AHEAD, JOINS), IS_AHEAD)], ids=["late", "ahead"]
)
def test_the_next_process_calls_what_was_not_called_and_gives_the_other_record_up_no_second_time(
    records: tuple[Message, ...], before: tuple[Outcome, Reason, int]
) -> None:
    killed = Backfill([])
    assert killed.read(*records, calls=False) == [before]
    after = Backfill(killed.sink.outcomes)
    assert after.read(*records) == [IS_CALLED]
    both = [*killed.sink.outcomes, *after.sink.outcomes]
    for told in (both, both[::-1]):
        assert Backfill(told).read(*records) == [], "all of it is settled"


@pytest.mark.parametrize("records", [(JOINS, LATE), (AHEAD, JOINS)], ids=["late", "ahead"])
def test_by_force_what_was_bought_is_told_to_be_though_its_other_record_was_given_up_since(
    records: tuple[Message, ...],
) -> None:
    first = Backfill([])
    first.read(*records, bought=True)
    assert IS_BOUGHT in [(told.outcome, told.reason, told.source.offset) for told in first.sink.outcomes]
    for told in (first.sink.outcomes, first.sink.outcomes[::-1]):
        again = Backfill(told, force=True).read(*records)  # the checkouts are gone meanwhile
        assert again == ([IS_AHEAD] if AHEAD in records else []), "what never joined is settled by itself"


def test_a_record_that_was_given_up_and_joins_now_is_settled_already() -> None:
    late = Backfill([])
    pass_time(late.runner, AT + 20_000)
    assert late.read(JOINS) == [(Outcome.DEAD_LETTERED, Reason.LATE, 3)]
    assert Backfill(late.sink.outcomes).read(JOINS) == []
    assert Backfill(late.sink.outcomes, force=True).read(JOINS) == [IS_CALLED]


@pytest.mark.parametrize("force", [False, True])
def test_a_record_whose_date_is_not_believed_is_dead_lettered_though_its_offer_was_called_by_another(
    force: bool,
) -> None:
    """It was not read yet when the process before was killed."""
    killed = Backfill([])
    assert killed.read(JOINS) == [IS_CALLED]
    after = Backfill(killed.sink.outcomes, force=force)
    assert IS_AHEAD in after.read(AHEAD, JOINS)
    assert after.sink.dead == [(1, "implausible_time")]


def test_a_late_record_of_an_offer_that_was_called_is_left_alone() -> None:
    """It may have joined in the run that called it, as one more presentation of that time."""
    killed = Backfill([])
    assert killed.read(JOINS) == [IS_CALLED]
    assert Backfill(killed.sink.outcomes).read(JOINS, LATE) == []


def deployment_to(sink: Sink) -> TaskRunner:
    """What the deployment ran; it tells each offer that comes late."""
    return TaskRunner(
        0,
        Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)),
        topics=("offers", "checkouts"),
        edges=edges(outputs=sink),
        bad_records=limits(100),
        late_limit=0,
    )


def test_a_chain_is_not_settled_by_the_outcome_of_its_last_record_that_came_late_before() -> None:
    """Shown twice. To the deployment, which goes by the clock in a quiet partition, the second record came late; the
    call for the first one waited, and its position was lost then. By the log alone both are one chain."""
    first, second = offer(3, AT - 500), offer(5, AT, stamp=AT + RULES.lookback)
    sink = Sink()
    deployment = deployment_to(sink)
    deployment.on_message(Side.OFFERS, first, NOW)
    pass_time(deployment, AT + 20_000)
    assert len(deployment.decide()) == 1, "its call waits"
    deployment.on_message(Side.OFFERS, second, NOW)
    assert [(told.outcome, told.reason, told.source.offset) for told in sink.outcomes] == [IS_LATE]

    backfill = Backfill(sink.outcomes).runner
    backfill.on_message(Side.OFFERS, first, NOW)
    backfill.on_message(Side.OFFERS, second, NOW)
    pass_time(backfill, AT + 20_000)
    assert len(backfill.decide()) == 1, "the first record has no outcome, and nobody was told of the offer"


def test_by_force_a_chain_is_not_called_of_which_a_part_was_told_to_be_bought() -> None:
    """As above, but the deployment had settled the first record: it was bought, and the checkout is gone meanwhile."""
    first, second = offer(3, AT - 500), offer(5, AT, stamp=AT + RULES.lookback)
    sink = Sink()
    deployment = deployment_to(sink)
    deployment.on_message(Side.CHECKOUTS, checkout(0, AT - 490, "o1", session="s1"), NOW)
    deployment.on_message(Side.OFFERS, first, NOW)
    pass_time(deployment, AT + 20_000)
    assert deployment.decide() == []
    deployment.on_message(Side.OFFERS, second, NOW)
    told = [(told.outcome, told.reason, told.source.offset) for told in sink.outcomes]
    assert told == [IS_BOUGHT, IS_LATE]

    backfill = Backfill(sink.outcomes, force=True).runner
    backfill.on_message(Side.OFFERS, first, NOW)
    backfill.on_message(Side.OFFERS, second, NOW)
    pass_time(backfill, AT + 20_000)
    assert backfill.decide() == [], "what is told to be bought is never called"
