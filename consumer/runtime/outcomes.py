"""What becomes of an offer, as a record of the outcome topic: one method a settlement.

An outcome says which presentation it is of, what its fate is and why, by which checkout, and what the insurer answered.
"""

from __future__ import annotations

from ..calls import CallResult
from ..core.admission import Admission
from ..core.chain import Chain
from ..events import CheckoutCompleted, OfferOutcome, OfferPresented, Outcome, Reason, RecordRef
from ..hiding import hide
from .counts import Counts
from .edges import Edges

CUT_OFF = "presented so long before what is left of the checkouts that the one that bought it may be gone"
"""Why an offer is LATE that came in time: retention has deleted checkouts, or the log begins too late."""

NOT_ADMITTED = {
    Admission.LATE: (Reason.LATE, "presented so long ago that the checkout that bought it may be forgotten"),
    Admission.CUT_OFF: (Reason.LATE, CUT_OFF),
    Admission.IMPLAUSIBLE: (
        Reason.IMPLAUSIBLE_TIME,
        "dated ahead of its record or of the clock by more than join.max_skew, or behind its record by more than "
        "join.lookback",
    ),
}
"""Why a presentation is dead-lettered instead of joining, as a name and in words."""


BOUGHT_AFTER = "the purchase came after the decision, and before the insurer was told"
KNOWN_AS_BOUGHT = "a purchase that the decision did not count was known before the insurer was told"
"""Why an offer is PURCHASED that was decided to be called: its call was withheld."""

MAY_BE_BOUGHT = "a checkout of its session that cannot be read may be its purchase, and was known before the call"
"""Why an offer is DEAD_LETTERED that was decided to be called: its call was withheld."""


def fate_without_call(chain: Chain, *, call_abandoned: bool) -> Outcome | None:
    """The fate of a chain that is settled by its decision alone; None: it is to be called.

    `call_abandoned`: an abandoned offer is called.
    """
    if chain.reason is Reason.PURCHASED:
        return Outcome.PURCHASED
    if chain.reason is Reason.CHECKOUT_UNREADABLE:
        return Outcome.DEAD_LETTERED
    return Outcome.IGNORED if chain.reason is Reason.ABANDONED and not call_abandoned else None


class Outcomes:
    """Writes the outcomes of one task.

    Args:
        edges: where they go, with the clock and the mode of the run.
        topic: of the presentations.
        partition: the task's number, and that of the partition they are written to.
        counts: counts them.
    """

    def __init__(self, edges: Edges, topic: str, partition: int, counts: Counts) -> None:
        self._outputs = edges.outputs
        self._topic = topic
        self._partition = partition
        self._wall = edges.clock.wall
        self._mode = edges.mode.mode
        self._counts = counts

    def not_admitted(self, event: OfferPresented, reason: Reason, note: str) -> None:
        """The presentation is late or implausible: DEAD_LETTERED before it belonged to any chain."""
        self._write(event, Outcome.DEAD_LETTERED, reason, event.presented_at, note=note)

    def not_called(self, chain: Chain, outcome: Outcome) -> None:
        """The chain is settled by its decision alone: PURCHASED, IGNORED, or DEAD_LETTERED with its checkout."""
        self._write(chain.last, outcome, chain.reason, chain.decide_at, chain.checkout)

    def called(self, chain: Chain, outcome: Outcome, result: CallResult) -> None:
        """The insurer has answered: OPTED_OUT, NOT_FOUND, or DEAD_LETTERED since it refuses the request."""
        self._write(chain.last, outcome, chain.reason, chain.decide_at, chain.checkout, result, result.note)

    def released(self, chain: Chain, note: str | None, result: CallResult | None) -> None:
        """An operator let the offer go."""
        decide_at, checkout = chain.decide_at, chain.checkout
        self._write(chain.last, Outcome.RELEASED, Reason.RELEASED, decide_at, checkout, result, note)

    def quarantined(self, chain: Chain, result: CallResult | None) -> None:
        """The decision was to call, but what cannot be read may be the purchase: DEAD_LETTERED."""
        outcome, reason = Outcome.DEAD_LETTERED, Reason.CHECKOUT_UNREADABLE
        self._write(chain.last, outcome, reason, chain.decide_at, result=result, note=MAY_BE_BOUGHT)

    def bought(self, chain: Chain, checkout: CheckoutCompleted, result: CallResult | None) -> None:
        """The decision was to call, but a purchase was known before the call was settled: PURCHASED."""
        note = BOUGHT_AFTER if checkout.completed_at > chain.decide_at else KNOWN_AS_BOUGHT
        self._write(chain.last, Outcome.PURCHASED, Reason.PURCHASED, chain.decide_at, checkout, result, note)

    def _write(
        self,
        event: OfferPresented,
        outcome: Outcome,
        reason: Reason,
        decided_at: int,
        checkout: CheckoutCompleted | None = None,
        result: CallResult | None = None,
        note: str | None = None,
    ) -> None:
        """`decided_at`: event time (ms); `checkout`: bought or declined it; `result`: of the call, if one was made."""
        written = OfferOutcome(
            offer_id=event.offer_id,
            partner_code=event.partner_code,
            session_id=event.session_id,
            outcome=outcome,
            reason=reason,
            checkout_id=None if checkout is None else checkout.checkout_id,
            presented_at=event.presented_at,
            decided_at=decided_at,
            settled_at=int(self._wall() * 1000),
            status_code=None if result is None else result.status_code,
            attempts=0 if result is None else result.attempts,
            details=event.details,
            source=RecordRef(self._topic, self._partition, event.record_offset),
            mode=self._mode,
            note=None if note is None else hide(note),
        )
        self._counts.outcome(written)
        self._outputs.outcome(written, self._partition)
