"""What the guards remember where an operator has records read again, or goes on behind some that are gone."""

from __future__ import annotations

from .checkpoint import GuardState
from .rules import MAX_TIME, MIN_TIME, DecisionRules


def still_held(found: GuardState, now: int, rules: DecisionRules, unmatched_limit: int) -> GuardState:
    """Of what the guards had found only what the logs do not tell when they are read from another place on.

    A silence that was noticed lasts, with the newest checkout, since only a newer one ends it. What has landed behind a
    silence by `now` (wall clock, ms) stands in the log. Else the newest checkout is forgotten: it would hide the gaps
    between those that are read again.

    So does a suspension by purchased ids that match nothing, since the row may stand further back than is read. It
    lasts until an id matches of a checkout that is no older than the row, which is of `judged_to` at the latest, as
    after any start. The newest checkout goes with it, so that this time stays what it is, whatever is read again first:
    the gaps that it hides have all landed once lateness has passed on it, and nothing is decided before. Fewer ids than
    `unmatched_limit` suspend nothing: they are forgotten, since those that are read again would count twice.
    """
    resume_at = found.resume_at if found.resume_at > now - rules.lateness else MIN_TIME
    newest = found.newest_checkout
    if 0 < unmatched_limit <= found.unmatched:
        if newest == MIN_TIME:
            return GuardState(resume_at=resume_at, unmatched=found.unmatched)
        resume_at = max(resume_at, newest + rules.lateness)
        return GuardState(
            newest,
            resume_at=resume_at,
            unmatched=found.unmatched,
            judged_to=min(found.judged_to, newest + rules.max_skew),
        )
    return GuardState(newest if resume_at == MAX_TIME else MIN_TIME, resume_at=resume_at)
