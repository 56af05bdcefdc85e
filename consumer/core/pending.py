"""Chains that are decided and not settled, and for a while those that were: a purchase may still come for either."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..events import CheckoutCompleted, Reason
from .calendar import Expiry
from .chain import Chain
from .rules import DecisionRules
from .session import FEW


class PendingChains:
    """The decided and unsettled chains of one task, and for a while the settled ones that were decided to be called.

    Args:
        rules: as set now.

    Attributes:
        by_start: the decided and unsettled chains by `Chain.start`, in order of decide_at but for the `late_decided`.
        late_decided: those of them that were due, or are for whoever reads all again, before they were decided. A late
            checkout may have made them so.
        chain_starts: starts of those that follow on a chain which ended only because it had lasted for `lookback`.
    """

    def __init__(self, rules: DecisionRules) -> None:
        self._rules = rules
        self.by_start: dict[int, Chain] = {}
        self.late_decided: dict[int, Chain] = {}
        self.chain_starts: set[int] = set()
        self._of_session: dict[str, list[Chain] | dict[int, Chain]] = {}
        """The unsettled ones. Where there are many in a session, by `Chain.start`: a list would be looked through by
        each that is settled. Where there are few, a list takes less than half of the memory."""
        self._newest: dict[tuple[str, str], Chain] = {}
        """Of a session and an offer_id, the chain that is known and was decided last; it leads to those before it."""
        self._known_until: Expiry[Chain] = Expiry()

    def add(self, chain: Chain, *, late_decided: bool) -> None:
        """The chain was decided, and is to be settled."""
        start = chain.start
        self.by_start[start] = chain
        if late_decided or chain.least_due < chain.decide_at:
            self.late_decided[start] = chain
        if chain.split:
            self.chain_starts.add(start)
        waiting = self._of_session.setdefault(chain.session_id, [])
        if isinstance(waiting, dict):
            waiting[start] = chain
        elif len(waiting) < FEW:
            waiting.append(chain)
        else:
            self._of_session[chain.session_id] = {one.start: one for one in (*waiting, chain)}
        self._know(chain)

    def add_settled(self, chain: Chain) -> None:
        """The chain was settled before a restart.

        If it was to be called, the insurer was told of it. But where a purchase is known that the decision does not
        count, either the call was not made or the purchase was reported: no second one is a surprise. Where it may be
        one that cannot be read, nobody knows whether the call was made: a purchase is one then.
        """
        chain.told = chain.bought_by is None and self._is_called(chain)
        self._know(chain)

    def settle(self, chain: Chain, *, called: bool) -> bool:
        """Nothing more will be done for the chain. False: it was settled before.

        `called` False: the insurer was never told of it, so that a purchase that comes later is no surprise.
        """
        start = chain.start
        if self.by_start.pop(start, None) is None:
            return False
        self.late_decided.pop(start, None)
        self.chain_starts.discard(start)
        self._forget_of_session(chain)
        chain.told = called and self._is_called(chain)
        return True

    def unsettled(self) -> Collection[Chain]:
        """The chains that are decided and not settled."""
        return self.by_start.values()

    def oldest(self) -> Chain | None:
        """The one that begins first in the log."""
        return self.by_start[min(self.by_start)] if self.by_start else None

    def completed(self, session_id: str, completed_at: int | None) -> None:
        """A checkout of the session was read: its chains that wait may be due sooner for whoever reads all again.

        For example: shown at 10:00, decided at 10:30, and then a checkout of 10:05 comes. A restart finds the chain due
        at 10:06. A commit that lists what is due by 10:10 must list this one too, or it would be taken for settled.
        `completed_at` (ms) None: its date is not believed, or cannot be read. A restart may find that another way.
        """
        for chain in self._waiting_in(session_id):
            due = chain.begin if completed_at is None else completed_at + self._rules.checkout_grace
            if (completed_at is None or chain.begin <= completed_at) and due < chain.least_due:
                chain.least_due = due
                self.late_decided[chain.start] = chain

    # --- purchases that come late

    def knows(self, session_id: str, offer_id: str) -> bool:
        """Whether a chain of the offer was decided and not bought, as far as that is remembered."""
        return (session_id, offer_id) in self._newest

    def bought(self, checkout: CheckoutCompleted, offer_id: str) -> tuple[list[Chain], list[Chain]]:
        """A checkout names the offer, whatever its date.

        Returns:
            The unsettled chains, of any partner, of which no purchase was known before: it is noted with them. And of
            the settled ones that the insurer was told of the last, if there is one.
        """
        waiting: list[Chain] = []
        told: list[Chain] = []
        for chain in self._known(checkout.session_id, offer_id):
            if self._is_unsettled(chain):
                if chain.bought_by is None:
                    chain.bought_by = checkout
                    waiting.append(chain)
            elif chain.told and not told:
                told.append(chain)
        return waiting, told

    def quarantine(self, session_id: str, latest: int) -> list[Chain]:
        """A checkout of the session cannot be read; it was completed at `latest` (ms) at the latest.

        A purchase counts for a call that waits whatever its date, so this may be one, unless it lies before all that
        the chain looks back to.

        Returns:
            The unsettled chains of which that was not known, nor a purchase: it is noted with them.
        """
        self.completed(session_id, None)
        waiting: list[Chain] = []
        for chain in self._waiting_in(session_id):
            if not chain.is_withheld and latest >= chain.begin - self._rules.lookback:
                chain.quarantined = True
                waiting.append(chain)
        return waiting

    def forget(self, watermark: int) -> None:
        """Drop the settled ones that no purchase is expected for any more at this watermark (ms)."""
        for chain in self._known_until.take(watermark):
            if self._is_unsettled(chain):  # its call may still be taken back
                self._known_until.add(watermark + self._rules.lookback, chain)
            else:
                self._forget(chain)

    def _know(self, chain: Chain) -> None:
        """If the chain was not bought, know its offer for `lookback` beyond its decision.

        One that is ignored too: a purchase that names it matches, whether it is read before the decision or after.
        """
        if chain.reason in {Reason.DECLINED, Reason.ABANDONED}:
            offer = chain.session_id, chain.offer_id
            chain.before = self._newest.get(offer)
            self._newest[offer] = chain
            self._known_until.add(chain.decide_at + self._rules.lookback, chain)

    def _is_called(self, chain: Chain) -> bool:
        return chain.reason is Reason.DECLINED or (chain.reason is Reason.ABANDONED and self._rules.call_abandoned)

    def _known(self, session_id: str, offer_id: str) -> Iterator[Chain]:
        """The known chains of the offer, the newest first."""
        chain = self._newest.get((session_id, offer_id))
        while chain is not None:
            yield chain
            chain = chain.before

    def _forget(self, chain: Chain) -> None:
        offer = chain.session_id, chain.offer_id
        after = next((known for known in self._known(*offer) if known.before is chain), None)
        if after is not None:
            after.before = chain.before
        elif chain.before is not None:
            self._newest[offer] = chain.before
        else:
            del self._newest[offer]

    def _waiting_in(self, session_id: str) -> Collection[Chain]:
        """The unsettled chains of a session, in the order of their decisions."""
        waiting = self._of_session.get(session_id, ())
        return waiting.values() if isinstance(waiting, dict) else waiting

    def _forget_of_session(self, chain: Chain) -> None:
        left = self._of_session[chain.session_id]
        if isinstance(left, dict):
            del left[chain.start]
        else:
            left.remove(chain)
        if not left:
            del self._of_session[chain.session_id]

    def _is_unsettled(self, chain: Chain) -> bool:
        return self.by_start.get(chain.start) is chain
