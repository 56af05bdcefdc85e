"""What an answer says of a partner as a whole: each turn of events is acted on, and logged once."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from ..calls import Answer, AnswerKind
from .partner import PendingCall


def on_answer(entry: PendingCall, answer: Answer, *, now: float, was_probe: bool, log: FilteringBoundLogger) -> None:
    """Open or close the breaker of the call's partner, stop or resume its calls, shut its credential's gate.

    Without a status no server has answered, which neither clears the credentials nor closes the breaker.
    """
    partner, verdict, answered = entry.partner, answer.verdict, answer.status_code is not None
    partner.recorded += verdict is AnswerKind.RECORDED
    if verdict is AnswerKind.RECORDED and not (partner.fault or partner.breaker.is_open):
        partner.breaker.answered()
        return
    facts = {"partner_code": partner.code, "status": answer.status_code, "note": answer.note}
    if verdict is AnswerKind.CREDENTIALS:
        if partner.refuse_credentials(now):
            log.warning("credentials refused: calls stop, one probe every 30 s; check the key and secret", **facts)
    elif partner.fault and was_probe and answered and verdict is not AnswerKind.DENIED:
        partner.accept_credentials()
        log.info("credentials accepted: calls go on", partner_code=partner.code)
    if answer.retry_after is not None and partner.limiter.gate(now, answer.retry_after):
        log.warning(
            "told to wait by Retry-After: no calls with this credential until then", seconds=answer.retry_after, **facts
        )
    if verdict in {AnswerKind.TRANSIENT, AnswerKind.UNEXPECTED}:
        if partner.breaker.failed(now, entry, was_probe=was_probe):
            log.warning("breaker opened: calls fail, one probe at a time until one is answered", **facts)
    elif answered and partner.breaker.answered():
        log.info("breaker closed: calls go on", partner_code=partner.code)
    if verdict is AnswerKind.UNEXPECTED and not partner.unexpected:
        partner.unexpected = True
        log.warning("unexpected answer, retried: check api.base_url, api.path and what stands between", **facts)
