"""What a backfill does not read, before its range, is no sign of a broken checkout producer."""

from __future__ import annotations

from consumer.backfill.mode import BackfillMode
from consumer.backfill.scope import BackfillScope, EventTimeRange
from consumer.core.checkpoint import Position
from consumer.core.guards import Guards, SuspendedBy
from consumer.core.rules import DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import CheckoutCompleted, OfferPresented
from consumer.runtime.mode import LIVE, RunMode

T = 1_800_000_000_000
RULES = DecisionRules(window=1_000, checkout_grace=100, lookback=5_000, lateness=0, max_skew=1_000)
SCOPE = BackfillScope(EventTimeRange(T, T + 10_000), RULES)
LIMIT = 3


def suspended_by(mode: RunMode, bought_at: list[int]) -> SuspendedBy:
    """An offer of the range is shown and due; before, others were bought that were shown before all that is read."""
    task = Task(RULES, partitions=1, offers=Position(10), checkouts=Position(0))
    mode.begin(task)
    for number, at in enumerate(bought_at):
        task.checkout(CheckoutCompleted(f"s{number}", f"c{number}", at, number, (f"o{number}",)), at, T + 60_000)
    task.offer(OfferPresented("s", "ada", "o", T + 1_000, 10), T + 1_000, T + 60_000)
    for side in Side:
        task.idle(side, T + 5_000)
    guards = Guards(checkout_silence=0, unmatched_limit=LIMIT, lateness=RULES.lateness)
    guards.judge([task])
    return guards.suspended_by


def test_what_was_bought_before_the_first_offer_that_is_read_does_not_suspend_a_backfill() -> None:
    before = [SCOPE.begin - 2_000 + 100 * number for number in range(20)] + [SCOPE.begin + 900]
    assert suspended_by(BackfillMode(("offers", "checkouts"), SCOPE, None), before) is SuspendedBy.NONE


def test_ids_of_no_offer_since_then_do() -> None:
    since = [SCOPE.begin + 1_100 + 100 * number for number in range(LIMIT)]
    assert suspended_by(BackfillMode(("offers", "checkouts"), SCOPE, None), since) is SuspendedBy.UNMATCHED
    assert suspended_by(LIVE, since) is SuspendedBy.UNMATCHED
