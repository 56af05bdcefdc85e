"""A checkout that is dated far behind buys what it names, and so does one whose record is stamped as wrongly.

Each kind of wrong date is read live, late, after a crash, before its offer and after it, beside producers that are
right and without any.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import pytest

from consumer.core.admission import Admission
from consumer.core.chain import Chain
from consumer.core.checkpoint import Position
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented, Reason

S = 1_000
M = 60 * S
H = 60 * M
T = 1_800_000_000 * S
"""When the offer is shown (ms)."""

RULES = DecisionRules(window=30 * M, checkout_grace=M, lookback=2 * H, lateness=5 * M, max_skew=5 * M)

BOUGHT = T + 10 * M

FAR_BEHIND: dict[str, Callable[[int], int]] = {
    "seconds": lambda at: at // 1_000,
    "minutes": lambda at: at // 60_000,
    "zero": lambda at: 0,
    "local time, UTC-5": lambda at: at - 5 * H,
    "local time, UTC-2:30": lambda at: at - 2 * H - 30 * M,
    "a clock that stands still for a day": lambda at: T - 24 * H,
}
"""Further behind than lookback."""

KINDS: dict[str, Callable[[int], int]] = {
    **FAR_BEHIND,
    "microseconds": lambda at: at * 1_000,
    "local time, UTC+2": lambda at: at + 2 * H,
    "local time, UTC-1": lambda at: at - H,
    "local time, UTC-2": lambda at: at - 2 * H,
    "a clock that stands still for an hour": lambda at: T - H,
}


def shown(at: int = T, offset: int = 0, offer: str = "o", session: str = "s") -> OfferPresented:
    return OfferPresented(session, "ada", offer, at, offset)


def bought(dated: int, offset: int, *names: str, session: str = "s") -> CheckoutCompleted:
    return CheckoutCompleted(session, f"c{offset}", dated, offset, names)


class MisdatingWorld:
    """One task and its logs; it may crash at any time. `healthy`: other producers of the topics are right."""

    def __init__(self, *, healthy: bool = True, rules: DecisionRules = RULES) -> None:
        self.healthy = healthy
        self.rules = rules
        self.logs: tuple[list[tuple[OfferPresented, int]], list[tuple[CheckoutCompleted, int]]] = ([], [])
        self.committed = Position(0), Position(0)
        self.start()

    def start(self) -> None:
        offers, checkouts = self.committed
        self.task = Task(self.rules, partitions=1, offers=offers, checkouts=checkouts)
        for side, position in zip(Side, self.committed, strict=True):
            for event, stamp in self.logs[side]:
                if event.offset >= position.offset:
                    self.apply(side, event, stamp, T + 3 * H)

    def apply(self, side: Side, event: OfferPresented | CheckoutCompleted, stamp: int, now: int) -> None:
        if isinstance(event, OfferPresented):
            assert self.task.offer(copy(event), stamp, now) is Admission.ACCEPTED
        else:
            self.task.checkout(copy(event), stamp, now)

    def end(self, side: Side) -> int:
        return len(self.logs[side])

    def show(self, at: int = T, *, offer: str = "o", session: str = "s") -> None:
        event = shown(at, self.end(Side.OFFERS), offer, session)
        self.logs[Side.OFFERS].append((event, at))
        self.apply(Side.OFFERS, event, at, at)

    def buy(self, dated: int, *names: str, stamp: int, now: int, session: str = "s") -> None:
        event = bought(dated, self.end(Side.CHECKOUTS), *names, session=session)
        self.logs[Side.CHECKOUTS].append((event, stamp))
        self.apply(Side.CHECKOUTS, event, stamp, now)

    def others(self, at: int) -> None:
        """Other sessions go on in both topics, if there are any."""
        if self.healthy:
            self.show(at, offer=f"x{at}", session=f"x{at}")
            self.buy(at, f"x{at}", stamp=at, now=at, session=f"x{at}")

    def idle(self, now: int) -> None:
        for side in Side:
            self.task.idle(side, now)

    def decide(self) -> list[Chain]:
        return [chain for chain in self.task.decide() if chain.offer_id == "o"]

    def commit(self) -> None:
        plan = self.task.prepare_commit()
        if plan is not None:
            self.committed = plan.offers, plan.checkouts
            self.task.commit_acknowledged(plan)

    def crash(self, rules: DecisionRules | None = None) -> None:
        """It starts anew, perhaps by other rules."""
        self.commit()
        self.rules = rules or self.rules
        self.start()


def is_bought(chains: list[Chain]) -> bool:
    (chain,) = chains
    return chain.reason is Reason.PURCHASED or chain.bought_by is not None


BESIDE = pytest.mark.parametrize("healthy", [True, False], ids=["beside right producers", "alone"])
KIND = pytest.mark.parametrize("kind", KINDS)
STAMPED = pytest.mark.parametrize("stamped", [True, False], ids=["stamped by the broker", "stamped as it is dated"])


def stamp_of(dated: int, at: int, *, stamped: bool) -> int:
    """Where the producer stamps, its clock may be as wrong as the date. A stamp in the future is another error."""
    return at if stamped or dated > at else dated


@KIND
@BESIDE
@STAMPED
def test_read_as_it_comes_it_buys(kind: str, healthy: bool, stamped: bool) -> None:
    world = MisdatingWorld(healthy=healthy)
    world.others(T - M)
    world.show()
    world.idle(T + M)
    assert world.decide() == []
    dated = KINDS[kind](BOUGHT)
    world.others(BOUGHT - S)
    world.buy(dated, "o", stamp=stamp_of(dated, BOUGHT, stamped=stamped), now=BOUGHT)
    assert world.decide() == []
    world.others(BOUGHT + M)
    assert world.decide() == []
    world.idle(T + 2 * H)
    assert is_bought(world.decide())


@KIND
@BESIDE
@STAMPED
def test_after_a_crash_it_still_buys(kind: str, healthy: bool, stamped: bool) -> None:
    world = MisdatingWorld(healthy=healthy)
    world.others(T - M)
    world.show()
    world.idle(T + M)
    world.decide()
    world.commit()
    dated = KINDS[kind](BOUGHT)
    world.buy(dated, "o", stamp=stamp_of(dated, BOUGHT, stamped=stamped), now=BOUGHT)
    for at in range(BOUGHT, BOUGHT + 20 * M, 5 * M):
        world.others(at)
        world.idle(at)
        assert world.decide() == []
        world.crash()
    world.idle(T + 2 * H)
    assert is_bought(world.decide())


@KIND
@STAMPED
@pytest.mark.parametrize("shown_first", [True, False], ids=["after its offer", "before its offer"])
@pytest.mark.parametrize("lookback", [2 * H, H])
def test_by_a_shorter_lookback_from_a_restart_on_it_still_buys(
    kind: str, stamped: bool, shown_first: bool, lookback: int
) -> None:
    world = MisdatingWorld(rules=replace(RULES, lookback=6 * H))
    world.others(T - M)
    if shown_first:
        world.show()
    world.idle(T + M)
    world.decide()
    world.others(BOUGHT - S)
    dated = KINDS[kind](BOUGHT)
    world.buy(dated, "o", stamp=stamp_of(dated, BOUGHT, stamped=stamped), now=BOUGHT)
    world.others(BOUGHT + S)
    world.decide()
    world.crash(replace(RULES, lookback=lookback))
    world.decide()
    if not shown_first:
        world.show()
    for at in range(BOUGHT + M, BOUGHT + 15 * M, 3 * M):
        world.others(at)
        assert world.decide() == []
    world.idle(T + 2 * H)
    assert is_bought(world.decide())


@KIND
@STAMPED
def test_read_before_its_offer_it_buys(kind: str, stamped: bool) -> None:
    world = MisdatingWorld()
    world.others(T - M)
    world.idle(T - M)
    world.others(BOUGHT - 2 * S)
    dated = KINDS[kind](BOUGHT)
    world.buy(dated, "o", stamp=stamp_of(dated, BOUGHT, stamped=stamped), now=BOUGHT)
    for _ in range(3):
        world.decide()
        world.crash()
    world.show()
    world.crash()
    world.idle(T + 2 * H)
    assert is_bought(world.decide())


@KIND
@STAMPED
def test_a_late_reader_finds_it_wherever_it_reads_first(kind: str, stamped: bool) -> None:
    for first in Side:
        world = MisdatingWorld()
        live = MisdatingWorld()
        live.others(T - 5 * H)
        live.show()
        dated = KINDS[kind](BOUGHT)
        live.others(T + M)
        live.buy(dated, "o", stamp=stamp_of(dated, BOUGHT, stamped=stamped), now=BOUGHT)
        live.others(BOUGHT + M)
        live.others(T + 4 * H)
        for side in (first, Side(1 - first)):
            for event, stamp in live.logs[side]:
                world.apply(side, event, stamp, T + 100 * H)
                world.decide() if side is first else None
        assert is_bought(world.decide())


@KIND
@STAMPED
@pytest.mark.parametrize("crashes", [0, 3])
def test_first_in_its_log_it_buys_what_is_shown_after(kind: str, stamped: bool, crashes: int) -> None:
    world = MisdatingWorld(healthy=False)
    dated = KINDS[kind](BOUGHT)
    world.buy(dated, "o", stamp=stamp_of(dated, BOUGHT, stamped=stamped), now=BOUGHT)
    world.decide()
    world.idle(BOUGHT + S)
    for _ in range(crashes):
        world.decide()
        world.crash()
    world.decide()
    world.show()
    for _ in range(crashes):
        world.crash()
        world.decide()
    world.idle(T + 2 * H)
    assert is_bought(world.decide())


@KIND
@STAMPED
@pytest.mark.parametrize("next_at", [BOUGHT + M, T + 100 * H], ids=["another comes next", "then the log ends"])
def test_a_late_reader_finds_it_at_the_head_of_a_log(kind: str, stamped: bool, next_at: int) -> None:
    world = MisdatingWorld(healthy=False)
    dated = KINDS[kind](BOUGHT)
    for offset, name in enumerate("ox"):
        event = bought(KINDS[kind](BOUGHT + offset), offset, name)
        world.apply(Side.CHECKOUTS, event, stamp_of(dated, BOUGHT, stamped=stamped), T + 100 * H)
    if next_at < T + H:
        world.apply(Side.CHECKOUTS, bought(next_at, 2, session="x"), next_at, T + 100 * H)
    world.task.idle(Side.CHECKOUTS, T + 100 * H)
    world.apply(Side.OFFERS, shown(T - M, 0, "x", "x"), T - M, T + 100 * H)
    assert world.decide() == []
    world.apply(Side.OFFERS, shown(T, 1), T, T + 100 * H)
    assert world.decide() == []
    world.task.idle(Side.OFFERS, T + 100 * H)
    assert is_bought(world.decide())


@pytest.mark.parametrize("behind", [10 * M, H, 2 * H])
def test_an_honest_backlog_declines_by_its_own_date(behind: int) -> None:
    world = MisdatingWorld()
    world.others(T - 3 * H)
    world.show()
    world.buy(BOUGHT, "another", stamp=BOUGHT + behind, now=BOUGHT + behind)
    world.others(BOUGHT + 7 * M)
    (chain,) = world.decide()
    assert (chain.reason, chain.decide_at) == (Reason.DECLINED, BOUGHT + M)


def test_one_that_is_dated_far_behind_ends_no_chain_sooner() -> None:
    world = MisdatingWorld()
    world.others(T - 3 * H)
    world.show()
    world.buy(T + M, "another", stamp=T + M + 2 * H + 1, now=T + M + 2 * H + 1)
    world.others(T + 40 * M)
    (chain,) = world.decide()
    assert (chain.reason, chain.decide_at) == (Reason.DECLINED, T + 30 * M)


@pytest.mark.parametrize("kind", FAR_BEHIND)
@pytest.mark.parametrize("has_run", [False, True], ids=["by a new group", "by a task that has run"])
def test_an_offer_dated_so_is_implausible(kind: str, has_run: bool) -> None:
    world = MisdatingWorld()
    if has_run:
        world.others(T - M)
        world.idle(T)
        world.decide()
    dated = KINDS[kind](T)
    assert world.task.would_refuse(shown(dated, 7), T, T)
    assert world.task.offer(shown(dated, 7), T, T) is Admission.IMPLAUSIBLE


@pytest.mark.parametrize("stamped", [True, False], ids=["stamped as it is dated", "without a stamp"])
@pytest.mark.parametrize("dated", [T // 1_000, T // 60_000, 0, -1, -(2**63)])
def test_no_offer_is_from_before_kafka_even_if_it_is_the_first_of_its_log(dated: int, stamped: bool) -> None:
    task = MisdatingWorld().task
    stamp = dated if stamped and dated >= 0 else -1
    assert task.would_refuse(shown(dated), stamp, T)
    assert task.offer(shown(dated), stamp, T) is Admission.IMPLAUSIBLE
    assert task.guard.first_offer == -(2**62)


def test_an_offer_dated_so_moves_no_watermark_and_is_no_silence() -> None:
    task = MisdatingWorld().task
    task.offer(shown(T // 1_000), T, T)
    assert task.watermarks.offers.value == task.guard.first_offer == -(2**62)


@pytest.mark.parametrize("behind", [10 * M, H, 2 * H])
def test_an_offer_of_an_honest_backlog_is_read(behind: int) -> None:
    assert MisdatingWorld().task.offer(shown(), T + behind, T + behind) is Admission.ACCEPTED
