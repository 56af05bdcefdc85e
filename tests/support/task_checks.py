"""The rules that a task in its world is held to: each decision, each commit, and the whole at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.strategies import Garbage

from consumer.audit.decision import Fate, fates
from consumer.core.chain import Chain
from consumer.core.commits import CommitPlan
from consumer.core.rules import MIN_TIME
from consumer.core.watermark import Side
from consumer.events import Reason

if TYPE_CHECKING:
    from support.task_world import TaskWorld


def check_decision(world: TaskWorld, chain: Chain, fate: Fate) -> None:
    """Not too early, and what the reference says."""
    assert fate.decide_at <= world.task.watermark, f"{fate} was decided early, at {world.task.watermark}"
    assert fate.decide_at <= min(world.reached), f"{fate} was decided early: the inputs reached {world.reached}"
    times = [p.presented_at for p in chain.presentations]
    assert times == sorted(times)
    if not world.strict or chain.session_id in world.overdue:
        _check_by_itself(world, chain, fate)
        return
    homes = {world.by_offset[offset] for offset in fate.offsets}
    assert len(homes) == 1, f"{fate} joins presentations of different chains: {homes}"
    (home,) = homes
    if world.doubtful:
        offer = home.session_id, home.partner_code, home.offer_id
        shown = [p for p in world.believed if (p.session_id, p.partner_code, p.offer_id) == offer]
        told = [f for known, doubts in world.known() for f in fates(shown, known, world.rules, doubts)]
        homes_now = [found for found in told if found.offsets == home.offsets]
        home = next((found for found in homes_now if found.reason is fate.reason), homes_now[-1])
    assert fate.reason is home.reason, f"decided {fate.reason}, it is {home.reason}: {home}"
    if world.life == 0:
        assert fate == home._replace(may_withhold=frozenset())
    else:
        assert (fate.last, fate.decide_at) == (home.last, home.decide_at)


def _check_by_itself(world: TaskWorld, chain: Chain, fate: Fate) -> None:
    """Where presentations were given up, the rules changed or a checkout is overdue: right for the presentations
    that it holds."""
    for rules, (known, doubts) in ((r, k) for r in reversed(world.all_rules) for k in world.known(r)):
        alone = fates(chain.presentations, known, rules, doubts)
        if [a.reason for a in alone] == [fate.reason]:
            return
    raise AssertionError(f"{fate} was decided wrongly: {alone}")


def check_withheld(world: TaskWorld, chain: Chain) -> None:
    """A purchase of an offer that is to be called is known with it, whatever its date, from when it is read on."""
    read = [c for c in world.purchases if c.session_id == chain.session_id and chain.offer_id in c.purchased]
    if chain.bought_by is not None:
        assert chain.bought_by.offset in {c.offset for c in read}, f"{chain} is withheld by what was not read"
    doubted = {record.offset for record in world.doubtful}
    since = chain.begin - world.rules.lookback
    # One from before that may be forgotten; so may one without a date, which lies anywhere.
    kept = [c for c in read if c.offset not in doubted and world.true_time_of(c) >= since]
    assert chain.bought_by is not None or not kept, f"{chain} is to be called, and was bought by {kept}"


def check_plan(world: TaskWorld, plan: CommitPlan) -> None:
    """Nothing unsettled is lost, nothing goes backwards, and the metadata fits."""
    open_now = [r.offset for r in world.logs.offers[: world.at[0]] if r.event and not world.is_settled(r)]
    open_now += [r.offset for r in world.logs.offers[world.at[0] : world.at[0] + 1]]
    if open_now:
        assert plan.offers.offset <= open_now[0], f"commit {plan} loses what is unsettled at {open_now[0]}"
    before = world.last_plan or CommitPlan(*world.start, MIN_TIME, MIN_TIME)
    assert plan.offers.offset >= before.offers.offset, "the offer partition's commit went backwards"
    assert plan.checkouts.offset >= before.checkouts.offset, "the checkout partition's commit went backwards"
    assert len(plan.offers.metadata) <= world.metadata_limit
    assert len(plan.checkouts.metadata) <= 4096


def check_retained(world: TaskWorld) -> None:
    """An offer that would be read again is never without the checkout that bought it."""
    if not world.strict:
        return
    offers, checkouts = world.broker
    for shown in world.logs.presentations:
        if shown.record_offset >= offers.offset and shown.offset in world.by_offset:
            home = world.by_offset[shown.offset]
            since, until = shown.presented_at - world.rules.lookback, home.decide_at
            for c in world.completed:
                bought = c.session_id == shown.session_id and shown.offer_id in c.purchased
                if bought and since <= c.completed_at <= until:
                    assert c.offset >= checkouts.offset, f"{shown} would be read again, {c} would not"
            for record in world.doubtful:
                u = world.at_least(record)
                bought = u.checkout is None or shown.offer_id in u.checkout.purchased
                if u.session_id == shown.session_id and bought and u.earliest <= until and u.latest >= since:
                    assert record.offset >= checkouts.offset, f"{shown} would be read again, {record} would not"


def check_all_told(world: TaskWorld) -> None:
    """At the end: nothing missed, nothing false, nothing lost, and no offer met two different fates."""
    at_most = fates(world.believed, world.completed, world.rules, [world.at_most(r) for r in world.doubtful])
    else_doubted = {offset: fate for fate in at_most for offset in fate.offsets}
    reasons: dict[int, set[Reason]] = {}
    for decision in world.decisions:
        for offset in decision.fate.offsets:
            reasons.setdefault(offset, set()).add(decision.fate.reason)
    for shown in world.logs.presentations:
        told = shown.offset in reasons or shown.offset in world.dead
        assert told, f"{shown} was lost"
        assert shown.offset in world.settled, f"{shown} is not settled"
        if world.strict and shown.offset in world.by_offset and shown.session_id not in world.overdue:
            home = world.by_offset[shown.offset]
            if else_doubted[shown.offset].reason is home.reason:
                assert reasons[shown.offset] <= {home.reason}
            if home.reason in (Reason.PURCHASED, Reason.CHECKOUT_UNREADABLE):
                assert shown.offset not in world.called, f"false call: {home}"
    for source, log in zip(Side, world.both_logs, strict=True):
        for record in log:
            if isinstance(record.event, Garbage):
                assert (source, record.offset) in world.written, f"{record} was never dead-lettered"
