"""What the delivery is doing, as one frozen value that any thread may read. It is made on the delivery's loop."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from heapq import nlargest
from types import MappingProxyType

from ..snapshot import STOPS, CallsSnapshot, PartnerSnapshot
from .counts import CallCounts
from .gate import Gate, Opening
from .partner import Partner

MOST_TOLD = 100
"""Partners that are told one by one: those that are stopped, then those with the most calls. A page shows a few."""


@dataclass(frozen=True, slots=True)
class DeliverySnapshot:
    """The calls, and the partners; see there."""

    calls: CallsSnapshot = field(default_factory=CallsSnapshot)
    partners: tuple[PartnerSnapshot, ...] = ()


NOTHING_YET = DeliverySnapshot()


def snapshot_of(
    partners: Collection[Partner], counts: CallCounts, gate: Gate, *, queued: int, in_flight: int, now: float
) -> DeliverySnapshot:
    """What is going on `now`, by the loop's clock.

    Args:
        partners: all that are known.
        counts: of all tries.
        gate: that each call passes.
        queued, in_flight: calls.
        now: by the loop's clock.
    """
    unsettled: Counter[str] = Counter()
    stopped: dict[str, set[str]] = {}
    for partner in partners:
        name = counts.partners.name(partner.code)
        unsettled[name] += partner.unsettled
        stopped.setdefault(name, set()).update(partner.stopped_by(now))
    for name in counts.partners.names:  # those that were forgotten since
        stopped.setdefault(name, set())
        unsettled[name] += 0
    calls = CallsSnapshot(
        queued=queued,
        in_flight=in_flight,
        retried=counts.retries.total(),
        gate_closed=gate.reasons(Opening.CLOSED),
        gate_narrow=gate.reasons(Opening.ONE_AT_A_TIME),
        unsettled=MappingProxyType(dict(unsettled)),
        stopped=MappingProxyType({name: _in_order(by) for name, by in stopped.items()}),
        answers=MappingProxyType(dict(counts.answers)),
        retries=MappingProxyType(dict(counts.retries)),
        duration_buckets=counts.duration_buckets(),
        duration_sum=counts.duration_sum,
    )
    most = nlargest(MOST_TOLD, partners, key=lambda partner: (bool(partner.stopped_by(now)), partner.unsettled))
    by_status = _by_status(calls.answers)
    return DeliverySnapshot(calls, tuple(_told(partner, by_status, now) for partner in most))


def _told(partner: Partner, by_status: Mapping[str, Mapping[str, int]], now: float) -> PartnerSnapshot:
    stops, rate = partner.stopped_by(now), partner.limiter.pacer.rate
    said = partner.words_for(stops)
    return PartnerSnapshot(
        code=partner.code,
        unsettled=partner.unsettled,
        in_flight=partner.in_flight,
        words=partner.state(now),
        stopped_by=stops,
        rejected=partner.refused,
        last_status=said.status,
        last_note=said.note,
        rate_limit=None if rate == math.inf else rate,
        answered=MappingProxyType(by_status.get(partner.code, {})),
    )


def _by_status(answers: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (partner, status), count in answers.items():
        found.setdefault(partner, {})[status] = count
    return found


def _in_order(by: Collection[str]) -> tuple[str, ...]:
    return tuple(stop for stop in STOPS if stop in by) if by else ()
