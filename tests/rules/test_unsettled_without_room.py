"""So many records that cannot be read wait to be settled that a commit has no room for them: nothing is committed."""

from __future__ import annotations

from support.builders import raw
from support.loop_world import LoopWorld
from support.several import INPUT, SEVERAL

APART = 300
"""Of 300 records one is ours, by `input.offers.when`: those between are passed over, and not counted."""


def test_unreadable_records_that_an_operator_lets_go_do_not_hold_the_commits_for_ever() -> None:
    """All of ours cannot be read. The service has stopped, and said: if these records are to be dead-lettered, raise
    dead_letter.max_run and dead_letter.max_ratio. So the operator did."""
    world = LoopWorld(codec=SEVERAL, inputs={"offers": INPUT}, max_run=10**9, max_ratio=1.0)
    world.begin()
    committed = []
    for batch in range(8):  # of 500, each within two seconds: four thousand are read behind the first
        world.turn([raw("offers", APART * n, f"s{n}", b"{", 10_000) for n in range(1 + batch * 500, 501 + batch * 500)])
        world.commit()
        committed.append(world.consumer.committed_offsets["offers", 0] // APART)
    assert len(world.sink.dead) == 4_000
    # A thousand stand unsettled all the time, and what is settled before them may be committed.
    assert committed[-1] >= 3_000 - 1, committed
