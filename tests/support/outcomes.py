"""Outcomes, of which a test names what it is about."""

from __future__ import annotations

from consumer.events import Details, Mode, OfferOutcome, Outcome, Reason, RecordRef

AT = 1_790_000_000_000

WHOLE = OfferOutcome(
    offer_id="o-1",
    partner_code="ACME",
    session_id="s-1",
    outcome=Outcome.OPTED_OUT,
    reason=Reason.DECLINED,
    checkout_id="c-1",
    presented_at=1_790_000_000_000,
    decided_at=1_790_000_060_000,
    settled_at=1_790_000_061_234,
    status_code=204,
    attempts=2,
    details=Details("travel", "DE", "EUR", "9.90"),
    source=RecordRef("offer.presented", 3, 812),
    mode=Mode.LIVE,
    note=None,
)
"""One that has all that an outcome may have but a note."""


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
