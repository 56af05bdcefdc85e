"""A checkout that cannot be read, while a call of its session waits: it may be the purchase, so no call is made."""

from __future__ import annotations

import pytest
from support.builders import NOW, checkout, offer, raw
from support.guarded_instance import LATER, RULES
from support.kafka import Message
from support.loop_world import LoopWorld
from support.runner_world import AT, RunnerWorld, SlowSink, pass_time, record, show
from support.strategies import START

from consumer.calls import CallResult, OptOutCall, Withheld
from consumer.core.chain import Chain
from consumer.core.checkpoint import Position
from consumer.core.commits import CommitPlan
from consumer.core.task import Task
from consumer.core.watermark import CLOCK_TOLERANCE, Side
from consumer.events import CheckoutCompleted, OfferPresented, Outcome, Reason
from consumer.runtime.bad_record_limit import QUIET
from consumer.runtime.outcomes import MAY_BE_BOUGHT

BEGIN = Position(0)
STAMPS = [50, 100, 106, 10_000]
"""Of the checkout, relative to the presentation, which is decided 100 after it. Lateness is 5."""


class Decided:
    """A task that has decided an offer of each partner, presented at START, as abandoned; their calls wait."""

    def __init__(self, *partners: str) -> None:
        self.task = Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN)
        self.shown = [OfferPresented("s", partner, "o1", START, n) for n, partner in enumerate(partners or ("ada",))]
        for shown in self.shown:
            self.task.offer(shown, START, LATER)
        for side in Side:
            self.task.idle(side, START + 200)
        self.chains = self.task.decide()
        assert {chain.reason for chain in self.chains} == {Reason.ABANDONED}

    def read(self, stamp: int = 50, *, offset: int = 0, session: str = "s") -> list[Chain]:
        """What is to be taken back after a checkout that cannot be read, stamped so long after the presentation."""
        dead, waiting = self.task.unreadable_checkout(offset, (session,), START + stamp, LATER)
        assert dead
        self.task.acknowledged(offset, Side.CHECKOUTS)
        return waiting

    def commit(self) -> CommitPlan:
        plan = self.task.prepare_commit()
        assert plan is not None
        return plan

    def restart(self, plan: CommitPlan) -> Task:
        """The next owner, which has read the offers again."""
        again = Task(RULES, partitions=1, offers=plan.offers, checkouts=plan.checkouts)
        for shown in self.shown:
            again.offer(shown, START, LATER)
        return again


@pytest.mark.parametrize("stamp", STAMPS)
def test_it_takes_the_call_back_while_it_waits_once(stamp: int) -> None:
    world = Decided()
    assert world.read(stamp) == world.chains
    assert world.read(stamp, offset=1) == [], "once"


def test_the_decision_stays_as_it_was() -> None:
    world = Decided()
    world.read()
    assert [(chain.reason, chain.is_withheld) for chain in world.chains] == [(Reason.ABANDONED, True)]


def test_one_of_another_session_takes_back_nothing() -> None:
    world = Decided()
    assert world.read(session="another") == []
    assert not world.chains[0].is_withheld


def test_one_that_lies_before_all_that_the_chain_looks_back_to_takes_back_nothing() -> None:
    world = Decided()
    far = RULES.lookback + RULES.max_skew + CLOCK_TOLERANCE + 1
    _, waiting = world.task.unreadable_checkout(0, ("s",), START - far, START - far)
    assert waiting == []
    _, waiting = world.task.unreadable_checkout(1, ("s",), START - far, START - far + 1)
    assert waiting == world.chains


def test_what_is_settled_stays_as_it_is() -> None:
    world = Decided("ada", "bob")
    world.task.settle(world.chains[0])
    assert world.read() == [world.chains[1]]
    assert not world.chains[0].is_withheld


def test_what_is_known_to_be_bought_is_not_taken_back_again_and_stays_bought() -> None:
    world = Decided()
    world.task.checkout(CheckoutCompleted("s", "c", START + 50, 0, ("o1",)), START + 50, LATER)
    assert world.read(offset=1) == []
    assert world.chains[0].bought_by is not None


