"""What is expected before the run begins: every chain, what may become of it, and which offers were bought."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain, product

from simulation.workload.scenario import CHECKOUTS, OFFERS, Scenario, Written, implausible

from consumer.audit.decision import Fate, fates
from consumer.events import CheckoutCompleted, OfferPresented, Reason

Spot = tuple[int, int]
"""Partition and offset of a presentation."""


class ExpectedFates:
    """The oracle's word on a scenario.

    Attributes:
        home: of each presentation that can be read and believed, its chain.
        may: of each offer, its chains' fates with all doubts about undated checkouts.
        chains: of each offer, its chains.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.home: dict[Spot, Fate] = {}
        self.may: dict[str, list[Fate]] = defaultdict(list)
        self.chains: dict[str, list[Fate]] = {}
        self.shown: dict[Spot, Written] = {}
        self.inputs = {(w.topic, w.partition, w.offset): w for w in scenario.records}
        self.partition_of: dict[str, int] = {}
        self._cut: set[int] = set()
        self._reasons: dict[Spot, set[Reason]] = defaultdict(set)
        for partition in range(scenario.partitions):
            for fate, may in scenario.fates(partition):
                self.chains.setdefault(fate.offer_id, []).append(fate)
                self.partition_of[fate.offer_id] = partition
                self.home.update(((partition, offset), fate) for offset in fate.offsets)
                self._add(partition, may)
            self.shown.update(((partition, w.offset), w) for w in scenario.presentations(partition))
        self.surely_bought = set(self.chains) - self._not_surely_bought()
        self._buyers = {spot: max(self._find_buyers(spot[0], fate), default=-1) for spot, fate in self.home.items()}

    def reasons(self, spot: Spot) -> set[Reason]:
        """Why the chain may be settled."""
        return self._reasons[spot]

    def buyer(self, spot: Spot) -> int:
        """The offset of the last checkout that keeps the chain from being called; -1 if there is none."""
        return self._buyers[spot]

    def unjudged(self) -> dict[str, str]:
        """The sessions of which a fate is not the oracle's, or not one alone; and why."""
        found: dict[str, str] = {}
        for spot, fate in self.home.items():
            if not self.scenario.one_setting:
                found[fate.session_id] = "the settings change"
            elif not self.scenario.strict(fate.session_id):
                found[fate.session_id] = "a record comes late"
            elif spot[0] in self._cut:
                found[fate.session_id] = "the metadata is lost"
            elif len(self._reasons[spot]) > 1:
                found[fate.session_id] = "a checkout has no date"
        return found

    def withholdable(self, offer_id: str) -> bool:
        """Whether a checkout without a time may withhold the offer's call, by its own date or by being read before the
        call leaves: one of its session that cannot be read, whenever it was written.
        """
        session_id, partition = self.chains[offer_id][0].session_id, self.partition_of[offer_id]
        return any(u.session_id == session_id and u.checkout is None for _, u, _ in self.scenario.undated(partition))

    def strict(self, spot: Spot) -> bool:
        """Whether the chain's fate is the oracle's, and no other."""
        return spot[0] not in self._cut and self.scenario.strict(self.home[spot].session_id)

    def cut(self, partition: int, offset: int) -> None:
        """The metadata is lost: what stands before the committed offset, or is given up as late, is not known any more,
        and what is left of each chain is judged alone. It is the exception that the manual states.
        """
        # What is left of a chain may make one with what comes after.
        self._cut.add(partition)
        shown = [w for w in self.scenario.presentations(partition) if w.offset >= offset]
        for since in {w.event.presented_at for w in shown if isinstance(w.event, OfferPresented)}:
            left = (w for w in shown if isinstance(w.event, OfferPresented) and w.event.presented_at >= since)
            for _, may in self.scenario.fates(partition, left):
                self._add(partition, may)
                self.surely_bought.difference_update(f.offer_id for f in may if f.reason is not Reason.PURCHASED)

    def is_bad(self, written: Written) -> bool:
        """Whether the record can only be dead-lettered."""
        return not written.says_nothing and (
            written.event is None or (written.topic == OFFERS and implausible(written, self.scenario.loosest))
        )

    def _add(self, partition: int, may: list[Fate]) -> None:
        for fate in may:
            self.may[fate.offer_id].append(fate)
            for offset in fate.offsets:
                self._reasons[partition, offset].add(fate.reason)

    def _find_buyers(self, partition: int, fate: Fate) -> list[int]:
        begin, end = fate.begin - self.scenario.rules.lookback, fate.decide_at
        if fate.reason not in (Reason.PURCHASED, Reason.CHECKOUT_UNREADABLE):
            return []
        dated = [
            w.offset
            for w in self.scenario.records
            if w.partition == partition
            and isinstance(w.event, CheckoutCompleted)
            and w.event.session_id == fate.session_id
            and fate.offer_id in w.event.purchased
            and begin <= w.event.completed_at <= end
        ]
        return dated + [
            w.offset
            for w, _, most in self.scenario.undated(partition)
            if most.session_id == fate.session_id
            and (most.checkout is None or fate.offer_id in most.checkout.purchased)
            and most.latest >= begin
            and most.earliest <= end
        ]

    def _not_surely_bought(self) -> set[str]:
        """Offers of which some presentation alone was not bought by a checkout on time, by any of the settings."""
        found: set[str] = set()
        for partition in range(self.scenario.partitions):
            # One that comes late may end a chain sooner or later, if it is read in time for that, which nobody
            # promises; what it buys is not relied on.
            late = {
                w.offset
                for w in self.scenario.records
                if w.partition == partition and w.topic == CHECKOUTS and not w.on_time
            }
            checkouts = self.scenario.checkouts(partition)
            for written in self.scenario.presentations(partition):
                event = written.event
                assert isinstance(event, OfferPresented)
                mine = [c for c in checkouts if c.session_id == event.session_id]
                sometimes = [((), (_empty(c),)) if c.offset in late else ((c,),) for c in mine]
                for rules in self.scenario.settings:
                    for there in product(*sometimes):
                        (alone,) = fates([event], chain.from_iterable(there), rules)
                        if alone.reason is not Reason.PURCHASED:
                            found.add(event.offer_id)
        return found


def _empty(checkout: CheckoutCompleted) -> CheckoutCompleted:
    return CheckoutCompleted(checkout.session_id, checkout.checkout_id, checkout.completed_at, checkout.offset, ())
