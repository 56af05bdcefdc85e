"""The reference decision: the rules said a second time, as plainly as they can be.

It sorts all events and applies the rules one by one. It knows nothing of watermarks, commits or restarts, and shares
no code with the join that it judges. The property tests, the simulation, the demo and the torture run all go by it.

The rules, for the presentations of one offer in one session in the order of their times:

- first(r) is the earliest checkout of the session from presentation r to r + window, both ends included.
- decide_at(r) is first(r) + checkout_grace if there is one, else r + window.
- A presentation belongs to the chain of the one before if it is no later than that one's decide_at and no later than
  the chain's begin + lookback. Else it begins a chain. Equal times are one presentation.
- A chain is PURCHASED if a checkout names its offer between begin - lookback and the last decide_at. Else it is
  DECLINED if first(last) exists. Else it is ABANDONED.

The decision is one thing and the call another: no call leaves for an offer of which a purchase was read, whatever its
date. So of a chain that is decided to be called two fates are right, if a checkout names its offer outside of that time
(`may_withhold`): it is called, or it is told as PURCHASED by that checkout. And if a checkout of its session cannot be
read, it is called or told as CHECKOUT_UNREADABLE with a note.

Of an *undated* checkout only is known between which times it lies, and, if it can be read, what it bought. It buys what
it names wherever it may have bought it. If it cannot be read, it may have bought anything: CHECKOUT_UNREADABLE. It ends
no chain sooner.

All times are milliseconds of event time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

from ..events import Reason


class Presented(Protocol):
    """An offer was shown in a session."""

    @property
    def session_id(self) -> str: ...
    @property
    def partner_code(self) -> str: ...
    @property
    def offer_id(self) -> str: ...
    @property
    def presented_at(self) -> int: ...
    @property
    def offset(self) -> int: ...


class Completed(Protocol):
    """A checkout was completed in a session; `purchased` are the offer ids that it bought."""

    @property
    def session_id(self) -> str: ...
    @property
    def checkout_id(self) -> str: ...
    @property
    def completed_at(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def purchased(self) -> tuple[str, ...]: ...


class Spans(Protocol):
    """The spans of the rules."""

    @property
    def window(self) -> int: ...
    @property
    def checkout_grace(self) -> int: ...
    @property
    def lookback(self) -> int: ...


class UndatedCheckout(NamedTuple):
    """A checkout that lies between two times, both included; `checkout` is None if it cannot be read."""

    session_id: str
    earliest: int
    latest: int
    checkout: Completed | None = None


class Fate(NamedTuple):
    """One chain and what must become of it.

    Attributes:
        offsets: those of its presentations.
        begin, last: when it was presented first and last.
        checkout_id: the checkout that bought or declined it.
        may_withhold: of a chain that is DECLINED or ABANDONED, the checkouts that name the offer and do not count for
            the decision: once one of them was read, the chain is PURCHASED by it instead of being called.
    """

    session_id: str
    partner_code: str
    offer_id: str
    offsets: frozenset[int]
    begin: int
    last: int
    decide_at: int
    reason: Reason
    checkout_id: str | None = None
    may_withhold: frozenset[str] = frozenset()


class _Checkouts(NamedTuple):
    """The checkouts of one session, in the order of their times."""

    checkouts: Sequence[Completed]
    undated: Sequence[UndatedCheckout]

    def between(self, since: int, until: int) -> list[Completed | None]:
        """The undated checkouts that may lie there."""
        return [u.checkout for u in self.undated if u.latest >= since and u.earliest <= until]


def fates(
    offers: Iterable[Presented],
    checkouts: Iterable[Completed],
    rules: Spans,
    undated: Iterable[UndatedCheckout] = (),
) -> list[Fate]:
    """What must become of every chain in the two logs, by session and offer and then by time."""
    dated_of: defaultdict[str, list[Completed]] = defaultdict(list)
    for checkout in sorted(checkouts, key=lambda c: (c.completed_at, c.offset)):
        dated_of[checkout.session_id].append(checkout)
    undated_of: defaultdict[str, list[UndatedCheckout]] = defaultdict(list)
    for one in undated:
        undated_of[one.session_id].append(one)
    found = []
    for (session_id, _, _), shown in groupby(sorted(offers, key=lambda o: (_offer(o), o.presented_at)), key=_offer):
        session = _Checkouts(dated_of.get(session_id, ()), undated_of.get(session_id, ()))
        found += [_fate(chain, session, rules) for chain in _chains(list(shown), session, rules)]
    return found


def _offer(shown: Presented) -> tuple[str, str, str]:
    return shown.session_id, shown.partner_code, shown.offer_id


def _chains(presentations: Sequence[Presented], session: _Checkouts, rules: Spans) -> list[list[Presented]]:
    chains = [[presentations[0]]]
    for shown in presentations[1:]:
        begin, before = chains[-1][0], chains[-1][-1]
        at = shown.presented_at
        if at <= _decide_at(before, session, rules) and at <= begin.presented_at + rules.lookback:
            chains[-1].append(shown)
        else:
            chains.append([shown])
    return chains


def _first(shown: Presented, session: _Checkouts, rules: Spans) -> Completed | None:
    begin, end = shown.presented_at, shown.presented_at + rules.window
    return next((c for c in session.checkouts if begin <= c.completed_at <= end), None)


def _decide_at(shown: Presented, session: _Checkouts, rules: Spans) -> int:
    first = _first(shown, session, rules)
    return shown.presented_at + rules.window if first is None else first.completed_at + rules.checkout_grace


def _fate(chain: Sequence[Presented], session: _Checkouts, rules: Spans) -> Fate:
    begin, last = chain[0].presented_at, chain[-1]
    since, decide_at = begin - rules.lookback, _decide_at(last, session, rules)
    perhaps = session.between(since, decide_at)
    in_time = [c for c in session.checkouts if since <= c.completed_at <= decide_at]
    bought_by = next((c for c in [*in_time, *perhaps] if c and last.offer_id in c.purchased), None)
    declined_by = _first(last, session, rules) or next(
        (c for c in session.between(last.presented_at, last.presented_at + rules.window) if c), None
    )
    if bought_by is not None:
        reason, checkout = Reason.PURCHASED, bought_by
    elif None in perhaps:
        reason, checkout = Reason.CHECKOUT_UNREADABLE, None
    elif declined_by is not None:
        reason, checkout = Reason.DECLINED, declined_by
    else:
        reason, checkout = Reason.ABANDONED, None
    readable = [*session.checkouts, *(u.checkout for u in session.undated if u.checkout is not None)]
    names_it = frozenset(c.checkout_id for c in readable if last.offer_id in c.purchased)
    to_call = reason in {Reason.DECLINED, Reason.ABANDONED}
    return Fate(
        last.session_id,
        last.partner_code,
        last.offer_id,
        frozenset(shown.offset for shown in chain),
        begin,
        last.presented_at,
        decide_at,
        reason,
        None if checkout is None else checkout.checkout_id,
        names_it if to_call else frozenset(),
    )
