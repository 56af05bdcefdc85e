"""The steps of a task's life by hand, for one example a rule: its logs, and what it reads, settles and decided."""

from __future__ import annotations

from support.strategies import START, Record
from support.task_world import TaskWorld

from consumer.core.rules import DecisionRules
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented, Reason

# Times in seconds and more, since what is held may be rounded to about a second.
S = 1000

RULES = DecisionRules(window=100 * S, checkout_grace=10 * S, lookback=300 * S, lateness=5 * S, max_skew=10_000 * S)

Shown = tuple[int, int, str]


def offer_log(*shown: Shown) -> list[Record]:
    """(offset, seconds, offer id)."""
    return [
        Record(offset, START + time * S, OfferPresented("s1", "ada", offer, START + time * S, offset))
        for offset, time, offer in shown
    ]


def checkout_log(*done: Shown) -> list[Record]:
    """(offset, seconds, what it bought)."""
    return [
        Record(n, START + time * S, CheckoutCompleted("s1", f"c{n}", START + time * S, n, tuple(bought.split())))
        for n, time, bought in done
    ]


def read_all(world: TaskWorld) -> None:
    for side in Side:
        while world.read(side):
            pass


def pass_time(world: TaskWorld, seconds: int) -> None:
    """Both inputs are idle until W has reached START + seconds; then what is due is decided."""
    for side in Side:
        clock = START + seconds * S + RULES.lateness + 1
        world.task.idle(side, clock)
        world._reach(side, clock)
    world.decide()


def settle(world: TaskWorld, offer_id: str) -> None:
    world.settle(next(i for i, chain in enumerate(world.in_flight) if chain.offer_id == offer_id))


def reasons(world: TaskWorld, life: int) -> list[tuple[str, Reason]]:
    return sorted((d.fate.offer_id, d.fate.reason) for d in world.decisions if d.life == life)


def finish(world: TaskWorld) -> None:
    world.finish()
    world.check_all_told()
