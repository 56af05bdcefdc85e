"""The lines that the runner of a task writes into the log."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from ..calls import CallResult
from ..core.chain import Chain
from ..core.watermark import Side
from ..events import CheckoutCompleted, OfferAmongSeveral
from ..kafka.record import Record
from .counts import Counts

log = structlog.get_logger(__name__)


class Reports:
    """Tells what became of a task's records and calls.

    Args:
        partition: of the task; each line names it.
        counts: counts them.
        findings: what was odd about what was committed.
    """

    def __init__(self, partition: int, counts: Counts, findings: Iterable[str] = ()) -> None:
        self._counts = counts
        self._log = log.bind(partition=partition)
        for finding in findings:
            self.finding(finding)

    def finding(self, finding: str | None) -> None:
        """What a task has found at its start, if it has."""
        if finding is not None:
            self._log.warning("found at the start of the task", finding=finding)

    def dead_letter(
        self, side: Side, record: Record, reason: str, error: str, watermark: int, of: Chain | None = None
    ) -> None:
        """A record of this input is dead-lettered. `of`: the chain whose call is refused, if that is why."""
        self._counts.dead_letter(side, record, reason, error)
        self._log.warning(
            "dead letter",
            topic=record.topic,
            offset=record.offset,
            reason=reason,
            error=error,
            watermark=watermark,
            **_trace(of),
        )

    def purchase(self, checkout: CheckoutCompleted, chain: Chain) -> None:
        """A checkout bought what was called."""
        self._counts.purchases_after_opt_out += 1
        self._log.warning(
            "purchase_after_opt_out",
            partner_code=chain.partner_code,
            offer_id=chain.offer_id,
            session_id=chain.session_id,
            **_trace(chain),
            checkout_id=checkout.checkout_id,
            completed_at=checkout.completed_at,
            decided_at=chain.decide_at,
        )

    def released(self, chain: Chain, note: str | None, result: CallResult | None) -> None:
        """An operator let an offer go. `result`: of its last call, None where none was made."""
        attempts, status_code = (0, None) if result is None else (result.attempts, result.status_code)
        self._log.warning(
            "released",
            partner_code=chain.partner_code,
            offer_id=chain.offer_id,
            session_id=chain.session_id,
            **_trace(chain),
            offset=chain.last.record_offset,
            status=status_code,
            attempts=attempts,
            note=note,
        )

    def record_gone(self, chain: Chain, topic: str, result: CallResult) -> None:
        """A refused call was to be dead-lettered, and its record is in no topic any more."""
        self._log.error(
            "rejected, and its record is gone: it cannot be dead-lettered, and holds the commit of its partition. "
            "Mend what the API refuses, or let the offer go by delivery.release_file",
            partner_code=chain.partner_code,
            offer_id=chain.offer_id,
            session_id=chain.session_id,
            **_trace(chain),
            topic=topic,
            offset=chain.last.record_offset,
            status=result.status_code,
            note=result.note,
        )


def _trace(chain: Chain | None) -> dict[str, str]:
    """The field of a line about a chain's call that names its trace, if there is one."""
    if chain is None or (trace := chain.last.trace) is None:
        return {}
    return {"trace_id": trace.trace_id}


def refused_in_words(chain: Chain, result: CallResult) -> str:
    """What a dead letter says of a request that is refused: by whom, of which offer where its record holds several."""
    of_several = f"offer {chain.offer_id}" if isinstance(chain.last, OfferAmongSeveral) else None
    return ": ".join(str(word) for word in (result.status_code, of_several, result.note) if word is not None)
