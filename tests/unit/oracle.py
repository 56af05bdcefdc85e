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


class Unreadable(NamedTuple):
    """A checkout of which only the session is known, and between which times it must lie."""

    session_id: str
    earliest: int
    latest: int


def fates(
    offers: Iterable[OfferPresented],
    checkouts: Iterable[CheckoutCompleted],
    rules: Spans,
    unreadable: Sequence[Unreadable] = (),
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
                result.append(_fate(chain, session, rules, unreadable))
                chain = []
            chain.append(presentation)
        result.append(_fate(chain, session, rules, unreadable))
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
    unreadable: Sequence[Unreadable],
) -> Fate:
    begin, last = chain[0].presented_at, chain[-1]
    decide_at = _decide_at(last, session, rules)
    declined_by = _first(last, session, rules)
    bought_by = next(
        (c for c in session if last.offer_id in c.purchased and begin - rules.lookback <= c.completed_at <= decide_at),
        None,
    )
    if bought_by is not None:
        reason = Reason.PURCHASED
    elif any(
        u.session_id == last.session_id and u.latest >= begin - rules.lookback and u.earliest <= decide_at
        for u in unreadable
    ):
        reason = Reason.CHECKOUT_UNREADABLE
    elif declined_by is not None:
        reason = Reason.DECLINED
    else:
        reason = Reason.ABANDONED
    checkout = bought_by or (declined_by if reason is Reason.DECLINED else None)
    offsets = frozenset(presentation.offset for presentation in chain)
    identity = (last.session_id, last.partner_code, last.offer_id, offsets)
    return Fate(*identity, begin, last.presented_at, decide_at, reason, checkout and checkout.checkout_id)
