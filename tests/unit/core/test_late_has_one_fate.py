"""A presentation that was dead-lettered has its fate, and a restart gives it no second one, however far decisions lag
behind the watermark that made it late: suspended, held by a gap, or in portions."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import pytest
from support.guarded_instance import LATER, RULES, Instance
from support.strategies import START

from consumer.core.admission import Admission
from consumer.core.chain import Chain
from consumer.core.checkpoint import METADATA_LIMIT, OfferCheckpoint, Position
from consumer.core.guards import SuspendedBy
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import OfferPresented

STEADY = DecisionRules(window=1_000, checkout_grace=0, lookback=2_000, lateness=0, max_skew=10**9)


def suspended() -> Instance:
    """Decisions are suspended, while the watermark has come to 394."""
    instance = Instance(silence=0)
    instance.offer(0, "first")
    instance.checkout(1)
    instance.idle(10)
    instance.turn()
    for number in range(3):
        instance.offer(20, f"o{number}", session=f"s{number}")
        instance.checkout(25, f"booking of o{number}", session=f"s{number}")
    instance.idle(400)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED
    return instance


def in_portions() -> Instance:
    """Of what is due, one was decided."""
    instance = Instance(silence=0)
    for number in range(4):
        instance.offer(20 + number, f"o{number}", session=f"s{number}")
    assert instance.turn() == []
    instance.idle(400)
    assert len(instance.tasks[0].decide(most=1)) == 1
    return instance


def held_by_a_gap() -> Instance:
    """What follows on a silence of checkouts waits until those that were kept back have landed."""
    instance = Instance()
    instance.checkout(0)
    instance.idle(10)
    instance.turn()
    instance.offer(20, "o", session="s0")
    instance.checkout(395, session="other")
    instance.offer(395, "newest", session="s1")
    assert instance.turn() == []
    return instance


BEHIND = pytest.mark.parametrize("behind", [suspended, in_portions, held_by_a_gap])


def present(instance: Instance, time: int, offer_id: str, *, stamp: int = 399) -> tuple[int, Admission]:
    """One more presentation, which is not admitted. Returns its offset, and why."""
    log, (task,) = instance.logs[0][0], instance.tasks
    log.append((OfferPresented(offer_id, "ada", offer_id, START + time, len(log)), START + stamp))
    admission = task.offer(*log[-1], LATER)
    assert admission is not Admission.ACCEPTED
    return len(log) - 1, admission


def give_up(task: Task, offset: int, admission: Admission) -> None:
    task.give_up(offset, admission)
    task.acknowledged(offset)


def decided(instance: Instance) -> list[str]:
    """What is decided once nothing holds it back."""
    instance.idle(2_000)
    return [chain.offer_id for task in instance.tasks for chain in task.decide()]


def committed(task: Task) -> OfferCheckpoint:
    plan = task.prepare_commit()
    assert plan is not None
    return OfferCheckpoint.decode(plan.offers.metadata, plan.offers.offset)


@BEHIND
def test_what_came_late_is_not_called_after_restarts(behind: Callable[[], Instance]) -> None:
    instance = behind()
    give_up(instance.tasks[0], *present(instance, 100, "late"))
    assert committed(instance.tasks[0]).decided_to < START + 200, "decisions are behind"
    for _ in range(3):
        instance.restart()
    assert "late" not in decided(instance), "it has a dead letter and an outcome"


@BEHIND
def test_late_ones_are_listed_as_one_run(behind: Callable[[], Instance]) -> None:
    instance = behind()
    many = [present(instance, 100, f"late {number}") for number in range(5_000)]
    for one in many:
        give_up(instance.tasks[0], *one)
    length = len(committed(instance.tasks[0]).encode(0))
    assert length < 200
    instance.restart()
    assert [offer_id for offer_id in decided(instance) if offer_id.startswith("late")] == []


@BEHIND
def test_until_its_dead_letter_is_written_it_is_not_settled(behind: Callable[[], Instance]) -> None:
    instance = behind()
    offset, admission = present(instance, 100, "late")
    instance.tasks[0].give_up(offset, admission)
    found = committed(instance.tasks[0])
    assert (offset in found.dead, offset in found.unsettled) == (False, True)
    instance.restart()
    assert instance.tasks[0].prepare_commit() is not None
    assert instance.tasks[0].undecided + instance.tasks[0].unsettled > 0
    assert "late" in decided(instance), "a restart finds another fate for it, or it is lost"


@BEHIND
def test_what_is_dead_lettered_for_another_reason_has_one_fate_too(behind: Callable[[], Instance]) -> None:
    instance = behind()
    (task,) = instance.tasks
    give_up(task, *present(instance, 700, "implausible"))
    offset = len(instance.logs[0][0])
    assert task.unreadable_offer(offset), "also where one of its ids is too large"
    task.acknowledged(offset)
    plan = task.prepare_commit()
    assert plan is not None
    again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
    for checkout, stamp in instance.logs[0][1][plan.checkouts.offset :]:
        again.checkout(copy(checkout), stamp, LATER)
    for offer, stamp in instance.logs[0][0][plan.offers.offset :]:
        admission = again.offer(offer, stamp, LATER)
        assert (admission is Admission.SETTLED) is (offer.offer_id == "implausible")
    assert not again.unreadable_offer(offset)
    assert not again.restoring


def test_late_or_not_it_does_not_join_what_was_presented_of_the_offer_in_time() -> None:
    """Else what bought it before would be looked for further back, by who starts again and by nobody else."""
    instance = suspended()
    give_up(instance.tasks[0], *present(instance, 279, "o"))
    instance.offer(310, "o", session="o")
    instance.restart()
    (shown,) = [one for one in instance.tasks[0].open_offers() if one.offer_id == "o"]
    assert shown.presented_at == START + 310
    instance.idle(2_000)
    assert [chain.begin - START for chain in instance.tasks[0].decide() if chain.offer_id == "o"] == [310]


def full_of_waiting(offers: Position, checkouts: Position) -> tuple[Task, list[Chain]]:
    """A task that has decided 2,000 offers, one a millisecond, from these positions on. Returns what it decided too."""
    task = Task(STEADY, partitions=1, offers=offers, checkouts=checkouts)
    for number in range(2_000):
        task.offer(OfferPresented(f"s{number}", "ada", f"o{number}", 10_000 + number, number), 10_000 + number, LATER)
    for side in Side:
        task.idle(side, 50_000)
    return task, task.decide()


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("late", [0, 300, 900])
def test_however_many_come_late_what_was_told_to_be_settled_stays_so(late: int, *, restarted: bool) -> None:
    """Every other call waits, and the list of them takes more than half of the room. Then decisions are suspended."""
    task, chains = full_of_waiting(Position(0), Position(0))
    for chain in chains[::2]:
        task.settle(chain)
    plan = task.prepare_commit()
    assert plan is not None
    task.commit_acknowledged(plan)
    if restarted:
        task, _ = full_of_waiting(plan.offers, plan.checkouts)
    for side in Side:
        task.idle(side, 90_000)
    for offset in range(2_000, 2_000 + 2 * late, 2):
        event = OfferPresented(f"late {offset}", "ada", "o", 60_000 + offset, offset)
        admission = task.offer(event, 60_000 + offset, LATER)
        assert admission is Admission.LATE
        give_up(task, offset, admission)
    found = committed(task)
    assert found.decided_to >= plan.decided_to, "else what is settled above it is called again after a restart"
    assert len(found.unsettled) == 1_000
    assert len(found.dead) == late or len(found.encode(0)) > METADATA_LIMIT - 5
