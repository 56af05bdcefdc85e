"""The rules of the decision, said a second time and as plainly as they can be: sort all events, apply the rules.

It knows nothing of watermarks, commits or restarts and shares no code with the join that it judges. Times are
milliseconds. Both logs of one task go in whole; what comes out is the fate of every presentation in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

from consumer.events import CheckoutCompleted, OfferPresented, Reason


class Spans(Protocol):
    """The part of the settings that the decision depends on, in milliseconds."""

    @property
    def window(self) -> int: ...
    @property
    def checkout_grace(self) -> int: ...
    @property
    def lookback(self) -> int: ...


class Fate(NamedTuple):
    """One chain of presentations and what must become of it; the offsets are those of its presentations."""

    session_id: str
    partner_code: str
    offer_id: str
    offsets: frozenset[int]
    begin: int
    last: int
    decide_at: int
    reason: Reason
    checkout_id: str | None


class Undated(NamedTuple):
    """A checkout of which only the session is known, and between which times it must lie; what it bought is known
    (`checkout`) unless it cannot be read (None)."""

    session_id: str
    earliest: int
    latest: int
    checkout: CheckoutCompleted | None = None


def fates(
    offers: Iterable[OfferPresented],
    checkouts: Iterable[CheckoutCompleted],
    rules: Spans,
    undated: Sequence[Undated] = (),
) -> list[Fate]:
    """Every chain in the two logs, by session and offer and then by time."""
    result = []
    all_checkouts = sorted(checkouts, key=lambda c: (c.completed_at, c.offset))
    ordered = sorted(offers, key=lambda o: (_offer(o), o.presented_at))
    for (session_id, _, _), shown in groupby(ordered, key=_offer):
        session = [c for c in all_checkouts if c.session_id == session_id]
        chain: list[OfferPresented] = []
        for presentation in shown:
            if chain and not (
                presentation.presented_at <= _decide_at(chain[-1], session, rules)
                and presentation.presented_at <= chain[0].presented_at + rules.lookback
            ):
                result.append(_fate(chain, session, rules, undated))
                chain = []
            chain.append(presentation)
        result.append(_fate(chain, session, rules, undated))
    return result


def _offer(presentation: OfferPresented) -> tuple[str, str, str]:
    return presentation.session_id, presentation.partner_code, presentation.offer_id


def _first(shown: OfferPresented, session: Sequence[CheckoutCompleted], rules: Spans) -> CheckoutCompleted | None:
    within = (c for c in session if shown.presented_at <= c.completed_at <= shown.presented_at + rules.window)
    return next(within, None)


def _decide_at(shown: OfferPresented, session: Sequence[CheckoutCompleted], rules: Spans) -> int:
    first = _first(shown, session, rules)
    return shown.presented_at + rules.window if first is None else first.completed_at + rules.checkout_grace


def _fate(
    chain: list[OfferPresented],
    session: Sequence[CheckoutCompleted],
    rules: Spans,
    undated: Sequence[Undated],
) -> Fate:
    begin, last = chain[0].presented_at, chain[-1]
    decide_at = _decide_at(last, session, rules)
    declined_by = _first(last, session, rules)
    bought_by = next(
        (c for c in session if last.offer_id in c.purchased and begin - rules.lookback <= c.completed_at <= decide_at),
        None,
    )

    def between(since: int, until: int) -> list[CheckoutCompleted | None]:
        mine = (u for u in undated if u.session_id == last.session_id)
        return [u.checkout for u in mine if u.latest >= since and u.earliest <= until]

    maybe = between(begin - rules.lookback, decide_at)
    bought_by = bought_by or next((c for c in maybe if c and last.offer_id in c.purchased), None)
    maybe_first = (c for c in between(last.presented_at, last.presented_at + rules.window) if c)
    declined_by = declined_by or next(maybe_first, None)
    if bought_by is not None:
        reason = Reason.PURCHASED
    elif None in maybe:
        reason = Reason.CHECKOUT_UNREADABLE
    elif declined_by is not None:
        reason = Reason.DECLINED
    else:
        reason = Reason.ABANDONED
    checkout = bought_by or (declined_by if reason is Reason.DECLINED else None)
    offsets = frozenset(presentation.offset for presentation in chain)
    identity = (last.session_id, last.partner_code, last.offer_id, offsets)
    return Fate(*identity, begin, last.presented_at, decide_at, reason, checkout and checkout.checkout_id)
