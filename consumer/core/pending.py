"""Chains that are decided and not settled, and those that were called: a purchase may still come for either."""

from __future__ import annotations

from collections.abc import Collection

from ..events import Reason
from .calendar import Expiry
from .chain import Chain
from .rules import DecisionRules


class PendingChains:
    """The decided and unsettled chains of one task, and for a while the called ones.

    Args:
        rules: as set now.

    Attributes:
        by_start: the decided and unsettled chains by `Chain.start`, in order of decide_at but for the `late_decided`.
        late_decided: those of them that were due before the decision that the last commit could tell of. A late
            checkout may have made them so.
        chain_starts: starts of those that follow on a chain which ended only because it had lasted for `lookback`.
    """

    def __init__(self, rules: DecisionRules) -> None:
        self._rules = rules
        self.by_start: dict[int, Chain] = {}
        self.late_decided: dict[int, Chain] = {}
        self.chain_starts: set[int] = set()
        self._called: dict[tuple[str, str], Chain] = {}
        self._called_until: Expiry[Chain] = Expiry()

    def add(self, chain: Chain, *, late_decided: bool) -> None:
        """The chain was decided, and is to be settled."""
        start = chain.start
        self.by_start[start] = chain
        if late_decided:
            self.late_decided[start] = chain
        if chain.split:
            self.chain_starts.add(start)
        self.remember_called(chain)

    def settle(self, chain: Chain, *, called: bool) -> bool:
        """Nothing more will be done for the chain. False: it was settled before.

        `called` False: the insurer was never told of it, so that a purchase that comes later is no surprise.
        """
        start = chain.start
        if self.by_start.pop(start, None) is None:
            return False
        self.late_decided.pop(start, None)
        self.chain_starts.discard(start)
        if not called:
            self._forget_called(chain)
        return True

    def unsettled(self) -> Collection[Chain]:
        """The chains that are decided and not settled."""
        return self.by_start.values()

    def oldest(self) -> Chain | None:
        """The one that begins first in the log."""
        return self.by_start[min(self.by_start)] if self.by_start else None

    # --- purchases that come late

    def remember_called(self, chain: Chain) -> None:
        """If the chain is one to be called, know its offer for `lookback` beyond its decision."""
        if chain.reason is Reason.DECLINED or (chain.reason is Reason.ABANDONED and self._rules.call_abandoned):
            chain.called_before = self._newest_unsettled(self._called.get((chain.session_id, chain.offer_id)))
            self._called[chain.session_id, chain.offer_id] = chain
            self._called_until.add(chain.decide_at + self._rules.lookback, chain)

    def called(self, session_id: str, offer_id: str) -> Chain | None:
        """The chain of the offer that was called last, as far as it is remembered."""
        return self._called.get((session_id, offer_id))

    def taken_back(self, between: tuple[int, int], newest: Chain) -> list[Chain]:
        """Of `newest` and those called before it, the unsettled ones that a checkout between two times has bought."""
        taken_back: list[Chain] = []
        called: Chain | None = newest
        while called is not None:
            # As a restart would find it: the chain is listed, and decided anew with all that was read.
            in_time = between[1] >= called.begin - self._rules.lookback and between[0] <= called.decide_at
            if in_time and self._is_unsettled(called):
                taken_back.append(called)
            called = called.called_before
        return taken_back

    def forget_called(self, watermark: int) -> None:
        """Drop the called ones that no purchase is expected for any more at this watermark (ms)."""
        for chain in self._called_until.take(watermark):
            if self._is_unsettled(chain):  # its call may still be taken back
                self._called_until.add(watermark + self._rules.lookback, chain)
                continue
            self._forget_called(chain)

    def _forget_called(self, chain: Chain) -> None:
        key = chain.session_id, chain.offer_id
        if self._called.get(key) is chain:
            del self._called[key]
            if (before := self._newest_unsettled(chain.called_before)) is not None:
                self._called[key] = before

    def _newest_unsettled(self, chain: Chain | None) -> Chain | None:
        """The chain, or the newest of those called before it, whose call may still be taken back."""
        while chain is not None and not self._is_unsettled(chain):
            chain = chain.called_before
        return chain

    def _is_unsettled(self, chain: Chain) -> bool:
        return self.by_start.get(chain.start) is chain
