"""Ids that match nothing have been found, and the process is started again.

One of its tasks has a backlog. The other is quiet: it has never had an id that matches nothing, and its watermark goes
with the clock. An id that matches, of a checkout that is newer than all that were counted, ends the suspension: see
`consumer.core.guards`.
"""

from __future__ import annotations

from support.guarded_instance import LIMIT, START, Instance

from consumer.core.guards import SuspendedBy

BEHIND, QUIET = 0, 1


def test_a_task_that_counted_nothing_does_not_outlast_a_match_that_is_newer_than_the_row() -> None:
    instance = Instance(2)
    instance.offer(0, "shown", task=QUIET, session="q")
    instance.checkout(1, task=QUIET, session="q")
    for number in range(LIMIT):
        session, at = f"s{number}", 10 * number
        instance.offer(at, f"o{number}", session=session, task=BEHIND)
        instance.checkout(at + 5, f"booking of o{number}", session=session, task=BEHIND)
    instance.offer(40, task=BEHIND)
    instance.checkout(40, task=BEHIND)
    quiet = instance.tasks[QUIET]
    for watermark in (quiet.watermarks.offers, quiet.watermarks.checkouts):
        watermark.idle(START + 5_000)
    assert instance.turn() == []
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED
    instance.restart()
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED

    instance.offer(50, "right", session="right", task=BEHIND)
    instance.checkout(55, "right", session="right", task=BEHIND)
    instance.offer(70, task=BEHIND)
    instance.checkout(70, task=BEHIND)
    instance.turn()
    assert instance.tasks[BEHIND].guard.ids.unmatched == 0, "it has matched"
    assert instance.guards.suspended_by is not SuspendedBy.UNMATCHED
