"""Snapshots of a run in the states that the status page tells apart, of which a test says only what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from consumer.events import Outcome, Reason
from consumer.server.health import Health, HealthStatus
from consumer.server.latest import Latest
from consumer.server.problems import Pulse
from consumer.snapshot import (
    CallsSnapshot,
    CountsSnapshot,
    HeldBack,
    InputSnapshot,
    OldestUnsettled,
    PartnerSnapshot,
    RecentDeadLetter,
    RecentOutcome,
    Snapshot,
    Suspended,
    TaskSnapshot,
)

NOW = 1_794_019_874_000
"""2026-11-07 02:51:14 UTC: a Saturday."""

MINUTE, HOUR = 60_000, 3_600_000

GOOD_PULSE = Pulse(
    HealthStatus(True, "the loop turned 0.0 s ago"), HealthStatus(True, "running partitions 0, 1, 2, 3"), None
)

OFFER, SESSION = "offer-5f2c8e<b>", "session-77e0aa<i>"
"""Customers' ids, which are HTML as well."""

QUOTED = f"the insurer says: no such offer {OFFER} of {SESSION}"
"""Another's text that quotes them."""

TRANSACTION = (
    "records stand from this offset on, and are not given out: most likely a transaction is open there, whose records "
    "may be purchases. It ends by itself after its producer's transaction.timeout.ms; Kafka's kafka-transactions.sh "
    "finds it, and aborts it"
)


def an_input(topic: str = "offer.presented", **changes: Any) -> InputSnapshot:
    told: dict[str, Any] = {
        "topic": topic,
        "watermark": NOW - 302_000,
        "position": 91_404,
        "committed": 90_218,
        "log_end": 91_404,
        "retention_left": 29 * 86_400.0,
    }
    return InputSnapshot(**told | changes)


def a_task(partition: int = 0, **changes: Any) -> TaskSnapshot:
    told: dict[str, Any] = {
        "partition": partition,
        "phase": "running",
        "watermark": NOW - 302_000,
        "offers": an_input(),
        "checkouts": an_input("checkout.completed", position=40_113, committed=33_870, log_end=40_113),
        "sessions": 1_804,
        "open_presentations": 1_180 + 37 * partition,
        "kept_checkouts": 6_243,
        "due_uncalled": 3,
        "unsettled": 3,
        "committed_at": NOW - 2_000,
        "metadata_characters": 311,
        "metadata_limit": 4_095,
    }
    return TaskSnapshot(**told | changes)


def oldest(partner: str = "ACME", *, due_ago: int = 41 * MINUTE) -> OldestUnsettled:
    return OldestUnsettled(
        partner_code=partner,
        offer_id=OFFER,
        session_id=SESSION,
        offset=88_120,
        presented_at=NOW - due_ago - 35 * MINUTE,
        due_at=NOW - due_ago,
    )


def a_partner(code: str = "ACME", **changes: Any) -> PartnerSnapshot:
    told: dict[str, Any] = {
        "code": code,
        "unsettled": 6,
        "in_flight": 2,
        "rate_limit": 10.0,
        "answered": {"204": 48_310, "404": 112, "503": 9},
    }
    return PartnerSnapshot(**told | changes)


def an_outcome(**changes: Any) -> RecentOutcome:
    told: dict[str, Any] = {
        "settled_at": NOW - 4_000,
        "outcome": "OPTED_OUT",
        "reason": "ABANDONED",
        "partner_code": "ACME",
        "offer_id": OFFER,
        "session_id": SESSION,
        "partition": 0,
        "offset": 90_217,
        "status_code": 204,
    }
    return RecentOutcome(**told | changes)


def a_dead_letter(**changes: Any) -> RecentDeadLetter:
    told: dict[str, Any] = {
        "written_at": NOW - 3 * HOUR,
        "topic": "offer.presented",
        "partition": 2,
        "offset": 77_003,
        "reason": "undecodable",
        "error": f"no Avro: {OFFER!r}",
    }
    return RecentDeadLetter(**told | changes)


