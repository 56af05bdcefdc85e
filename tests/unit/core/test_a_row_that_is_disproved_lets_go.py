"""What disproves a suspicion has been read, in whatever order the partitions were read: the suspicion is over.

Each case is told twice: as whoever reads along sees it, which decides in the end, and as whoever catches up does, whose
client gives one partition before the other. No further record comes, as at the end of a backfill or of a day.
"""

from __future__ import annotations

from support.guarded_instance import LIMIT, RULES, Instance

from consumer.core.guards import SuspendedBy

A, B = 0, 1


def unmatched_in_b(instance: Instance) -> None:
    for number in range(LIMIT):
        at = 10 * number
        instance.offer(at, f"o{number}", task=B, session=f"b{number}")
        instance.checkout(at + 5, f"booking of o{number}", task=B, session=f"b{number}")


def match_in_b(instance: Instance, at: int) -> None:
    instance.offer(at, "right", task=B, session="right")
    instance.checkout(at + 5, "right", task=B, session="right")


def a_day_in_a(instance: Instance) -> None:
    """Long after what is wrong in B: one foreign id, and then one that matches."""
    instance.offer(80, "sold", task=A, session="a")
    instance.checkout(85, "foreign", task=A, session="x")
    instance.checkout(90, "sold", task=A, session="a")


def match_in_a(instance: Instance) -> None:
    instance.offer(80, "sold", task=A, session="a")
    instance.checkout(90, "sold", task=A, session="a")


def read_further_in_a(instance: Instance) -> None:
    instance.offer(110, task=A, session="l")
    instance.checkout(110, task=A, session="l")
    instance.turn()


def row_and_match_in_b(instance: Instance) -> None:
    """The row is judged, and then what disproves it is read."""
    unmatched_in_b(instance)
    instance.offer(45, task=B, session="later")
    instance.checkout(45, task=B, session="later")
    instance.turn()
    match_in_b(instance, 50)


def test_read_along_the_row_ends_by_its_own_partition() -> None:
    instance = Instance(2)
    unmatched_in_b(instance)
    instance.idle(40)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED
    match_in_b(instance, 50)
    instance.idle(70)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE
    a_day_in_a(instance)
    instance.idle(110)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_a_row_in_a_backlog_ends_by_a_newer_match_though_another_partition_has_been_read_further() -> None:
    instance = Instance(2)
    a_day_in_a(instance)
    read_further_in_a(instance)
    assert instance.tasks[A].guard.ids.unmatched == 0, "foreign, and then matched"
    row_and_match_in_b(instance)
    instance.idle(110)
    instance.turn()
    assert instance.guards.unmatched == 0, "none is in a row any more"
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_a_match_that_was_read_before_the_older_row_of_another_partition_disproves_it() -> None:
    """Only A tells that the producer was mended: nothing more is sold in B."""
    instance = Instance(2)
    match_in_a(instance)
    read_further_in_a(instance)
    unmatched_in_b(instance)
    instance.idle(110)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE, "an id of a newer checkout has matched"


def test_read_along_that_match_disproves_it() -> None:
    instance = Instance(2)
    unmatched_in_b(instance)
    instance.idle(40)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.UNMATCHED
    match_in_a(instance)
    instance.idle(110)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_after_a_restart_a_partition_that_counts_nothing_postpones_no_end() -> None:
    """As above, but A has no foreign id at all: it was only read further before the restart."""
    instance = Instance(2)
    match_in_a(instance)
    read_further_in_a(instance)
    instance.restart()
    assert instance.tasks[A].guard.ids.unmatched == 0
    row_and_match_in_b(instance)
    instance.idle(115)
    instance.turn()
    assert instance.guards.unmatched == 0, "none is in a row any more"
    assert instance.guards.suspended_by is SuspendedBy.NONE


def misdated_in_b(instance: Instance) -> None:
    for number in range(LIMIT):
        at = 10 * number + 5
        instance.checkout(at - RULES.lookback - 1, task=B, session=f"m{number}", stamp=at)
    instance.checkout(50, task=B, session="right", stamp=50)


def test_read_along_one_misdated_checkout_is_no_row() -> None:
    instance = Instance(2)
    instance.checkout(0, task=A, session="z")
    misdated_in_b(instance)
    instance.turn()
    instance.checkout(100 - RULES.lookback - 1, task=A, session="phone", stamp=100)
    instance.idle(110)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.NONE


def test_a_row_of_misdated_checkouts_ends_though_a_single_newer_one_was_read_in_another_partition() -> None:
    """One shopper's clock is wrong, at the end of A. The row in B was over long before."""
    instance = Instance(2)
    instance.checkout(0, task=A, session="z")
    instance.checkout(100 - RULES.lookback - 1, task=A, session="phone", stamp=100)
    instance.turn()
    for number in range(LIMIT):
        at = 10 * number + 5
        instance.checkout(at - RULES.lookback - 1, task=B, session=f"m{number}", stamp=at)
    instance.turn()
    assert instance.guards.suspended_by is SuspendedBy.MISDATED
    instance.checkout(50, task=B, session="right", stamp=50)
    instance.idle(110)
    instance.turn()
    assert instance.guards.misdated == 1
    assert instance.guards.suspended_by is SuspendedBy.NONE
