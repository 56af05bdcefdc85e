"""Two logs, of one partition each, whose positions an operator changes, and tasks that read them from there on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from support.changes_world import NOW, OURS, ChangesWorld

from consumer.core.admission import Admission
from consumer.core.chain import Chain
from consumer.core.checkpoint import Position
from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented, Reason

RULES = DecisionRules(window=100_000, checkout_grace=10_000, lookback=300_000, lateness=5_000, max_skew=50_000)
START = NOW - 100_000_000
Shown = tuple[int, str]
"""When it was shown, after START (s), and the offer."""


class TwoLogs(ChangesWorld):
    """One partition of each topic; each record is stamped with its event's time, and what an offer is called tells
    its session.

    Attributes:
        told: of each chain that was settled, when that was, and when it was presented last (ms).
    """

    def __init__(self, shown: Sequence[Shown], done: Sequence[Shown]) -> None:
        super().__init__(OURS, RULES)
        self.shown = [OfferPresented(f"s-{o}", "P", o, START + 1_000 * at, n) for n, (at, o) in enumerate(shown)]
        self.done = [
            CheckoutCompleted(f"s-{o}", f"c{n}", START + 1_000 * at, n, (o,) if o else ())
            for n, (at, o) in enumerate(done)
        ]
        self.told: list[tuple[int, int]] = []
        self.consumer.stamps = {
            "offers": [e.presented_at for e in self.shown],
            "checkouts": [e.completed_at for e in self.done],
        }

    def task(self) -> Task:
        """One that starts from what is committed, by the rules of now."""
        offers, checkouts = Position(*self.left("offers")), Position(*self.left("checkouts"))
        learns = MAX_TIME if checkouts.offset or self.consumer.low else None
        return Task(self.rules, partitions=1, offers=offers, checkouts=checkouts, horizon=learns, provenance=OURS)

    def read(self, task: Task, *, offers: int | None = None, checkouts: int | None = None) -> list[OfferPresented]:
        """Let a task read on, up to these offsets or to the ends. Returns what is late of it.

        As a runner does it: while the task restores, neither input is read beyond where the task says.
        """
        late: list[OfferPresented] = []
        ends = {
            Side.CHECKOUTS: len(self.done) if checkouts is None else checkouts,
            Side.OFFERS: len(self.shown) if offers is None else offers,
        }
        while places := [side for side in reversed(Side) if self._may_read(task, side, ends[side])]:
            at = task.next_offset(places[0])
            if places[0] is Side.CHECKOUTS:
                done = copy(self.done[at])
                task.checkout(done, done.completed_at, NOW)
                continue
            shown = self.shown[at]
            verdict = task.offer(shown, shown.presented_at, NOW)
            if verdict not in (Admission.ACCEPTED, Admission.SETTLED):
                late.append(shown)
                task.give_up(shown.offset, verdict)
                task.acknowledged(shown.offset)
        return late

    @staticmethod
    def _may_read(task: Task, side: Side, end: int) -> bool:
        stop = task.restore_until(side)
        return task.next_offset(side) < (end if stop is None else min(end, stop))

    def settle_by(self, moment: int, *, waits: Sequence[str] = ()) -> None:
        """A run from the very beginning settles what is due by then, but for these, and commits."""
        self.commit("offers", 0, self.starts.new_offers(0, NOW))
        self.commit("checkouts", 0, self.starts.checkouts_from(0, MIN_TIME))
        task = self.task()
        self.read(task)
        for side in Side:
            task.idle(side, START + 1_000 * moment + RULES.lateness + 1)
        for chain in task.decide():
            if chain.offer_id not in waits:
                self.settle(task, chain, chain.decide_at + RULES.lateness + 1)
        assert self.keep(task)
        self.keep(task)  # what the offers' first commit allows to forget is forgotten by the next one

    def settle(self, task: Task, chain: Chain, now: int) -> None:
        """Settle the chain `now` (wall clock, ms), and tell its outcome."""
        task.settle(chain)
        self.told.append((now, chain.last.presented_at))

    def earliest_shown(self, moment: int) -> dict[int, int]:
        """As `SettledSince`."""
        since = [shown for settled_at, shown in self.told if settled_at >= moment]
        return {0: min(since)} if since else {}

    def keep(self, task: Task) -> bool:
        """Commit, if there is something to say."""
        plan = task.prepare_commit()
        if plan is None:
            return False
        for topic, position in (("offers", plan.offers), ("checkouts", plan.checkouts)):
            self.commit(topic, position.offset, position.metadata)
        task.commit_acknowledged(plan)
        return True

    def chains(self, *, crashes: bool = False, late: list[OfferPresented] | None = None) -> list[Chain]:
        """What is decided from what is committed on; `late` takes what is dead-lettered.

        `crashes`: each time when something was decided, it is settled and committed, and another task goes on.
        """
        found: list[Chain] = []
        task, moments = self.task(), range(-4_000, 2_000, 10) if crashes else (99_000,)
        for moment in moments:
            dead = self.read(task)
            if late is not None:
                late += dead
            for side in Side:
                task.idle(side, START + 1_000 * moment)
            chains = task.decide()
            found += chains
            for chain in chains:
                task.settle(chain)
            if chains and crashes and self.keep(task):
                task = self.task()
        return found

    def fates(self, *, crashes: bool = False) -> dict[str, list[Reason]]:
        """What is made of each offer from what is committed on; LATE where it was dead-lettered."""
        found: dict[str, list[Reason]] = {}
        late: list[OfferPresented] = []
        for chain in self.chains(crashes=crashes, late=late):
            found.setdefault(chain.offer_id, []).append(Reason.PURCHASED if chain.bought_by else chain.reason)
        return found | {one.offer_id: [Reason.LATE, *found.get(one.offer_id, [])] for one in late}
