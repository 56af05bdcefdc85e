"""Of which offers a backfill cannot know where their chains begin, since it does not read the whole log.

A chain lasts for lookback at the most. So one whose last presentation is in the range begins at `from` - lookback or
later, and is read whole. But where it begins hangs on where the one before it ended, and so on: a pause longer than
window + checkout_grace ends a chain for certain, whatever came before.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from consumer.audit.decision import Spans


def is_begin_unknown(shown_at: Iterable[int], rules: Spans, since: int) -> bool:
    """Whether an offer was shown without such a pause from before `since`, `from`, less lookback, to `from`.

    Args:
        shown_at: when it was presented (ms), in its session.
        since: `from`, less lookback (ms).
    """
    unknown = False
    for before, then in pairwise(sorted(shown_at)):
        unknown = then - before <= rules.window + rules.checkout_grace and (unknown or before < since)
        if unknown and then >= since + rules.lookback:
            return True
    return False
