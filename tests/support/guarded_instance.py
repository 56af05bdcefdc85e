"""One instance: its tasks, and the guards over them."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

from support.strategies import START

from consumer.core.checkpoint import Position
from consumer.core.guards import Guards
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)

SILENCE = 150

LIMIT = 3

LATER = START + 10**6

BEGIN = Position(0)


class Instance:
    """Some tasks of one instance with the guards over them. Times are relative to START. `now`: the wall clock (ms)."""

    def __init__(self, count: int = 1, *, silence: int = SILENCE, limit: int = LIMIT) -> None:
        rules = replace(RULES, checkout_silence=silence)
        self.tasks = [Task(rules, partitions=count, offers=BEGIN, checkouts=BEGIN) for _ in range(count)]
        self.guards = Guards(checkout_silence=silence, unmatched_limit=limit, lateness=RULES.lateness)
        self.logs: list[tuple[list[tuple[OfferPresented, int]], list[tuple[CheckoutCompleted, int]]]]
        self.logs = [([], []) for _ in range(count)]
        self.now = LATER

    def offer(self, time: int, offer_id: str | None = None, *, task: int = 0, session: str = "s") -> None:
        log = self.logs[task][0]
        log.append((OfferPresented(session, "ada", offer_id or f"o{len(log)}", START + time, len(log)), START + time))
        self.tasks[task].offer(*log[-1], self.now)

    def checkout(self, time: int, *bought: str, task: int = 0, session: str = "s", stamp: int | None = None) -> None:
        log = self.logs[task][1]
        event = CheckoutCompleted(session, f"c{len(log)}", START + time, len(log), bought)
        log.append((event, START + (time if stamp is None else stamp)))
        self.tasks[task].checkout(copy(event), log[-1][1], self.now)

    def idle(self, time: int, *inputs: Side) -> None:
        """As whoever has read along: there is no gap of lookback in what is known of an input."""
        for task in self.tasks:
            for source in inputs or tuple(Side):
                read_to = task.watermarks.of(source).read_to
                if read_to > MIN_TIME:
                    for at in range(read_to + RULES.lookback, START + time, RULES.lookback):
                        task.idle(source, at)
                task.idle(source, START + time)

    def turn(self) -> list[str]:
        """What is decided in one turn, as offer ids."""
        self.guards.judge(self.tasks)
        return [c.offer_id for t in self.tasks if self.guards.lets_decide(t) for c in t.decide()]

    def restart(self, *, silence: int = SILENCE) -> None:
        """Commit all tasks, start them again from there, and read again what had been read."""
        plans = [task.prepare_commit() for task in self.tasks]
        self.guards = Guards(checkout_silence=silence, unmatched_limit=LIMIT, lateness=RULES.lateness)
        for number, (plan, (offers, checkouts)) in enumerate(zip(plans, self.logs, strict=True)):
            assert plan is not None
            rules = replace(RULES, checkout_silence=silence)
            task = Task(rules, partitions=len(plans), offers=plan.offers, checkouts=plan.checkouts)
            for checkout, stamp in checkouts[plan.checkouts.offset :]:
                task.checkout(copy(checkout), stamp, LATER)
            for offer, stamp in offers[plan.offers.offset :]:
                task.offer(offer, stamp, LATER)
            assert not task.restoring
            self.tasks[number] = task
