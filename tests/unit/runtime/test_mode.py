"""The deployment's own mode; what a backfill settles is in `unit/backfill/test_mode.py`."""

from __future__ import annotations

from consumer.core.chain import Chain
from consumer.core.checkpoint import Position
from consumer.core.rules import MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import Mode, OfferPresented, Reason
from consumer.runtime.mode import LIVE

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)


def test_the_deployment_settles_all_and_is_never_done() -> None:
    shown = OfferPresented("s", "ada", "o", 0, 0)
    assert LIVE.settles(0, Chain([shown], 0, Reason.DECLINED, None, split=False))
    assert LIVE.gives_up(0, shown)
    assert LIVE.dead_letters(Side.OFFERS, 0, 0, 0)
    assert not LIVE.is_done(0, Task(RULES, partitions=1, offers=Position(0), checkouts=Position(0)))
    assert LIVE.lost_below(0) == MIN_TIME
    assert (LIVE.mode, LIVE.is_bounded, LIVE.trusts_idleness_at_once) == (Mode.LIVE, False, False)
