"""One session: what is undecided of its offers, and its checkouts.

Nearly every session has a few of either, and looking through them all is the fastest. But a producer that writes a
constant where the session belongs puts everybody into one, and a record's cost would grow with all that is open there.
A session of many is therefore indexed: by offer, by the time of the presentations, and by what the checkouts bought.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter

from ..events import CheckoutCompleted, OfferPresented
from .calendar import EXPIRY_BITS, NEVER
from .rules import MAX_TIME, MIN_TIME

FEW = 32
"""Offers, or checkouts, that are looked through. Beyond, an index costs about 300 bytes of each and saves the time."""

by_time = attrgetter("completed_at", "offset")
"""The order of a session's checkouts."""

_completed = attrgetter("completed_at")


class OpenOffer:
    """What is undecided of one offer in one session: presentations in order of time, the first chain's end known."""

    __slots__ = ("count", "decide_at", "presentations", "queued", "session")

    def __init__(self, session: Session, first: OfferPresented, decide_at: int) -> None:
        self.session = session
        self.presentations = [first]
        self.count = 1
        self.decide_at = decide_at
        self.queued = NEVER


class Session:
    """The open offers of one session, and its checkouts in order of (completed_at, offset).

    `session_id` is shared by all events of the session: each was decoded with a copy of its own, 96 bytes an event.
    """

    __slots__ = ("_index", "_offers", "checkouts", "session_id")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.checkouts: list[CheckoutCompleted] = []
        self._offers: list[OpenOffer] = []
        self._index: _Index | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it any more."""
        return not self.checkouts and not self.offers()

    def offers(self) -> Collection[OpenOffer]:
        """All that are open."""
        return self._offers if self._index is None else self._index.offers.values()

    def find(self, offer_id: str, partner_code: str) -> OpenOffer | None:
        """The open offer of this name, if there is one."""
        if self._index is not None:
            return self._index.offers.get((offer_id, partner_code))
        for open_offer in self._offers:
            head = open_offer.presentations[0]
            if head.offer_id == offer_id and head.partner_code == partner_code:
                return open_offer
        return None

    def has_open(self, offer_id: str) -> bool:
        """Whether an offer of this id is open, of whichever partner."""
        if self._index is not None:
            return offer_id in self._index.named
        return any(open_offer.presentations[0].offer_id == offer_id for open_offer in self._offers)

    def earliest_open(self) -> int:
        """The earliest presentation (ms) of what is open; MAX_TIME if nothing is."""
        if self._index is not None:
            return self._index.earliest()
        return min((open_offer.presentations[0].presented_at for open_offer in self._offers), default=MAX_TIME)

    def shown_last(self, offer_id: str) -> int:
        """When an open offer of this id was presented last (ms), or later by a little; MIN_TIME if none is open."""
        if self._index is not None:
            return self._index.latest() if offer_id in self._index.named else MIN_TIME
        shown = (o.presentations[-1] for o in self._offers)
        return max((last.presented_at for last in shown if last.offer_id == offer_id), default=MIN_TIME)

    def open(self, open_offer: OpenOffer) -> None:
        """An offer of another name was presented."""
        if self._index is not None:
            self._index.open(open_offer)
            return
        self._offers.append(open_offer)
        if len(self._offers) > FEW:
            self._make_index()

    def presented_again(self, open_offer: OpenOffer, event: OfferPresented) -> None:
        """An open offer has one presentation more."""
        if self._index is not None:
            self._index.add(open_offer, event)

    def taken(self, presentations: Iterable[OfferPresented]) -> None:
        """These presentations of an open offer are decided."""
        if self._index is not None:
            self._index.remove(presentations)

    def close(self, open_offer: OpenOffer) -> None:
        """Nothing of the offer is open any more."""
        if self._index is not None:
            self._index.close(open_offer)
        else:
            self._offers.remove(open_offer)

    def complete(self, event: CheckoutCompleted, window: int) -> Collection[OpenOffer]:
        """Add a checkout. Returns the open offers that it may be the first checkout of, and perhaps others."""
        checkouts = self.checkouts
        insort(checkouts, event, key=by_time)
        if self._index is None:
            if len(checkouts) > FEW:
                self._make_index()
            return self._offers if self._index is None else self._index.offers.values()
        self._index.bought(event)
        # Whatever was presented up to the checkout before has that one, or one still earlier, for its first.
        at = bisect_left(checkouts, by_time(event), key=by_time)
        since = event.completed_at - window
        if at and checkouts[at - 1].completed_at >= since:
            since = checkouts[at - 1].completed_at + 1
        return self._index.presented_between(since, event.completed_at)

    def remove(self, event: CheckoutCompleted) -> None:
        """Take out a checkout."""
        self.checkouts.remove(event)
        if self._index is not None:
            self._index.forget((event,))

    def buying(self, offer_id: str) -> Collection[CheckoutCompleted]:
        """In their order the checkouts that name the offer, and perhaps others."""
        return self.checkouts if self._index is None else self._index.buying.get(offer_id, ())

    def named_by_others(self, event: CheckoutCompleted) -> set[str]:
        """Which ids of a checkout another one names. It may have thousands, as many as a record has room for."""
        if self._index is not None:
            buying = self._index.buying
            return {name for name in event.purchased if any(c is not event for c in buying.get(name, ()))}
        return set(event.purchased).intersection(n for c in self.checkouts if c is not event for n in c.purchased)

    def forget(self, before: int, kept: Mapping[int, int]) -> list[CheckoutCompleted]:
        """Drop the checkouts completed before this time (ms), but for those that are `kept`, by offset, until later.

        Returns:
            What was dropped.
        """
        old = self.checkouts[: bisect_left(self.checkouts, before, key=_completed)]
        stay = [c for c in old if kept.get(c.offset, MIN_TIME) >= before] if kept else []
        gone = [c for c in old if kept.get(c.offset, MIN_TIME) < before] if stay else old
        if self._index is not None:
            self._index.forget(gone)
        self.checkouts[: len(old)] = stay
        return gone

    def _make_index(self) -> None:
        index = self._index = _Index()
        for open_offer in self._offers:
            index.open(open_offer)
        for event in self.checkouts:
            index.bought(event)
        self._offers = []


class _Index:
    """What a session of many is found by. Nothing here looks through what is open.

    Attributes:
        offers: the open ones, by offer_id and partner_code.
        named: how many of them have this offer_id.
        buying: the checkouts that name an offer_id, in their order.
    """

    def __init__(self) -> None:
        self.offers: dict[tuple[str, str], OpenOffer] = {}
        self.named: dict[str, int] = {}
        self.buying: dict[str, list[CheckoutCompleted]] = {}
        self._presented: dict[int, list[tuple[int, int, OpenOffer]]] = {}
        """By spans of time, so that each list is short: (presented_at, offset, offer), sorted. Offsets differ."""

    def open(self, open_offer: OpenOffer) -> None:
        head = open_offer.presentations[0]
        self.offers[head.offer_id, head.partner_code] = open_offer
        self.named[head.offer_id] = self.named.get(head.offer_id, 0) + 1
        for event in open_offer.presentations:
            self.add(open_offer, event)

    def close(self, open_offer: OpenOffer) -> None:
        head = open_offer.presentations[0]
        del self.offers[head.offer_id, head.partner_code]
        self.named[head.offer_id] -= 1
        if not self.named[head.offer_id]:
            del self.named[head.offer_id]

    def add(self, open_offer: OpenOffer, event: OfferPresented) -> None:
        span = self._presented.setdefault(event.presented_at >> EXPIRY_BITS, [])
        insort(span, (event.presented_at, event.offset, open_offer))

    def remove(self, presentations: Iterable[OfferPresented]) -> None:
        for event in presentations:
            key = event.presented_at >> EXPIRY_BITS
            span = self._presented[key]
            del span[bisect_left(span, (event.presented_at, event.offset))]
            if not span:
                del self._presented[key]

    def earliest(self) -> int:
        return self._presented[min(self._presented)][0][0] if self._presented else MAX_TIME

    def latest(self) -> int:
        return (max(self._presented) + 1) << EXPIRY_BITS

    def presented_between(self, since: int, until: int) -> Collection[OpenOffer]:
        """Each offer once that was presented between these times (ms), both included."""
        found: dict[OpenOffer, None] = {}
        for key in range(since >> EXPIRY_BITS, (until >> EXPIRY_BITS) + 1):
            span = self._presented.get(key)
            if span is not None:
                first, behind = bisect_left(span, (since,)), bisect_right(span, (until, MAX_TIME))
                found.update((open_offer, None) for _, _, open_offer in span[first:behind])
        return found.keys()

    def bought(self, event: CheckoutCompleted) -> None:
        for offer_id in event.purchased:
            insort(self.buying.setdefault(offer_id, []), event, key=by_time)

    def forget(self, gone: Iterable[CheckoutCompleted]) -> None:
        for event in gone:
            for offer_id in event.purchased:
                left = self.buying[offer_id]
                left.remove(event)
                if not left:
                    del self.buying[offer_id]
