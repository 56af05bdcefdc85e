"""What Hypothesis draws: two logs of one task, and a schedule of what happens to the task that reads them.

Times are few and small, so that events meet at the exact ends of windows all the time; every event is placed relative
to an earlier one, at one of the distances that the rules name, or one millisecond beside it. The arrival order in each
log keeps the lateness bound unless a test asks for late presentations or overdue checkouts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from consumer.core.checkpoint import each_of
from consumer.core.rules import DecisionRules
from consumer.events import MOST_ELEMENTS, CheckoutCompleted, OfferAmongSeveral, OfferPresented

THOROUGH = {"quick": 1, "thorough": 40}[os.environ.get("HYPOTHESIS_PROFILE", "quick")]
"""How many times the examples of a quick run are made: set HYPOTHESIS_PROFILE=thorough for a long search."""

START = 1_000_000
"""The time of the first event, in ms; far enough from zero that every distance before it stays positive."""

FAR = 10**12
"""A date that no clock of a test comes to: what a producer writes whose clock, or unit of time, is wrong."""

LONG_AGO = 1_000
"""A date before every other: a record stamped in seconds instead of milliseconds."""

OFFERS = (("s1", "ada", "o1"), ("s1", "bob", "o1"), ("s1", "ada", "o2"), ("s2", "ada", "o3"), ("s2", "bob", "o4"))
"""Session, partner, offer. Two partners share an offer id: buying it buys both."""

SESSIONS = {"s1": ("o1", "o2", "x1"), "s2": ("o3", "o4", "x2")}
"""The ids that a checkout of the session may name; the last of each names no offer."""


def examples(count: int) -> settings:
    """The settings of a property: `count` examples in a quick run. Not timed: a loaded machine must not fail it."""
    return settings(
        max_examples=count * THOROUGH,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


class Garbage(NamedTuple):
    """A record that cannot be decoded; its key still names the session."""

    session_id: str


class Record(NamedTuple):
    """One record of a log. `event` is None for a tombstone, a `Garbage` for what cannot be decoded. `happened` is when
    it really did, where neither the event nor the record tells. `overdue`: it may come after lateness has passed, and
    no watermark waits for it. `stale`: a checkout that comes in time, dated and stamped by a clock that is far
    behind. `others`: the presentations behind the first, of a record that holds several."""

    offset: int
    timestamp: int
    event: OfferPresented | CheckoutCompleted | Garbage | None
    happened: int | None = None
    overdue: bool = False
    stale: bool = False
    others: tuple[OfferPresented, ...] = ()

    @property
    def shown(self) -> tuple[OfferPresented, ...]:
        """The presentations that it holds."""
        return (self.event, *self.others) if isinstance(self.event, OfferPresented) else ()

    @property
    def true_time(self) -> int:
        """When it happened, or was stamped."""
        return self.timestamp if self.happened is None else self.happened


@dataclass(frozen=True)
class Logs:
    """The two partitions of one task, whole, and the rules they are read by. `each`: as `core.task.Task` takes it."""

    rules: DecisionRules
    offers: list[Record] = field(default_factory=list)
    checkouts: list[Record] = field(default_factory=list)
    each: str = ""

    @property
    def presentations(self) -> list[OfferPresented]:
        return [shown for r in self.offers for shown in r.shown]

    @property
    def completed(self) -> list[CheckoutCompleted]:
        return [r.event for r in self.checkouts if isinstance(r.event, CheckoutCompleted)]

    @property
    def end_of_time(self) -> int:
        """A wall clock (ms) at which everything is over."""
        rules = self.rules
        newest = max([r.true_time + rules.max_skew for r in (*self.offers, *self.checkouts)], default=START)
        return newest + rules.window + rules.checkout_grace + rules.lookback + 2 * rules.lateness + 10

    def __repr__(self) -> str:
        r = self.rules
        lines = [f"Rules(window={r.window}, grace={r.checkout_grace}, lookback={r.lookback}, lateness={r.lateness})"]
        for name, log in (("offers", self.offers), ("checkouts", self.checkouts)):
            lines.append(f"  {name}:")
            lines += [f"    {_describe(record)}" for record in log]
        return "\n".join(lines)


def _describe(record: Record) -> str:
    event, at = record.event, f"@{record.offset}"
    if isinstance(event, OfferPresented):
        what = f"{event.session_id} {event.partner_code}/{event.offer_id} shown at {event.presented_at - START:+d}"
        what += "".join(f", {other.partner_code}/{other.offer_id}" for other in record.others)
        late = record.timestamp - event.presented_at
    elif isinstance(event, CheckoutCompleted):
        what = f"{event.session_id} {event.checkout_id} at {event.completed_at - START:+d} bought {event.purchased}"
        what += f" really at {record.true_time - START:+d}" if record.happened is not None else ""
        what += " overdue" if record.overdue else ""
        late = record.timestamp - event.completed_at
    else:
        stamped = f"{record.timestamp - START:+d}, really {record.true_time - START:+d}"
        return f"{at} {'tombstone' if event is None else event} stamped {stamped}"
    return f"{at} {what}" + (f" (record {late:+d})" if late else "")


class _Draft(NamedTuple):
    """One event as drawn, by small numbers: see `build`."""

    is_checkout: bool
    who: int
    anchor: int
    distance: int
    nudge: int
    lag: int
    gap: int
    skew: int
    bought: int


_DRAFTS = st.builds(
    _Draft,
    is_checkout=st.booleans(),
    who=st.integers(0, len(OFFERS) - 1),
    anchor=st.integers(0, 3),
    distance=st.integers(-6, 9),
    nudge=st.sampled_from((0, 0, 0, 1, -1, 2)),
    lag=st.integers(0, 4),
    gap=st.sampled_from((0, 0, 0, 1, 3)),
    skew=st.sampled_from((0, 0, 0, 0, 1, 6, -2, 95, 96, 97, 98, 99)),
    bought=st.integers(0, 7),
)


UNITS = st.sampled_from((1, 700, 3000))
"""Milliseconds in a unit of the small scale: stretched, so that times also fall into different seconds."""


@st.composite
def rules_drawn(draw: Callable[..., Any], unit: int) -> DecisionRules:
    """Rules on a small scale of time."""
    window = draw(st.sampled_from((10, 10, 6)))
    return DecisionRules(
        window=window * unit,
        checkout_grace=draw(st.integers(2, window)) * unit,
        lookback=draw(st.sampled_from((window, window + 2, 20, 40))) * unit,
        lateness=draw(st.integers(0, 8)) * unit,
        max_skew=draw(st.sampled_from((3, 1000))) * unit,
        call_abandoned=draw(st.sampled_from((True, True, True, False))),
    )


@st.composite
def logs(
    draw: Callable[..., Any],
    *,
    size: int = 16,
    late: bool = False,
    garbage: bool = False,
    tainted: bool = False,
    overdue: bool = False,
    several: bool = False,
) -> Logs:
    """Two logs of up to `size` events; `late`: presentations may come after the lateness has passed; `garbage`: among
    the offers are records that cannot be decoded, tombstones, and presentations dated too far ahead or behind, and
    among the checkouts are some whose date, record's timestamp or both are far off; `tainted`: among the checkouts are
    some that cannot be decoded; `overdue`: checkouts may come after the lateness has passed; `several`: in a third
    of them an offer record holds one to five presentations."""
    unit = draw(UNITS)
    rules = draw(rules_drawn(unit))
    count = draw(st.integers(1, size))  # drawn by itself, since a list alone tends to be short
    drafts = draw(st.lists(_DRAFTS, min_size=count, max_size=count))
    if not garbage:
        drafts = [draft._replace(skew=min(draft.skew, 6)) for draft in drafts]
    if draw(st.booleans()):  # one offer only: long chains, and purchases that meet them
        drafts = [draft._replace(who=0) for draft in drafts]
    rubbish = draw(st.lists(st.tuples(st.integers(0, size), st.booleans()), max_size=2)) if garbage else []
    delays = draw(st.lists(st.sampled_from((0, 0, 1, 2, 3)), min_size=count, max_size=count)) if overdue else ()
    built = build(rules, unit, drafts, late=late, rubbish=rubbish, tainted=tainted, delays=delays)
    if not (several and draw(st.sampled_from((False, False, True)))):
        return built
    return shown_at_once(built, draw(st.binary(min_size=len(built.offers), max_size=len(built.offers))))


EACH = each_of("offers")
"""What a commit says where a record may hold several presentations; see `OfferCheckpoint.each`."""


def shown_at_once(logs: Logs, more: Iterable[int]) -> Logs:
    """The same logs, but that other offers of the session stand beside those in their records: `more` says which, by a
    number 0-255 a record. The same offer may stand in it twice."""
    return replace(logs, offers=[_with_others(r, byte) for r, byte in zip(logs.offers, more, strict=True)], each=EACH)


def _with_others(record: Record, byte: int) -> Record:
    event = record.event
    if not isinstance(event, OfferPresented):
        return record
    of_session = [(partner, offer) for session, partner, offer in OFFERS if session == event.session_id]
    count, first, step = byte % 5, byte // 5, 1 + byte % 3
    chosen = [(event.partner_code, event.offer_id)]
    chosen += [of_session[(first + step * number) % len(of_session)] for number in range(count)]
    begin = record.offset * MOST_ELEMENTS
    shown = [
        OfferAmongSeveral(event.session_id, partner, offer, event.presented_at, begin + place)
        for place, (partner, offer) in enumerate(chosen)
    ]
    return record._replace(event=shown[0], others=tuple(shown[1:]))


def build(
    rules: DecisionRules,
    unit: int,
    drafts: Iterable[_Draft],
    *,
    late: bool,
    rubbish: Iterable[tuple[int, bool]] = (),
    tainted: bool = False,
    delays: Sequence[int] = (),
) -> Logs:
    """The logs that the drafts stand for. `delays` says of each draft how overdue it is, if it is a checkout."""
    window, grace, lookback = rules.window, rules.checkout_grace, rules.lookback
    distances = (0, unit, 3 * unit, grace, window, lookback, window + grace, lookback + window, 60 * unit, 2 * lookback)
    times: list[int] = [START]
    overdue: set[int] = set()
    arrivals: tuple[list[tuple[int, int, _Draft, int]], ...] = ([], [])
    for number, draft in enumerate(drafts):
        distance = distances[abs(draft.distance)] * (1 if draft.distance >= 0 else -1)
        time = times[-1 - min(draft.anchor, len(times) - 1)] + distance + draft.nudge
        times.append(time)
        most = rules.lateness
        if late and not draft.is_checkout and draft.bought > 4:
            most += (window + grace, window + grace + lookback, 200 * unit)[draft.bought - 5]
        arrival = time + most * draft.lag // 4
        if draft.is_checkout and delays and delays[number]:
            overdue.add(number)
            arrival += (3 * unit, window, window + grace + lookback)[delays[number] - 1]
        arrivals[draft.is_checkout].append((arrival, number, draft, time))
    return Logs(
        rules,
        _log(sorted(arrivals[0]), rules, unit, rubbish),
        _log(sorted(arrivals[1]), rules, unit, (), tainted, overdue),
    )


def _log(
    arrivals: list[tuple[int, int, _Draft, int]],
    rules: DecisionRules,
    unit: int,
    rubbish: Iterable[tuple[int, bool]],
    tainted: bool = False,
    overdue: Collection[int] = (),
) -> list[Record]:
    unreadable = dict(rubbish)
    log: list[Record] = []
    offset = 0
    for place, (_, number, draft, time) in enumerate(arrivals):
        if place in unreadable:
            log.append(Record(offset, time, Garbage("s1") if unreadable[place] else None))
            offset += 1
        offset += draft.gap
        session, partner, offer = OFFERS[draft.who]
        event: OfferPresented | CheckoutCompleted | Garbage
        ahead, behind, stale = draft.skew >= 97, draft.skew == 96, draft.skew == 95 and draft.is_checkout
        # What cannot be read or believed is stamped with its own time, which nobody else then knows; or even that is
        # wrong, and only the order in the log is left.
        stamp = (
            time
            if draft.skew >= 95 or (draft.is_checkout and tainted and draft.bought == 7)
            else time + draft.skew * unit
        )
        if draft.is_checkout:
            stamp = {98: FAR, 97: LONG_AGO, 95: time - 3 * rules.lookback}.get(draft.skew, stamp)
        if draft.is_checkout and tainted and draft.bought == 7:
            event = Garbage(session)
        elif draft.is_checkout:
            bought = tuple(offer_id for bit, offer_id in enumerate(SESSIONS[session]) if draft.bought >> bit & 1)
            dated = {99: time + rules.max_skew + 1, 98: FAR, 96: time - rules.lookback - 1, 95: stamp}.get(
                draft.skew, time
            )
            event = CheckoutCompleted(session, f"c{number}", dated, offset, bought)
        else:
            dated = time + rules.max_skew + 1 if ahead else time - rules.lookback - 1 if behind else time
            event = OfferPresented(session, partner, offer, dated, offset)
        happened = time if behind or stale or stamp in (FAR, LONG_AGO) else None
        log.append(Record(offset, stamp, event, happened, number in overdue, stale))
        offset += 1
    return log


STEPS = (
    ("nothing",)
    + ("read",) * 9
    + ("decide",) * 5
    + ("settle",) * 4
    + ("acknowledge",) * 2
    + ("commit",) * 4
    + ("end",) * 1
    + ("idle",) * 5
    + ("crash",) * 1
)
"""What may happen to a task, as often as it should among 32 steps."""


class Step(NamedTuple):
    """One thing that happens to the task, and a number 0-7 to choose within it."""

    what: str
    choice: int = 0


@st.composite
def schedules(draw: Callable[..., Any], *, most: int = 150) -> list[Step]:
    """Step by step, what happens to the task: `TaskWorld.step` does it. A byte each, since that draws fast."""
    size = draw(st.integers(0, most))
    return [Step(STEPS[byte >> 3], byte & 7) for byte in draw(st.binary(min_size=size, max_size=size))]


CHANGES = st.lists(st.tuples(*[st.sampled_from((0, 0, -8, -4, 3, 10, 30))] * 3, st.booleans()), min_size=1, max_size=4)
