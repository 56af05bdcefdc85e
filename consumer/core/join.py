"""The join: offers presented in a session, and the checkouts that decide them.

The decision is a pure function of event time. For a presentation r of an offer, with the checkouts c of its session:

    first(r)      the earliest c with r.presented_at <= c.completed_at <= r.presented_at + window
    decide_at(r)  first(r).completed_at + checkout_grace if there is one, else r.presented_at + window

Presentations of one offer in one session form a *chain* while each comes no later than decide_at of the one before
and no later than the chain's begin + lookback. A chain has one fate, decided once the watermark has reached
decide_at of its last presentation: until then a checkout or a further presentation may still change it.

    PURCHASED            some c names the offer, begin - lookback <= c.completed_at <= decide_at
    CHECKOUT_UNREADABLE  else, if a checkout of the session that cannot be read may have been such a c
    DECLINED             else, if first(last presentation) exists
    ABANDONED            else

A checkout that names the offer and lies before or after that time does not make the decision. But it is known, and no
call is made for what is known to be bought (`Chain.bought_by`), nor for what may have been bought by one that cannot be
read and may lie after that time (`Chain.quarantined`). An offer cannot be bought before it was shown: one that is dated
before that by more than lookback may be misdated by that very fact. So it is kept, whatever its date, as long as an
offer that it names is open.

Of an *undated* checkout, one that cannot be read or is dated implausibly, is only known between which times it lies.
It buys what it names wherever it may have bought it. Being perhaps the first checkout, it makes an offer DECLINED that
would be ABANDONED, but no chain ends sooner for it: a purchase after it would then be missed on a guess.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator
from operator import attrgetter
from typing import NamedTuple

from ..events import CheckoutCompleted, OfferPresented, Reason
from .calendar import Expiry, TimeIndex
from .chain import Chain, ChainFate, Listed, last_of
from .rules import MAX_TIME, MIN_TIME, DecisionRules
from .session import OpenOffer, Session
from .settled_before import SettledBefore
from .watermark import possible_times

_completed = attrgetter("completed_at")

NONE: Collection[CheckoutCompleted] = ()
"""No checkout names what is presented, as for nearly all presentations."""


class Undated(NamedTuple):
    """A checkout that was completed between two times (ms), both included; `checkout` is None if it cannot be read.

    `behind`: it is dated too far behind its record, by the rules that are in force.
    """

    session_id: str
    earliest: int
    latest: int
    checkout: CheckoutCompleted | None = None
    behind: bool = False


class Join:
    """The windowed state of one task. Decides nothing by itself: `decide` is told how far event time has come.

    `splits` are offsets of presentations that are known to begin a chain, from before a restart: what came before
    them in their chain may no longer be read. `rules` may be exchanged by `change_rules` only.

    `checkouts` are how many are in memory, undated ones included.
    """

    def __init__(self, rules: DecisionRules, splits: frozenset[int] = frozenset()) -> None:
        self.rules = rules
        self._splits = set(splits)
        self._settled_before = SettledBefore(rules)
        self._sessions: dict[str, Session] = {}
        self._presentations = self.checkouts = 0
        self._index: TimeIndex[OpenOffer] = TimeIndex()
        self._expiry: Expiry[Session] = Expiry()
        self._forgotten = MIN_TIME
        self._undated: dict[str, list[Undated]] = {}
        self._undated_expiry: Expiry[Undated] = Expiry()
        self._kept: dict[int, int] = {}
        """Until when (ms) checkouts are kept that are dated more than lookback before that, by offset."""

    @property
    def sessions(self) -> int:
        """How many sessions are in memory."""
        return len(self._sessions)

    @property
    def presentations(self) -> int:
        """How many presentations are undecided."""
        return self._presentations

    def open_offers(self) -> Iterator[OfferPresented]:
        """Of each offer that is undecided the last presentation of its first chain, and of its last one."""
        for one in (one for session in self._sessions.values() for one in session.offers()):
            yield from dict.fromkeys((last_of(one.presentations[: one.count]), last_of(one.presentations)))

    def has_open(self, session_id: str, offer_id: str) -> bool:
        """Whether an offer of this id is undecided in the session."""
        session = self._sessions.get(session_id)
        return session is not None and session.has_open(offer_id)

    def named_before(self, event: CheckoutCompleted) -> set[str]:
        """Which of its ids another checkout of the session, still in memory, names too."""
        session = self._sessions.get(event.session_id)
        return set() if session is None else session.named_by_others(event)

    def present(self, event: OfferPresented) -> Collection[CheckoutCompleted]:
        """Add a presentation.

        Returns:
            The checkouts that name it and are dated before it by more than lookback.
        """
        self._presentations += 1
        session = self._sessions.get(event.session_id)
        if session is None:
            session = self._sessions[event.session_id] = Session(event.session_id)
        else:
            event.session_id = session.session_id
        named = NONE
        if self._undated or (
            session.checkouts and session.checkouts[0].completed_at < event.presented_at - self.rules.lookback
        ):
            named = self._named_long_before(event, session)
        found = session.find(event.offer_id, event.partner_code)
        if found is not None:
            self._extend(found, event)
            return named
        open_offer = OpenOffer(session, event, self._decide_at(event.presented_at, session.checkouts))
        session.open(open_offer)
        self._index.push(open_offer.decide_at, open_offer)
        return named

    def complete(self, event: CheckoutCompleted, now: int = MAX_TIME, *, ahead: bool = False) -> int:
        """Add a checkout that was read `now` (ms). It joins whatever of its session is undecided, however late it is.

        Its date is not believed if it is too far `ahead`, or too far behind its record by the rules that are in force.

        Returns:
            When it was completed at the latest (ms).
        """
        behind = self.rules.is_far_behind(event.completed_at, event.stamped_at)
        if ahead or behind:
            between = possible_times(self.rules, event.stamped_at, event.completed_at, now)
            self.complete_undated(Undated(event.session_id, *between, event, behind))
            return between[1]
        session = self._sessions.get(event.session_id)
        if session is None:
            session = self._sessions[event.session_id] = Session(event.session_id)
        else:
            event.session_id = session.session_id
        self.checkouts += 1
        self._expiry.add(event.completed_at, session)
        for open_offer in session.complete(event, self.rules.window):
            self._measure(open_offer)
        return event.completed_at

    def complete_undated(self, undated: Undated) -> None:
        """Add a checkout of which is only known between which times it lies."""
        self.checkouts += 1
        self._undated.setdefault(undated.session_id, []).append(undated)
        self._undated_expiry.add(undated.latest, undated)

    def keep(self, event: CheckoutCompleted, until: int) -> int:
        """Keep a checkout as long as if it were completed at `until` (ms), and as long as an offer is open that it
        names. To be called before it is added.

        Returns:
            Until when it is kept.
        """
        session = self._sessions.get(event.session_id)
        if session is not None:
            for offer_id in event.purchased:
                until = max(until, session.shown_last(offer_id))
        if event.completed_at < until - self.rules.lookback:
            self._kept[event.offset] = until
        return until

    def keep_all(self, until: int, retain: Callable[[int, int], None]) -> None:
        """Keep as long all checkouts that are dated more than lookback before `until` (ms), to which the log was read.

        Each was written before what is read there, and perhaps not long before. Looks at all sessions, as after a gap.
        `retain` is told of the offset of each, and until when it is kept.
        """
        since = until - self.rules.lookback
        found = [c.offset for s in self._sessions.values() for c in s.checkouts if c.completed_at < since]
        undated = [u for of_session in self._undated.values() for u in of_session if u.latest < since]
        for offset in (*found, *(u.checkout.offset for u in undated if u.checkout is not None)):
            self._keep_until(offset, until)
            retain(offset, until)

    def decide(self, watermark: int) -> Iterator[Chain]:
        """Take out, in order of decide_at, every chain with decide_at <= `watermark` (ms)."""
        for due, open_offer in self._index.pop(watermark):
            if open_offer.decide_at > due:
                self._index.push(open_offer.decide_at, open_offer)
            else:
                yield self._take(open_offer)

    def earliest_due(self, until: int) -> int:
        """A lower bound (ms) of decide_at of every open chain, exact up to `until`; at most `until` + 1."""
        return self._index.earliest(until)

    def doubted(self) -> list[Listed]:
        """What is open in sessions with an undated checkout, as a commit has to list it.

        A restart may believe the date: since other rules are in force, since the clock has come there, or since it can
        read the record. Then a chain is due sooner than it is now, and would be taken for settled. For example: shown
        at 10:00, and a checkout dated 10:20 is read at 10:01. At 10:29 the offer is open. Read again at 10:31, that
        date is in the past, and the offer was due at 10:21.
        """
        sessions = (self._sessions[session_id] for session_id in self._undated if session_id in self._sessions)
        shown = (open_offer.presentations for session in sessions for open_offer in session.offers())
        return [Listed(presentations[0].presented_at, presentations) for presentations in shown]

    def open_splits(self) -> frozenset[int]:
        """Offsets that begin an undecided chain only because the one before had lasted for `lookback`, or was settled
        by other rules."""
        found = set(self._splits)
        for session_id, partner_code, offer_id in self._settled_before:
            session = self._sessions.get(session_id)
            open_offer = None if session is None else session.find(offer_id, partner_code)
            if open_offer is not None and self._settled_before.precedes(open_offer.presentations[0]):
                found.add(open_offer.presentations[0].offset)
        return frozenset(found)

    def forget_splits(self, below: int) -> None:
        """Drop what is known of offsets < `below`, which are never read again."""
        self._splits = {offset for offset in self._splits if offset >= below}
        self._settled_before.forget(below)

    def forget(self, before: int) -> None:
        """Drop checkouts with completed_at < `before` (ms), but for those that an open offer may still need.

        `before` is what nothing needs that is still to be presented. What is open may need older ones while decisions
        are suspended: they are dropped when it is decided.
        """
        self._forgotten = max(self._forgotten, before)
        for session in dict.fromkeys(self._expiry.take(before)):  # each once, however many of its checkouts are old
            # Else what was in it is gone, and the name may have come again.
            if self._sessions.get(session.session_id) is session:
                self._forget_in(session)
        for undated in self._undated_expiry.take(before):
            if undated not in self._undated.get(undated.session_id, ()):
                continue  # its date is believed since other rules are in force
            open_in = self._sessions.get(undated.session_id)
            needed_from = before if open_in is None else min(before, self._needed_from(open_in))
            if self._until(undated) >= needed_from:
                self._undated_expiry.add(before + self.rules.lookback, undated)  # there are few: looked at again
                continue
            self._drop(undated)
            if undated.checkout is not None:
                self._kept.pop(undated.checkout.offset, None)

    def change_rules(self, rules: DecisionRules, settled: Collection[Chain] = ()) -> None:
        """Measure every open chain anew; `settled` was settled by the rules of before. Looks at all sessions: for the
        start after a change of settings only."""
        self.rules = rules
        self._settled_before = SettledBefore(rules, settled)
        self._date_anew()
        for session in self._sessions.values():
            for open_offer in session.offers():
                self._measure(open_offer)

    def reopen(self, chain: Chain) -> None:
        """Take back a chain that `decide` gave out, to be decided by the rules of now."""
        if chain.split:
            self._splits.add(chain.presentations[0].offset)
        for presentation in chain.presentations:
            self.present(presentation)

    def _date_anew(self) -> None:
        """By other rules, other checkouts are dated too far behind their records."""
        behind = [u for of_session in self._undated.values() for u in of_session if u.behind]
        for session in list(self._sessions.values()):
            for checkout in [c for c in session.checkouts if self.rules.is_far_behind(c.completed_at, c.stamped_at)]:
                session.remove(checkout)
                self.checkouts -= 1
                self.complete(checkout, checkout.stamped_at)
        for undated in behind:
            misdated = undated.checkout
            if misdated is None or self.rules.is_far_behind(misdated.completed_at, misdated.stamped_at):
                continue
            if misdated.completed_at <= undated.latest:  # else it lies ahead of the clock too
                self._drop(undated)
                self.complete(misdated)

    def _named_long_before(self, event: OfferPresented, session: Session) -> Collection[CheckoutCompleted]:
        """The checkouts that name the offer and were completed more than lookback before it; they are kept for it."""
        since = event.presented_at - self.rules.lookback
        found = [c for c in session.buying(event.offer_id) if c.completed_at < since]
        undated = self._undated.get(event.session_id, ())
        found += [u.checkout for u in undated if u.checkout is not None and u.latest < since]
        named = [c for c in found if event.offer_id in c.purchased]
        for checkout in named:
            self._keep_until(checkout.offset, event.presented_at)
        return named

    def _keep_until(self, offset: int, until: int) -> None:
        self._kept[offset] = max(until, self._kept.get(offset, MIN_TIME))

    def _until(self, undated: Undated) -> int:
        """Until when it is kept (ms)."""
        checkout = undated.checkout
        return undated.latest if checkout is None else max(undated.latest, self._kept.get(checkout.offset, MIN_TIME))

    def _drop(self, undated: Undated) -> None:
        left = self._undated[undated.session_id]
        left.remove(undated)
        self.checkouts -= 1
        if not left:
            del self._undated[undated.session_id]

    def _needed_from(self, session: Session) -> int:
        """The time (ms) from which on the session's open offers need its checkouts."""
        return session.earliest_open() - self.rules.lookback

    def _extend(self, open_offer: OpenOffer, event: OfferPresented) -> None:
        open_offer.session.presented_again(open_offer, event)
        presentations = open_offer.presentations
        if event.presented_at < presentations[-1].presented_at:
            insort(presentations, event, key=attrgetter("presented_at"))
            self._measure(open_offer)
            return
        presentations.append(event)
        # In order, it can only lengthen the first chain, and only where that chain is the last one.
        if open_offer.count == len(presentations) - 1 and self._belongs(open_offer, event):
            open_offer.count += 1
            open_offer.decide_at = self._decide_at(event.presented_at, open_offer.session.checkouts)
            # A later end needs no new entry in the index: what is found there too early is queued again.

    def _belongs(self, open_offer: OpenOffer, event: OfferPresented) -> bool:
        if event.offset in self._splits:
            return False
        begin = open_offer.presentations[0].presented_at
        return event.presented_at <= min(open_offer.decide_at, begin + self.rules.lookback)

    def _measure(self, open_offer: OpenOffer) -> None:
        """Find the first chain's length and end, and queue it if it is due earlier than it was."""
        checkouts = open_offer.session.checkouts
        presentations = open_offer.presentations
        open_offer.decide_at = self._decide_at(presentations[0].presented_at, checkouts)
        open_offer.count = 1
        while open_offer.count < len(presentations) and self._belongs(open_offer, presentations[open_offer.count]):
            open_offer.decide_at = self._decide_at(presentations[open_offer.count].presented_at, checkouts)
            open_offer.count += 1
        if open_offer.decide_at < open_offer.queued:
            self._index.push(open_offer.decide_at, open_offer)

    def _decide_at(self, presented_at: int, checkouts: list[CheckoutCompleted]) -> int:
        first = self._first(presented_at, checkouts)
        if first is None:
            return presented_at + self.rules.window
        return first.completed_at + self.rules.checkout_grace

    def _first(self, presented_at: int, checkouts: list[CheckoutCompleted]) -> CheckoutCompleted | None:
        if not checkouts:
            return None
        at = bisect_left(checkouts, presented_at, key=_completed)
        if at == len(checkouts) or checkouts[at].completed_at > presented_at + self.rules.window:
            return None
        return checkouts[at]

    def _take(self, open_offer: OpenOffer) -> Chain:
        presentations = open_offer.presentations[: open_offer.count]
        rest = open_offer.presentations[open_offer.count :]
        fate = self._fate(presentations, open_offer.decide_at, open_offer.session)
        split = presentations[0].offset in self._splits or self._settled_before.precedes(presentations[0])
        chain = Chain(
            presentations, open_offer.decide_at, fate.reason, fate.checkout, split, fate.bought_by, fate.quarantined
        )
        if open_offer.session.session_id in self._undated:
            chain.least_due = chain.begin  # see `doubted`
        self._presentations -= len(presentations)
        self._splits.discard(presentations[0].offset)
        session = open_offer.session
        session.taken(presentations)
        if rest:
            if rest[0].presented_at <= open_offer.decide_at:
                # It would still link: only the length of the chain before ended that one, which a restart, where
                # it is no longer read whole, could not find again.
                self._splits.add(rest[0].offset)
            open_offer.presentations = rest
            self._measure(open_offer)
        else:
            session.close(open_offer)
        self._forget_in(session)
        return chain

    def _fate(self, presentations: list[OfferPresented], decide_at: int, session: Session) -> ChainFate:
        offer_id = presentations[0].offer_id
        since = presentations[0].presented_at - self.rules.lookback
        bought_by: CheckoutCompleted | None = None
        quarantined = False
        for checkout in session.buying(offer_id):
            if offer_id in checkout.purchased:
                if since <= checkout.completed_at <= decide_at:
                    return ChainFate(Reason.PURCHASED, checkout)
                bought_by = bought_by or checkout
        shown_last = presentations[-1].presented_at
        first = self._first(shown_last, session.checkouts)
        undated = self._undated.get(presentations[0].session_id)
        if undated is not None:
            maybe = [u.checkout for u in undated if u.latest >= since and u.earliest <= decide_at]
            for perhaps in maybe:
                if perhaps is not None and offer_id in perhaps.purchased:
                    return ChainFate(Reason.PURCHASED, perhaps)
            if None in maybe:
                return ChainFate(Reason.CHECKOUT_UNREADABLE, None)
            quarantined = any(u.checkout is None and u.latest >= since for u in undated)
            named = (u.checkout for u in undated if u.checkout is not None and offer_id in u.checkout.purchased)
            bought_by = bought_by or next(named, None)
            if first is None:
                until = shown_last + self.rules.window
                first = next((u.checkout for u in undated if u.latest >= shown_last and u.earliest <= until), None)
        return ChainFate(Reason.ABANDONED if first is None else Reason.DECLINED, first, bought_by, quarantined)

    def _forget_in(self, session: Session) -> None:
        """Drop of this session what `forget` was told to drop, as far as nothing that is open needs it."""
        if session.checkouts and session.checkouts[0].completed_at < self._forgotten:
            gone = session.forget(min(self._forgotten, self._needed_from(session)), self._kept)
            self.checkouts -= len(gone)
            for checkout in gone:
                self._kept.pop(checkout.offset, None)
            if session.checkouts and session.checkouts[0].completed_at < self._forgotten and not session.offers():
                self._expiry.add(self._forgotten + self.rules.lookback, session)  # it is kept: looked at again
        if session.is_empty:
            del self._sessions[session.session_id]
