"""A snapshot in which everything that may be there is."""

from __future__ import annotations

import math

from consumer.events import Outcome, Reason
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

AT = 1_700_000_000_000
"""When it is taken (ms)."""

TASK = TaskSnapshot(
    partition=3,
    phase="running",
    watermark=AT - 90_000,
    offers=InputSnapshot(
        topic="offers",
        watermark=AT - 80_000,
        position=60,
        committed=50,
        log_end=100,
        retention_left=3_600.0,
        paused=True,
    ),
    checkouts=InputSnapshot(topic="checkouts", watermark=AT - 90_000, position=70, log_end=70),
    held_back=HeldBack(side="checkouts", cause="unread", what="records do not come", since=AT - 30_000, told=False),
    sessions=4,
    open_presentations=5,
    kept_checkouts=6,
    due_uncalled=7,
    unsettled=8,
    oldest_unsettled=OldestUnsettled(
        partner_code="ACME",
        offer_id="offer-of-a-customer",
        session_id="session-of-a-customer",
        offset=50,
        presented_at=AT - 120_000,
        due_at=AT - 60_000,
    ),
    committed_at=AT - 5_000,
    metadata_characters=200,
    metadata_limit=4_095,
)

FULL = Snapshot(
    taken_at=AT,
    started_at=AT - 600_000,
    group="offer-opt-out",
    instance="pod-3",
    assigned=True,
    tasks=(TASK,),
    suspended=(Suspended(reason="clock", what="the clock is wrong", since=AT - 10_000),),
    full=True,
    clock_ahead=4.0,
    partners=(
        PartnerSnapshot(
            code="ACME",
            unsettled=7,
            in_flight=1,
            words="failing",
            stopped_by=("breaker", "retry_after"),
            stopped_since=AT - 20_000,
            last_status=500,
            last_note="a note",
            rate_limit=10.0,
            answered={"204": 3, "500": 9},
        ),
    ),
    calls=CallsSnapshot(
        queued=6,
        in_flight=1,
        retried=2,
        gate_closed=("the clock is not believed",),
        unsettled={"ACME": 7, "(other)": 0},
        stopped={"ACME": ("breaker", "retry_after"), "(other)": ()},
        answers={("ACME", "204"): 3, ("ACME", "500"): 9, ("(other)", "none"): 1},
        retries={"ACME": 2},
        duration_buckets=((0.1, 4), (1.0, 9), (math.inf, 13)),
        duration_sum=12.5,
    ),
    counts=CountsSnapshot(
        records={"offers": 100, "checkouts": 30},
        left_out={"offers": 1, "checkouts": 2},
        decisions={Reason.DECLINED: 5},
        outcomes={Outcome.OPTED_OUT: 3},
        dead_letters={("offers", "late"): 2},
        repeats_skipped=11,
        purchases_after_opt_out=1,
    ),
    outcomes=(
        RecentOutcome(
            settled_at=AT,
            outcome="OPTED_OUT",
            reason="DECLINED",
            partner_code="ACME",
            offer_id="offer-of-a-customer",
            session_id="session-of-a-customer",
            partition=3,
            offset=51,
            status_code=204,
        ),
    ),
    dead_letters=(
        RecentDeadLetter(
            written_at=AT, topic="offers", partition=3, offset=40, reason="late", error="it names a-customer"
        ),
    ),
)
