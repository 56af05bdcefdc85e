"""Which D goes with a commit when the list of the unsettled is full."""

from __future__ import annotations

from consumer.core.checkpoint import OfferCheckpoint
from consumer.core.join import Chain
from consumer.core.planning import SettledSpans
from consumer.core.rules import MIN_TIME, Rules
from consumer.core.task import Input, Plan, Position, Task
from consumer.events import OfferPresented, Reason

RULES = Rules(window=1_000, checkout_grace=0, lookback=2_000, lateness=0, max_skew=10**9)
LIMIT = 120


def full_of_calls(count: int) -> tuple[Task, list[Chain]]:
    """A task with so many chains due, one a millisecond, none of them settled."""
    task = Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0), metadata_limit=LIMIT)
    for n in range(count):
        task.offer(OfferPresented(f"s{n}", "P", f"o{n}", 10_000 + n, n), 10_000 + n, 10**9)
    for source in Input:
        task.idle(source, 50_000)
    return task, task.decide()


def planned(task: Task) -> tuple[Plan, OfferCheckpoint]:
    plan = task.plan()
    assert plan is not None, "commits stop, and every call since is repeated after a crash"
    return plan, OfferCheckpoint.decode(plan.offers.metadata, plan.offers.offset)


def test_a_backlog_that_settles_in_between_lowers_d_instead_of_stopping_commits() -> None:
    task, chains = full_of_calls(220)
    plan, found = planned(task)
    assert len(found.unsettled) == 220, "one run of offsets fits"
    task.committed(plan)
    for chain in chains[40::2]:
        task.settle(chain)
    plan, found = planned(task)
    assert found.decided_to < 50_000 - 1
    assert len(plan.offers.metadata) <= LIMIT

    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts, metadata_limit=LIMIT)
    for n in range(220):
        again.offer(OfferPresented(f"s{n}", "P", f"o{n}", 10_000 + n, n), 10_000 + n, 10**9)
    for source in Input:
        again.idle(source, 50_000)
    called = {chain.offer_id for chain in again.decide()}
    assert called >= {chain.offer_id for chain in [*chains[:40], *chains[41::2]]}, "an unsettled call was lost"


def chain(first: int, last: int, decide_at: int) -> Chain:
    shown = [OfferPresented("s", "P", "o", offset, offset) for offset in (first, last)]
    return Chain(shown, decide_at, Reason.DECLINED, None, False)


def test_a_chain_that_is_not_due_by_d_is_never_cut() -> None:
    spans = SettledSpans()
    spans.add(chain(5, 20, decide_at=100))
    assert spans.start(10, decided_to=100) == 10, "by D what is left of it is known as settled"
    assert spans.start(10, decided_to=99) == 5
    assert spans.start(5, decided_to=99) == 5
    assert spans.start(21, decided_to=99) == 21


def test_going_back_for_one_chain_may_mean_going_back_for_another() -> None:
    spans = SettledSpans()
    spans.add(chain(5, 12, decide_at=100))
    spans.add(chain(10, 20, decide_at=100))
    assert spans.start(15, decided_to=99) == 5


def test_d_never_falls_below_a_chain_that_the_commit_cuts() -> None:
    spans = SettledSpans()
    spans.add(chain(5, 20, decide_at=100))
    assert spans.least_decided_to(10) == 100
    assert spans.least_decided_to(5) == MIN_TIME


def test_chains_of_days_are_not_collected_and_d_does_not_fall_below_those_let_go() -> None:
    spans = SettledSpans()
    for n in range(SettledSpans.MOST + 1):
        spans.add(chain(10 * n + 1, 10 * n + 8, decide_at=n))
    spans.forget(0, decided_to=10**9)
    assert spans.least_decided_to(0) == SettledSpans.MOST
    assert not spans._spans