def test_a_purchase_that_is_read_after_it_is_noted_all_the_same() -> None:
    world = Decided()
    world.read()
    effect = world.task.checkout(CheckoutCompleted("s", "c", START + 50, 1, ("o1",)), START + 50, LATER)
    assert effect.bought_before_settled == tuple(world.chains)


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        (50, Reason.CHECKOUT_UNREADABLE),
        (105, Reason.CHECKOUT_UNREADABLE),
        (106, Reason.ABANDONED),
        (10_000, Reason.ABANDONED),
    ],
)
def test_read_before_the_decision_it_quarantines_or_withholds(stamp: int, reason: Reason) -> None:
    """Whether it decides goes by the times at which it may lie; the call is not made either way."""
    task = Task(RULES, partitions=1, offers=BEGIN, checkouts=BEGIN)
    task.offer(OfferPresented("s", "ada", "o1", START, 0), START, LATER)
    task.unreadable_checkout(0, ("s",), START + stamp, LATER)
    for side in Side:
        task.idle(side, START + 200)
    (chain,) = task.decide()
    assert chain.reason is reason
    assert chain.is_withheld is (reason is Reason.ABANDONED)


# --- a restart


def is_called(chain: Chain) -> bool:
    return chain.reason in {Reason.DECLINED, Reason.ABANDONED} and not chain.is_withheld


@pytest.mark.parametrize("stamp", STAMPS)
def test_a_restart_that_reads_it_again_makes_no_call(stamp: int) -> None:
    world = Decided()
    world.read(stamp)
    again = world.restart(world.commit())
    assert again.restoring
    assert again.unreadable_checkout(0, ("s",), START + stamp, LATER) == (False, [])
    (chain,) = again.decide()
    assert not is_called(chain)


@pytest.mark.parametrize("stamp", STAMPS)
def test_a_restart_from_a_commit_before_it_makes_no_call_once_it_is_read(stamp: int) -> None:
    """As after a crash: what the log held when the task began is read before its first calls leave."""
    world = Decided()
    plan = world.commit()
    world.read(stamp)
    again = world.restart(plan)
    (chain,) = again.decide()
    assert again.unreadable_checkout(0, ("s",), START + stamp, LATER) == (True, [chain])
    assert not is_called(chain)


def test_a_restart_after_it_is_settled_says_nothing_more_of_it() -> None:
    world = Decided("ada", "bob")
    world.read()
    world.task.settle(world.chains[1], called=False)
    again = world.restart(world.commit())
    again.unreadable_checkout(0, ("s",), START + 50, LATER)
    (chain,) = again.decide()
    assert (chain.partner_code, chain.reason) == ("ada", Reason.CHECKOUT_UNREADABLE)


# --- the runner

UNDECODABLE = raw("checkouts", 0, "s1", b"no checkout")
FOREIGN_KEY = checkout(0, AT + 5_000, "o1", session="s1", key="another")
EMPTY_ID = checkout(0, AT + 5_000, "o1", session="s1", checkout_id="")
QUARANTINED = [(Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE, None, MAY_BE_BOUGHT)]


def fates(sink: SlowSink) -> list[tuple[Outcome, Reason, str | None, str | None]]:
    return [(o.outcome, o.reason, o.checkout_id, o.note) for o in sink.outcomes]


def waiting_call() -> tuple[RunnerWorld, OptOutCall]:
    world = RunnerWorld()
    (call,) = show(world)
    assert world.runner.withholds(call) is None
    return world, call


@pytest.mark.parametrize("message", [UNDECODABLE, FOREIGN_KEY, EMPTY_ID])
@pytest.mark.parametrize("outcome", [None, Outcome.DEAD_LETTERED, Outcome.RELEASED])
def test_a_call_that_waits_is_withheld_and_its_chain_is_dead_lettered(
    message: Message, outcome: Outcome | None
) -> None:
    world, call = waiting_call()
    assert world.runner.on_message(Side.CHECKOUTS, message, NOW) == [call.chain_start]
    assert world.runner.withholds(call) == Withheld()
    world.runner.on_result(CallResult(call, outcome, None, 1, None))
    assert fates(world.sink) == QUARANTINED
    assert (world.runner.outstanding, world.runner.task.unsettled, world.reader.asked) == (0, 0, [])
    assert [letter.topic for letter, _, _ in world.sink.records] == ["checkouts"], "the offer is none"
    for acknowledge in world.sink.acks:
        acknowledge()
    assert world.committed == 4


