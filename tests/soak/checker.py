"""The checker of a torture run: it reads the topics and the API's log, and recomputes every fate."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from soak.late_sessions import read_sessions
from soak.repeats import Fault, bursts, settling
from soak.report import Ending, Report
from soak.shop import Shop
from soak.spans import Spans
from support.deployment import Deployment

from consumer.audit.calls import judge
from consumer.audit.decision import Fate, fates
from consumer.audit.findings import Reconciliation, Scope
from consumer.audit.partition_log import EVER, PartitionLog
from consumer.audit.reading import Checkout, OutcomeRecord, Presentation, read_dead_letters, read_events, read_outcomes
from consumer.audit.reconcile import beyond_answers, reconcile
from consumer.emulator.call_log import Call, read_calls
from consumer.events import Outcome, Reason

CONCURRENCY = 64
"""`delivery.concurrency`, which the run leaves at its default."""
KNOWN_MS = 10_000
"""How long a purchase has stood in the log, at the least, when every instance that may still call has read it. One that
does not read for 5 s calls nobody, and the rest is for the machine."""
COMMIT_MS = 2_000
"""How long ago a task's last commit is at the most: its interval is one second, and it takes its time."""


def check(deployment: Deployment, spans: Spans, shop: Shop, faults: Sequence[Fault], ending: Ending) -> Report:
    """Read everything and judge it.

    Raises:
        RuntimeError: a topic could not be read to its end.
    """
    bootstrap, topics = deployment.bootstrap, (deployment.offer_topic, deployment.checkout_topic)
    partition_of, late = read_sessions(bootstrap, topics, spans.lateness, shop.overdue)
    shown, completed, unreadable = read_events(bootstrap, topics)
    outcomes = read_outcomes(bootstrap, deployment.outcome_topic)
    dead = read_dead_letters(bootstrap, deployment.dead_letter_topic)
    calls = read_calls(deployment.api.log_path)

    left_out = set(late.values())
    offers_out = {(event.partner_code, event.offer_id) for event in shown if event.session_id in left_out}
    shown = [event for event in shown if event.session_id not in left_out]
    completed = [event for event in completed if event.session_id not in left_out]
    outcomes = [outcome for outcome in outcomes if outcome.session_id not in left_out]
    calls = [call for call in calls if (call.partner_code, call.offer_id) not in offers_out]

    judged = judge(shown, completed, calls, spans.rules)
    judged.unreadable = unreadable
    all_fates = fates(shown, completed, spans.rules)
    reconciled = _reconciled(deployment, spans, shown, completed, outcomes, partition_of)
    too_early = [outcome for outcome in outcomes if outcome.outcome == Outcome.DEAD_LETTERED]
    settled = settling(calls, all_fates, partition_of)
    due = [
        (fate.decide_at + spans.lateness, partition_of[fate.session_id])
        for fate in all_fates
        if fate.reason != Reason.PURCHASED
    ]
    found, handed_over = bursts(faults, settled, due, concurrency=CONCURRENCY, commit_ms=COMMIT_MS)
    known = _known(all_fates, completed, calls, partition_of, shop)
    recorded = Counter((call.partner_code, call.offer_id) for call in calls if call.recorded)
    to_call = Counter((fate.partner_code, fate.offer_id) for fate in all_fates if fate.reason != Reason.PURCHASED)
    return Report(
        judged=judged,
        reconciled=reconciled,
        unfounded=beyond_answers(outcomes, calls),
        dead=[f"{record} is in the dead-letter topic: {why}" for record, why in dead if record not in late]
        + [f"{outcome.chain} is DEAD_LETTERED, {outcome.reason}" for outcome in too_early],
        bursts=found,
        handed_over=handed_over,
        ending=ending,
        ended=[f"{fault.what} of {fault.victim}" for fault in faults if fault.what.startswith("exit")],
        late=len(late),
        not_judged=len(left_out),
        worst_delay=shop.worst_delay,
        lateness=spans.lateness,
        dead_letters=len(dead),
        recorded_again=(recorded - to_call).total(),
        known=known,
    )


def _reconciled(
    deployment: Deployment,
    spans: Spans,
    shown: Sequence[Presentation],
    completed: Sequence[Checkout],
    outcomes: Sequence[OutcomeRecord],
    partition_of: Mapping[str, int],
) -> Reconciliation:
    """Each partition by itself, in the order of its log."""
    logs: defaultdict[int, PartitionLog] = defaultdict(lambda: PartitionLog(spans.rules))
    for event in shown:
        logs[partition_of[event.session_id]].present([event], -1)
    for event in completed:
        logs[partition_of[event.session_id]].complete(event, -1)
    for outcome in outcomes:
        logs[partition_of.get(outcome.session_id, outcome.partition)].settle(outcome)
    found, topics = Reconciliation(), (deployment.offer_topic, deployment.checkout_topic, deployment.outcome_topic)
    for partition, log in logs.items():
        reconcile(log, Scope(0, EVER, topics, partition), found, None, all_settled=True)
    return found


def _known(
    all_fates: Sequence[Fate],
    completed: Sequence[Checkout],
    calls: Sequence[Call],
    partition_of: Mapping[str, int],
    shop: Shop,
) -> list[str]:
    """Calls of offers whose purchase could be read for long when the call came, though no decision counts it."""
    read_at = {
        (event.session_id, event.checkout_id): shop.checkout_at.get((partition_of[event.session_id], event.offset))
        for event in completed
    }
    calls_of: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for call in calls:
        calls_of[call.partner_code, call.offer_id].append(call.time_ms)
    found: list[str] = []
    for fate in all_fates:
        told = [read_at.get((fate.session_id, checkout_id)) for checkout_id in fate.may_withhold]
        since = min((at for at in told if at is not None), default=None)
        if since is not None:
            late = [at - since for at in calls_of[fate.partner_code, fate.offer_id] if at > since + KNOWN_MS]
            found += [f"{fate.partner_code}/{fate.offer_id} was called {ms} ms after its purchase came" for ms in late]
    return found