def counted(decided: int = 61_250, answers: Mapping[tuple[str, str], int] | None = None) -> dict[str, Any]:
    """The counts of a snapshot, so far as the history reads them."""
    told = answers or {("ACME", "204"): 48_310, ("ACME", "404"): 112, ("ACME", "503"): 9, ("GLOBEX", "204"): 3_204}
    return {
        "calls": CallsSnapshot(queued=9, in_flight=3, retried=11, answers=MappingProxyType(dict(told))),
        "counts": CountsSnapshot(
            records={"offers": 365_600, "checkouts": 160_420},
            decisions={Reason.ABANDONED: decided // 2, Reason.DECLINED: decided - decided // 2},
            outcomes={Outcome.PURCHASED: 9_624, Outcome.OPTED_OUT: 51_514, Outcome.NOT_FOUND: 112},
            dead_letters={("offers", "undecodable"): 1},
            repeats_skipped=3,
        ),
    }


def a_snapshot(**changes: Any) -> Snapshot:
    """All is well."""
    told: dict[str, Any] = {
        "taken_at": NOW - 400,
        "started_at": NOW - 26 * HOUR,
        "group": "offer-opt-out",
        "instance": "opt-out-6c9f7-x2lqk",
        "assigned": True,
        "tasks": tuple(a_task(partition) for partition in range(4)),
        "clock_ahead": 0.02,
        "partners": (a_partner(), a_partner("GLOBEX", unsettled=3, in_flight=1, answered={"204": 3_204})),
        "outcomes": (
            an_outcome(),
            an_outcome(
                settled_at=NOW - 5_000, outcome="PURCHASED", reason="PURCHASED", status_code=None, offset=90_214
            ),
            an_outcome(
                settled_at=NOW - 9_000,
                outcome="NOT_FOUND",
                reason="DECLINED",
                status_code=404,
                partner_code="GLOBEX",
                partition=3,
                offset=90_101,
                note=QUOTED,
            ),
        ),
        "dead_letters": (a_dead_letter(),),
    }
    return Snapshot(**told | counted() | changes)


def well() -> Snapshot:
    return a_snapshot()


def restoring() -> Snapshot:
    """Two of four tasks read again what they had read before."""
    behind = an_input(position=61_002, watermark=None)
    tasks = [a_task(n, phase="restoring", watermark=None, offers=behind, unsettled=0, due_uncalled=0) for n in range(2)]
    return a_snapshot(tasks=(*tasks, a_task(2), a_task(3)), started_at=NOW - 40_000, outcomes=(), dead_letters=())


def suspended() -> Snapshot:
    """No checkouts come."""
    what = (
        "decisions are held: offers are presented, but no checkout comes. Look at the checkout producer; decisions go "
        "on by themselves once checkouts come again and join.lateness has passed"
    )
    held = HeldBack(side="offers", cause="suspended", what="offers are read no further", since=NOW - HOUR, told=True)
    return a_snapshot(
        suspended=(Suspended(reason="checkout_silence", what=what, since=NOW - 52 * MINUTE),),
        tasks=tuple(a_task(n, held_back=held if n == 1 else None) for n in range(4)),
    )


def denied() -> Snapshot:
    """The credentials of one partner are refused, and its oldest offer holds a partition."""
    since = NOW - 41 * MINUTE - 14_000
    tasks = (
        *(a_task(n) for n in range(3)),
        a_task(3, oldest_unsettled=oldest(), unsettled=512, due_uncalled=512, offers=an_input(committed=88_120)),
    )
    partner = a_partner(
        unsettled=512,
        in_flight=0,
        words="credentials refused, next probe in 12 s",
        stopped_by=("credentials",),
        stopped_since=since,
        last_status=403,
        last_note=QUOTED,
        answered={"204": 47_798, "403": 84},
    )
    return a_snapshot(tasks=tasks, partners=(partner, a_partner("GLOBEX", unsettled=3, in_flight=1)))


def in_transaction() -> Snapshot:
    """A transaction is open in the checkouts of one partition."""
    held = HeldBack(side="checkouts", cause="transaction", what=TRANSACTION, since=NOW - 7 * MINUTE, told=True)
    checkouts = an_input("checkout.completed", position=40_007, log_end=40_113, watermark=NOW - 12 * MINUTE)
    return a_snapshot(
        tasks=(
            a_task(0),
            a_task(1, held_back=held, watermark=NOW - 12 * MINUTE, checkouts=checkouts),
            a_task(2),
            a_task(3),
        )
    )


def full() -> Snapshot:
    """The API is down, so that too many offers are decided and not settled."""
    held = HeldBack(side="offers", cause="unsettled", what="reading is paused", since=NOW - 20 * MINUTE, told=True)
    tasks = tuple(
        a_task(
            n,
            held_back=held,
            unsettled=250_000,
            due_uncalled=250_000,
            oldest_unsettled=oldest(due_ago=9 * HOUR + n * MINUTE),
            watermark=NOW - 25 * MINUTE,
            offers=an_input(paused=True, position=311_402, committed=60_001 + n, log_end=360_077),
        )
        for n in range(4)
    )
    partner = a_partner(
        unsettled=1_000_000,
        words="failing, next probe in 41 s",
        stopped_by=("breaker",),
        stopped_since=NOW - 9 * HOUR,
        last_status=None,
        in_flight=1,
        answered={"204": 48_310, "none": 540},
    )
    return a_snapshot(tasks=tasks, partners=(partner,), full=True)


def behind() -> Snapshot:
    """One partition is read more slowly than it is written, and another one's first offer is tried in vain."""
    late = a_task(
        2,
        watermark=NOW - 4 * HOUR,
        offers=an_input(log_end=391_404, retention_left=2.9 * 86_400, retention=7 * 86_400.0),
    )
    tried = a_task(3, oldest_unsettled=oldest(), unsettled=1, due_uncalled=1, offers=an_input(committed=88_120))
    partner = a_partner(unsettled=1, in_flight=0, last_status=500, answered={"204": 48_310, "500": 61})
    return a_snapshot(tasks=(a_task(0), a_task(1), late, tried), partners=(partner,))


STATES: Mapping[str, Callable[[], Snapshot]] = {
    "well": well,
    "restoring": restoring,
    "suspended": suspended,
    "denied": denied,
    "transaction": in_transaction,
    "full": full,
    "behind": behind,
}
"""Each state that the page is looked at in."""


def shifted(snapshot: Snapshot, by: int) -> Snapshot:
    """The same, so many ms later: for a server, which goes by the clock."""

    def later(value: Any) -> Any:
        if hasattr(value, "__dataclass_fields__"):
            return replace(value, **{name: field(name, getattr(value, name)) for name in value.__dataclass_fields__})
        return tuple(later(one) for one in value) if isinstance(value, tuple) else value

    def field(name: str, value: Any) -> Any:
        is_time = name.endswith("_at") or name in {"watermark", "since", "stopped_since"}
        return value + by if is_time and isinstance(value, int) else later(value)

    return later(snapshot)  # type: ignore[no-any-return] # of the same class


def latest_of(snapshot: Snapshot, now: int) -> Latest:
    """After an hour of traffic that rises and falls, with some failures in it."""
    latest = Latest()
    moved = shifted(snapshot, now - NOW)
    answers = dict(moved.calls.answers)
    decided = sum(moved.counts.decisions.values())
    for ago in range(65, 0, -1):
        left = sum((17 * step) % 23 + 4 for step in range(ago))
        failed = sum(6 for step in range(ago) if 20 < step < 26)
        before = {key: max(0, count - (left if key == ("ACME", "204") else 0)) for key, count in answers.items()}
        before[("ACME", "503")] = max(0, 30 - failed)
        latest.swap_in(
            replace(moved, taken_at=now - ago * MINUTE, **counted(decided=max(0, decided - 2 * left), answers=before))
        )
    answers[("ACME", "503")] = 30
    latest.swap_in(replace(moved, calls=replace(moved.calls, answers=answers)))
    return latest


def turning(snapshot: Snapshot) -> Health:
    """The health of a run in that state."""
    health = Health(95.0)
    health.turned(
        assigned=snapshot.assigned,
        tasks=tuple(task.partition for task in snapshot.tasks),
        restoring=tuple(task.partition for task in snapshot.tasks if task.phase == "restoring"),
        stopping=snapshot.stopping,
    )
    return health
