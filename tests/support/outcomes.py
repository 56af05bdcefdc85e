"""Outcomes, of which a test names what it is about."""

from __future__ import annotations

from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef

AT = 1_790_000_000_000


def outcome_of(
    fate: Outcome = Outcome.OPTED_OUT,
    reason: Reason = Reason.DECLINED,
    at: int = AT,
    *,
    offer_id: str = "o",
    partner: str = "ada",
    product: str | None = None,
    mode: Mode = Mode.LIVE,
    topic: str = "offers",
) -> OfferOutcome:
    return OfferOutcome(
        offer_id=offer_id,
        partner_code=partner,
        session_id="s",
        outcome=fate,
        reason=reason,
        checkout_id=None,
        presented_at=at,
        decided_at=at,
        settled_at=at,
        status_code=None,
        attempts=0,
        details=Details(product),
        source=RecordRef(topic, 0, 0),
        mode=mode,
        note=None,
    )