@pytest.mark.parametrize("outcome", [Outcome.OPTED_OUT, Outcome.NOT_FOUND])
def test_a_call_that_was_made_all_the_same_is_told_as_it_was(outcome: Outcome) -> None:
    world, call = waiting_call()
    world.runner.on_message(Side.CHECKOUTS, UNDECODABLE, NOW)
    world.runner.on_result(CallResult(call, outcome, 204, 1, None))
    assert fates(world.sink) == [(outcome, Reason.ABANDONED, None, None)]


@pytest.mark.parametrize("maybe_recorded", [False, True])
def test_a_purchase_that_comes_later_is_reported_only_if_the_insurer_may_have_been_told(
    maybe_recorded: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    world, call = waiting_call()
    world.runner.on_message(Side.CHECKOUTS, UNDECODABLE, NOW)
    world.runner.on_result(CallResult(call, None, None, 1, None, maybe_recorded))
    world.runner.on_message(Side.CHECKOUTS, checkout(1, AT + 500, "o1", session="s1"), NOW)
    assert ("purchase_after_opt_out" in capsys.readouterr().out) is maybe_recorded


def test_a_purchase_that_is_read_before_the_chain_is_settled_is_the_better_word() -> None:
    world, call = waiting_call()
    world.runner.on_message(Side.CHECKOUTS, UNDECODABLE, NOW)
    world.runner.on_message(Side.CHECKOUTS, checkout(1, AT + 500, "o1", session="s1"), NOW)
    world.runner.on_result(CallResult(call, None, None, 0, None))
    assert [(o.outcome, o.checkout_id) for o in world.sink.outcomes] == [(Outcome.PURCHASED, "c")]


def test_a_refused_offer_whose_record_is_read_again_is_quarantined_instead_of_rejected() -> None:
    world = RunnerWorld()
    refused = world.refused()
    world.runner.on_message(Side.CHECKOUTS, UNDECODABLE, NOW)
    assert world.runner.on_record_fetched(refused, record()) is None
    assert fates(world.sink) == QUARANTINED
    assert [reason for _, reason, _ in world.sink.records] == ["undecodable"]


def test_after_the_runner_is_closed_nothing_is_settled_by_it() -> None:
    world, call = waiting_call()
    world.runner.on_message(Side.CHECKOUTS, UNDECODABLE, NOW)
    world.runner.close()
    world.runner.on_result(CallResult(call, None, None, 0, None))
    assert (world.runner.task.unsettled, world.runner.outstanding, fates(world.sink)) == (1, 0, [])


def test_one_that_is_read_before_the_call_is_handed_out_dead_letters_the_chain() -> None:
    """It is stamped long after the chain's end: it decides nothing, and may be the purchase all the same."""
    world = RunnerWorld()
    assert show(world, UNDECODABLE) == []
    assert fates(world.sink) == QUARANTINED


def test_a_session_beside_it_is_called() -> None:
    world = RunnerWorld()
    world.runner.on_message(Side.OFFERS, offer(0, AT, session="s2"), NOW)
    world.runner.on_message(Side.CHECKOUTS, UNDECODABLE, NOW)
    pass_time(world.runner, 12_000)
    assert [call.session_id for call in world.runner.decide()] == ["s2"]


# --- the service


def test_a_call_that_waits_with_the_delivery_is_withdrawn() -> None:
    world = LoopWorld()
    world.begin()
    world.decide()
    (call,) = world.delivery.calls
    world.turn([UNDECODABLE])
    assert world.delivery.withdrawn == [call.chain_start]
    world.delivery.answer(None)
    world.turn()
    assert [(o.outcome, o.reason) for o in world.sink.outcomes] == [(Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE)]
    world.skipped += QUIET
    world.turn()
    world.commit()
    assert world.committed == 1
