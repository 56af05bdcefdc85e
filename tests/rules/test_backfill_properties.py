"""A task that reads a log from where a range asks for it settles the chains that the reference decision puts there."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.chain_begins import is_begin_unknown
from support.strategies import START, Logs, Record, examples, logs

from consumer.audit.decision import Fate, fates
from consumer.backfill.mode import BackfillMode
from consumer.backfill.scope import BackfillScope, EventTimeRange, OffsetRange, Range
from consumer.core.admission import Admission
from consumer.core.checkpoint import Position
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented

Name = tuple[str, str, str, int, int, int, str]


def name_of(fate: Fate) -> Name:
    return *fate[:3], fate.begin, fate.last, fate.decide_at, fate.reason.value


class RangeOfTask:
    """One task of a backfill, read as `StartOffsets` and `Log` would have it."""

    def __init__(self, drawn: Logs, scope: BackfillScope) -> None:
        rules, self.scope = drawn.rules, scope
        self.mode = BackfillMode(("offers", "checkouts"), scope, None)
        offers_from = scope.begin - rules.max_skew
        checkouts_from = offers_from - rules.lookback - rules.lateness - rules.max_skew
        self.logs = self._from(drawn.offers, offers_from), self._from(drawn.checkouts, checkouts_from)
        skipped = len(self.logs[1]) < len(drawn.checkouts)
        starts = [log[0].offset if log else 10**6 for log in self.logs]
        self.task = Task(
            rules,
            partitions=1,
            offers=Position(starts[0]),
            checkouts=Position(starts[1]),
            horizon=checkouts_from + rules.max_skew if skipped else None,
        )
        # A range may lie behind all events: its end has to be over, too.
        self.now = max(drawn.end_of_time, scope.done_at(0) + rules.lateness + 1)
        self.settled: list[Name] = []
        self.passed_over = 0
        self.given_up: list[OfferPresented] = []

    @staticmethod
    def _from(log: list[Record], stamp: int) -> list[Record]:
        first = next((number for number, record in enumerate(log) if record.timestamp >= stamp), len(log))
        return log[first:]

    def read(self, side: Side, record: Record) -> None:
        event: Any = record.event
        if side is Side.CHECKOUTS:
            self.task.checkout(event, record.timestamp, self.now)
        elif (admission := self.task.offer(event, record.timestamp, self.now)) is not Admission.ACCEPTED:
            self.task.give_up(record.offset, admission)
            self.task.acknowledged(record.offset)
            self.given_up.append(event)

    def decide(self) -> None:
        for chain in self.task.decide():
            if self.mode.settles(0, chain):
                last = chain.last
                whose = last.session_id, last.partner_code, last.offer_id
                self.settled.append((*whose, chain.begin, last.presented_at, chain.decide_at, chain.reason.value))
            else:
                self.passed_over += 1
            self.task.settle(chain)

    def run(self, order: bytes) -> None:
        waiting = [list(log) for log in self.logs]
        for byte in order:
            side = Side(byte & 1)
            for _ in range(1 + (byte >> 6)):
                if waiting[side]:
                    self.read(side, waiting[side].pop(0))
            if byte & 6:
                self.decide()
        for side in Side:
            for record in waiting[side]:
                self.read(side, record)
            self.task.idle(side, self.now)
        self.decide()


def expected(run: RangeOfTask, offers: list[OfferPresented], checkouts: list[CheckoutCompleted]) -> set[Name]:
    found = fates(offers, checkouts, run.scope.rules)
    by_offset = {shown.offset: shown for shown in offers}

    def last(fate: Fate) -> OfferPresented:
        # Of those of one time the one that stands first in the log.
        return max(
            (by_offset[offset] for offset in fate.offsets), key=lambda shown: (shown.presented_at, -shown.offset)
        )

    return {name_of(fate) for fate in found if run.scope.range.contains(0, last(fate))}


def check(drawn: Logs, scope: BackfillScope, order: bytes) -> int:
    """Returns of how many offers the beginning is not known."""
    run = RangeOfTask(drawn, scope)
    run.run(order)
    assert run.mode.is_done(0, run.task)
    assert len(run.settled) == len(set(run.settled))
    in_view = [r.event for r in run.logs[0] if isinstance(r.event, OfferPresented)]
    assert not [shown for shown in run.given_up if scope.range.contains(0, shown)], "nothing of the range is late"
    view = expected(run, in_view, drawn.completed)
    whole = expected(run, drawn.presentations, drawn.completed)
    times = defaultdict(list)
    for shown in drawn.presentations:
        times[shown.session_id, shown.partner_code, shown.offer_id].append(shown.presented_at)
    unknown = {name for name, shown_at in times.items() if is_begin_unknown(shown_at, drawn.rules, scope.begin)}
    assert {name for name in view ^ whole if name[:3] not in unknown} == set()
    assert {name for name in {*run.settled} ^ whole if name[:3] not in unknown} == set()
    return len(unknown)


@st.composite
def cuts(draw: Any, drawn: Logs) -> list[int]:
    """Three times, at those of events or beside them."""
    times = [shown.presented_at for shown in drawn.presentations] or [START]
    near = st.builds(lambda at, nudge: at + nudge, st.sampled_from(times), st.sampled_from((0, 0, 1, -1, 40, -3_000)))
    return sorted(draw(st.sets(near, min_size=2, max_size=3)))


@examples(250)
@given(st.data(), logs(), st.binary(max_size=60))
def test_ranges_of_times_settle_each_chain_once(data: st.DataObject, drawn: Logs, order: bytes) -> None:
    for begin, end in pairwise(data.draw(cuts(drawn))):
        check(drawn, BackfillScope(EventTimeRange(begin, end), drawn.rules), order)


@examples(150)
@given(st.data(), logs(), st.binary(max_size=60))
def test_ranges_of_offsets_settle_the_chains_whose_last_presentation_stands_there(
    data: st.DataObject, drawn: Logs, order: bytes
) -> None:
    ends = [record.offset for record in drawn.offers] or [0]
    begin, end = sorted(data.draw(st.tuples(*[st.sampled_from([*ends, ends[-1] + 1])] * 2)))
    times = [shown.presented_at for r in drawn.offers if begin <= r.offset < end for shown in r.shown]
    if times:
        bounds: Range = OffsetRange({0: begin}, {0: end}, min(times), {0: max(times) + 1})
        check(drawn, BackfillScope(bounds, drawn.rules), order)
