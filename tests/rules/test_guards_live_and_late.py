"""Whoever reads the logs live and whoever catches up with them decide the same, the guards included.

A checkout producer is broken for longer than checkout_silence and keeps its checkouts back. When it is mended, new ones
come, and those kept back come between them, within lateness. Read live, record by record, the clock shows the silence.
Read late, in batches of any size, both its ends may be in one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from support import guarded_instance
from support.guarded_instance import BEGIN, LATER
from support.strategies import START, examples

from consumer.audit.decision import fates
from consumer.core.checkpoint import Position
from consumer.core.guards import Guards, SuspendedBy
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented, Reason

SILENCE = 80
"""Shorter than the window, so that a silence is noticed before an offer of that time is due."""

RULES = replace(guarded_instance.RULES, checkout_silence=SILENCE)

STEP = 10
"""Between two offers that somebody is shown in any case: a silence without offers is a quiet night."""

END = 1_000


class Written(NamedTuple):
    """A record, and when it is written (both relative to START)."""

    at: int
    event: OfferPresented | CheckoutCompleted


class Shop(NamedTuple):
    """Both logs of each task, in the order in which they are written. `broken`: when the checkouts are kept back."""

    logs: list[tuple[list[Written], list[Written]]]
    broken: range

    def __repr__(self) -> str:
        records = [w for pair in self.logs for log in pair for w in log]
        drawn = [w for w in records if not w.event.session_id.startswith(("passer-by", "buyer"))]
        return f"Shop(broken={self.broken}, {drawn})"

    @property
    def truth(self) -> dict[str, Reason]:
        """What becomes of each offer, by the reference."""
        offers = [w.event for log, _ in self.logs for w in log if isinstance(w.event, OfferPresented)]
        checkouts = [w.event for _, log in self.logs for w in log if isinstance(w.event, CheckoutCompleted)]
        told: dict[str, Reason] = {}
        for session in {o.session_id for o in offers}:
            of_session = [o for o in offers if o.session_id == session]
            done = [c for c in checkouts if c.session_id == session]
            told.update((fate.offer_id, fate.reason) for fate in fates(of_session, done, RULES))
        return told


LAGS = st.integers(0, RULES.lateness)


@st.composite
def shops(draw: Callable[..., Any], *, noticed_in_time: bool) -> Shop:
    """`noticed_in_time`: no offer that was bought in the silence was shown before it: it would be due before the
    silence is as long as checkout_silence, and no guard can hold what is due before that."""
    count = draw(st.integers(1, 2))
    begin = draw(st.integers(150, 400))
    broken = range(begin, begin + draw(st.integers(2 * SILENCE, 600)))
    shown: list[list[tuple[int, str, int]]] = [[] for _ in range(count)]
    done: list[list[tuple[int, str, int, bool]]] = [[] for _ in range(count)]
    alone = draw(st.booleans())  # one task has all the others' checkouts, and the other is quiet
    for at in range(0, END, STEP):
        shown[at // STEP % count].append((at + draw(LAGS), f"passer-by{at}", at))
        if at not in broken:
            done[0 if alone else at // STEP // 3 % count].append((at + draw(LAGS), f"buyer{at}", at, False))
    again = [broken.stop + draw(LAGS) for _ in range(count)]
    moments = st.one_of(st.integers(0, END), st.integers(broken.start - 20, broken.stop))
    for number in range(draw(st.integers(1, 12))):
        task, at = draw(st.integers(0, count - 1)), draw(moments)
        shown[task].append((at + draw(LAGS), f"s{number}", at))
        completed = at + draw(st.integers(0, RULES.window))
        if completed not in broken:
            done[task].append((completed + draw(LAGS), f"s{number}", completed, draw(st.booleans())))
        elif not (noticed_in_time and at < broken.start):
            written = again[task] + draw(st.integers(1, RULES.lateness))
            done[task].append((written, f"s{number}", completed, draw(st.booleans())))
    for task in range(count):
        done[task].append((again[task], f"first again{task}", broken.stop, False))
        done[task].append((END, f"end{task}", END, False))
    return Shop([(_offers(shown[task]), _checkouts(done[task])) for task in range(count)], broken)


def _offers(shown: list[tuple[int, str, int]]) -> list[Written]:
    return [
        Written(at, OfferPresented(session, "ada", f"o-{session}", START + presented, offset))
        for offset, (at, session, presented) in enumerate(sorted(shown))
    ]


def _checkouts(done: list[tuple[int, str, int, bool]]) -> list[Written]:
    return [
        Written(at, CheckoutCompleted(session, f"c{offset}", START + time, offset, (f"o-{session}",) if bought else ()))
        for offset, (at, session, time, bought) in enumerate(sorted(done))
    ]


class Reader:
    """An instance that reads the logs: some records, then a turn of the loop."""

    def __init__(self, shop: Shop, rules: DecisionRules = RULES, unmatched_limit: int = 0) -> None:
        self.shop, self.rules, self.unmatched_limit = shop, rules, unmatched_limit
        self.told: dict[str, Reason] = {}
        self.suspended: set[SuspendedBy] = set()
        self.at = [[0, 0] for _ in shop.logs]
        self._begin([(BEGIN, BEGIN)] * len(shop.logs))

    def _begin(self, committed: list[tuple[Position, Position]]) -> None:
        self.tasks = [
            Task(self.rules, partitions=len(committed), offers=offers, checkouts=checkouts)
            for offers, checkouts in committed
        ]
        silence, lateness = self.rules.checkout_silence, self.rules.lateness
        self.guards = Guards(checkout_silence=silence, unmatched_limit=self.unmatched_limit, lateness=lateness)

    def restart(self) -> None:
        """Commit, end, begin again from there, and read again what had been read."""
        plans = [task.prepare_commit() for task in self.tasks]
        if any(plan is None for plan in plans):
            return
        self._begin([(plan.offers, plan.checkouts) for plan in plans if plan is not None])
        for number, plan in enumerate(plans):
            assert plan is not None
            until, self.at[number] = self.at[number], [plan.offers.offset, plan.checkouts.offset]
            for side in Side:
                self.read(number, side, until[side] - self.at[number][side])
            assert not self.tasks[number].restoring

    def read(self, number: int, side: Side, count: int) -> None:
        """So many more records of an input."""
        at, log, task = self.at[number], self.shop.logs[number][side], self.tasks[number]
        for written in log[at[side] : at[side] + count]:
            match written.event:
                case OfferPresented(presented_at=time) as shown:
                    task.offer(shown, time, LATER)
                case CheckoutCompleted() as c:
                    again = CheckoutCompleted(c.session_id, c.checkout_id, c.completed_at, c.offset, c.purchased)
                    task.checkout(again, c.completed_at, LATER)
            at[side] += 1

    def read_to_end(self) -> bool:
        return all(at == [len(log) for log in logs] for at, logs in zip(self.at, self.shop.logs, strict=True))

    def idle(self, clock: int) -> None:
        """All that is written is read, at this time."""
        for task in self.tasks:
            for side in Side:
                task.idle(side, START + clock)

    def turn(self) -> None:
        self.guards.judge(self.tasks)
        self.suspended.add(self.guards.suspended_by)
        for task in self.tasks:
            if self.guards.lets_decide(task):
                for chain in task.decide():
                    assert self.told.setdefault(chain.offer_id, chain.reason) is chain.reason
                    task.settle(chain)

    def finish(self) -> None:
        self.idle(10 * END)
        self.turn()


def read_live(shop: Shop, restarts: list[int], reader: Reader | None = None) -> Reader:
    """Record by record as they are written, with the clock at each."""
    reader = reader or Reader(shop)
    for clock in sorted({w.at for logs in shop.logs for log in logs for w in log}):
        for number, logs in enumerate(shop.logs):
            for side in Side:
                written = sum(w.at <= clock for w in logs[side])
                reader.read(number, side, written - reader.at[number][side])
        if clock in restarts:
            reader.restart()
        reader.idle(clock)
        reader.turn()
    reader.finish()
    return reader


def read_late(shop: Shop, batches: list[tuple[int, Side, int, bool]], reader: Reader | None = None) -> Reader:
    """In batches of any size, after all was written."""
    reader = reader or Reader(shop)
    at = 0
    while not reader.read_to_end():
        number, side, count, restarts = batches[at % len(batches)]
        reader.read(number % len(shop.logs), side, count)
        if restarts:
            reader.restart()
        if at % len(batches) == len(batches) - 1:  # so that it ends, whatever is drawn
            for number in range(len(shop.logs)):
                for side in Side:
                    reader.read(number, side, 1)
        reader.turn()
        at += 1
    reader.finish()
    return reader


BATCHES = st.lists(
    st.tuples(
        st.integers(0, 1), st.sampled_from(Side), st.integers(1, 60), st.sampled_from((False, False, False, True))
    ),
    min_size=1,
    max_size=8,
)
RESTARTS = st.lists(st.integers(0, END), max_size=6)


@examples(150)
@given(shops(noticed_in_time=True), RESTARTS, BATCHES)
def test_a_silence_that_is_read_late_is_waited_for_as_one_that_is_read_live(
    shop: Shop, restarts: list[int], batches: list[tuple[int, Side, int, bool]]
) -> None:
    live, late = read_live(shop, restarts), read_late(shop, batches)
    assert SuspendedBy.SILENCE in live.suspended, "no silence: this shows nothing"
    assert late.told == live.told == shop.truth


@examples(150)
@given(shops(noticed_in_time=False), BATCHES)
def test_who_catches_up_makes_no_false_call_where_one_that_reads_along_may(
    shop: Shop, batches: list[tuple[int, Side, int, bool]]
) -> None:
    assert read_late(shop, batches).told == shop.truth


# --- purchased ids that name no offer

NO_SILENCE = guarded_instance.RULES


@st.composite
def shops_with_booking_ids(draw: Callable[..., Any]) -> Shop:
    """One task: each checkout names the offer of its session, or an id of something else, in its time or any other."""
    shown: list[tuple[int, str, int]] = []
    done: list[tuple[int, CheckoutCompleted]] = []
    for number in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, 300))
        shown.append((at + draw(LAGS), f"s{number}", at))
        for again in range(draw(st.integers(0, 3))):
            completed = at + draw(st.sampled_from((0, 1, 9, 10, 11, 50, 100, 101, 110, 111, 300, 400, 411)))
            named = draw(st.sampled_from((f"o-s{number}", f"booking{number}-{again}")))
            written = completed + draw(LAGS)
            done.append((written, CheckoutCompleted(f"s{number}", "c", START + completed, 0, (named,))))
    done.sort(key=lambda written: written[0])
    checkouts = [
        Written(at, CheckoutCompleted(c.session_id, f"c{offset}", c.completed_at, offset, c.purchased))
        for offset, (at, c) in enumerate(done)
    ]
    return Shop([(_offers(shown), checkouts)], range(0))


@examples(400)
@given(shops_with_booking_ids(), st.sampled_from((NO_SILENCE, replace(NO_SILENCE, call_abandoned=False))), BATCHES)
def test_the_row_of_ids_that_match_nothing_is_as_long_late_as_it_is_live(
    shop: Shop, rules: DecisionRules, batches: list[tuple[int, Side, int, bool]]
) -> None:
    batches = [(*batch[:3], False) for batch in batches]
    readers = [Reader(shop, rules, unmatched_limit=3) for _ in range(2)]
    live, late = read_live(shop, [], readers[0]), read_late(shop, batches, readers[1])
    assert late.guards.suspended_by is live.guards.suspended_by
    assert late.guards.unmatched == live.guards.unmatched
    if live.guards.suspended_by is SuspendedBy.NONE:
        assert late.told == live.told
