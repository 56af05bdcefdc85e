"""The reconciliation against what the real join decides, with crashes, commits and records that are misdated.

Whatever the join does is right, by all the other tests of the rules. So the reconciliation may find nothing wrong with
it, at the end and at any time before: only what the rules allow, and what it says that it cannot judge.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from support.strategies import EACH, Garbage, Logs, Record, Step, examples, logs, schedules
from support.task_world import TaskWorld

from consumer.audit.calls import ReferenceRules
from consumer.audit.committed import Committed
from consumer.audit.findings import Discrepancy, Reconciliation, Scope
from consumer.audit.partition_log import EVER, PartitionLog
from consumer.audit.reading import OutcomeRecord
from consumer.audit.reconcile import reconcile
from consumer.core.chain import Chain
from consumer.core.checkpoint import OfferCheckpoint, unit_of
from consumer.core.rules import MIN_TIME
from consumer.events import CheckoutCompleted, OfferPresented, Reason

TOPICS = "offers", "checkouts", "outcomes"


class _TellingWorld(TaskWorld):
    """Writes outcomes as the service does: each before the commit that relies on it."""

    def __init__(self, logs: Logs, **more: Any) -> None:
        self.told: list[OutcomeRecord] = []
        super().__init__(logs, **more)

    @property
    def unit(self) -> int:
        return unit_of(EACH) if self.logs.each == EACH else 1

    def _settle(self, chain: Chain) -> None:
        reason, called = chain.reason, False
        bought_by = chain.checkout
        outcome, note = str(reason), None
        if reason is Reason.CHECKOUT_UNREADABLE:
            outcome = "DEAD_LETTERED"
        elif reason is Reason.ABANDONED and not self.rules.call_abandoned:
            outcome = "IGNORED"
        elif reason is not Reason.PURCHASED and chain.bought_by is not None:
            outcome, reason, bought_by, note = "PURCHASED", Reason.PURCHASED, chain.bought_by, "withheld"
        elif reason is not Reason.PURCHASED and chain.is_withheld:
            outcome, reason, bought_by, note = "DEAD_LETTERED", Reason.CHECKOUT_UNREADABLE, None, "withheld"
        elif reason is not Reason.PURCHASED:
            outcome, called = "OPTED_OUT", True
        self._tell(
            chain.last, outcome, str(reason), chain.decide_at, bought_by, note=note, status=204 if called else None
        )
        super()._settle(chain)

    def _present(self, record: Record, event: OfferPresented, implausible: bool) -> None:
        before = len(self.dead_in_flight)
        super()._present(record, event, implausible)
        if len(self.dead_in_flight) > before:
            for shown in record.shown:
                why = "IMPLAUSIBLE_TIME" if implausible else "LATE"
                self._tell(shown, "DEAD_LETTERED", why, shown.presented_at, None)

    def _tell(
        self,
        event: OfferPresented,
        outcome: str,
        reason: str,
        decided_at: int,
        checkout: CheckoutCompleted | None,
        *,
        note: str | None = None,
        status: int | None = None,
    ) -> None:
        self.told.append(
            OutcomeRecord(
                event.session_id,
                event.partner_code,
                event.offer_id,
                event.presented_at,
                decided_at,
                outcome,
                reason,
                status,
                0,
                ("offers", 0, event.record_offset),
                None if checkout is None else checkout.checkout_id,
                note,
                len(self.told),
                self.clock,
            )
        )

    def reconciled(self, committed: Committed | None, *, all_settled: bool = False) -> Reconciliation:
        """By what stands in the logs so far."""
        r = self.rules
        rules = ReferenceRules(r.window, r.checkout_grace, r.lookback, r.call_abandoned, r.lateness, r.max_skew)
        log, found = PartitionLog(rules, self.clock), Reconciliation()
        for record in self.logs.offers[: self.produced[0]]:
            if isinstance(record.event, Garbage):
                log.cannot_present(record.offset, record.timestamp, "undecodable")
            log.present(record.shown, record.timestamp)
        for record in self.logs.checkouts[: self.produced[1]]:
            if isinstance(record.event, Garbage):
                log.cannot_complete([record.event.session_id], record.timestamp)
            elif isinstance(record.event, CheckoutCompleted):
                log.complete(record.event, record.timestamp)
        for outcome in self.told:
            log.settle(outcome)
        reconcile(log, Scope(-EVER, EVER, TOPICS, 0, self.unit), found, committed, all_settled=all_settled)
        assert found.adds_up
        return found

    def committed(self) -> Committed | None:
        """As `evidence.progress_of_group` reads it."""
        offers = self.broker[0]
        if not offers.metadata:
            return None
        found = OfferCheckpoint.decode(offers.metadata, offers.offset)
        decided_to = None if found.decided_to == MIN_TIME else found.decided_to
        return Committed(
            offers.offset, found.next_offset, found.next_checkout, decided_to, found.unsettled, unit_of(found.each)
        )


def faults(found: Reconciliation) -> list[Discrepancy]:
    """What the reconciliation holds against the service."""
    return [one for listed in found.listed.values() for one in listed if not one.by_the_rules]


@examples(150)
@given(logs(several=True), schedules())
def test_nothing_is_held_against_the_join_at_any_time(drawn: Logs, schedule: list[Step]) -> None:
    world = _TellingWorld(drawn)
    world.run(schedule)
    assert faults(world.reconciled(world.committed())) == []
    assert faults(_finished(world)) == []


@examples(150)
@given(logs(garbage=True, overdue=True), schedules())
def test_nor_where_records_are_misdated_or_others_come_late(drawn: Logs, schedule: list[Step]) -> None:
    """But in a session with a checkout that came late: these are stamped as they are dated, and where an input was
    quiet nothing in the log tells of it."""
    world = _TellingWorld(drawn, strict=False)
    world.run(schedule)
    for found in (world.reconciled(world.committed()), _finished(world)):
        assert [one for one in faults(found) if one.session_id not in world.overdue] == []


def _finished(world: _TellingWorld) -> Reconciliation:
    world.finish()
    return world.reconciled(world.committed(), all_settled=True)


@examples(150)
@given(logs(garbage=True, tainted=True), schedules())
def test_nor_where_checkouts_cannot_be_read(drawn: Logs, schedule: list[Step]) -> None:
    world = _TellingWorld(drawn)
    world.run(schedule)
    assert faults(world.reconciled(world.committed())) == []
    assert faults(_finished(world)) == []
