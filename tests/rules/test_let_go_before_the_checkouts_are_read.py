"""Rule 5: an operator lets go an offer whose first call waits for checkouts that do not come.

They may not come for long: a transaction is open before where the log ended, or too many misdated ones are kept, which
does not end by itself. The line `release file read` says that the offer waits here; and it goes on to hold the commit.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.builders import offer, release_file
from support.loop_world import LoopWorld, assign

from consumer.events import Outcome
from consumer.runtime.releases import Releases


@pytest.mark.parametrize("something_comes", [False, True])
def test_an_offer_is_let_go_whose_call_waits_for_checkouts(tmp_path: Path, something_comes: bool) -> None:
    path = release_file(tmp_path)
    world = LoopWorld(Releases(path))
    world.consumer.ends["checkouts"] = 100
    world.turn(assign)
    world.turn([offer(0, 10_000)])
    world.idle(20_000)
    assert (world.delivery.calls, world.runner.first_calls.waiting) == ([], 1)
    release_file(tmp_path, "o1")
    for n in range(5):
        world.skipped += 2.0
        world.turn([offer(1 + n, 20_000 + n, session="s2", offer_id="o2")] if something_comes else [])
    fates = [one.outcome for one in world.sink.outcomes if one.offer_id == "o1"]
    assert fates == [Outcome.RELEASED], "it was let go, and still holds its partition's commit"


def test_so_is_one_that_is_decided_after_the_file_was_read(tmp_path: Path) -> None:
    world = LoopWorld(Releases(release_file(tmp_path, "o1")))
    world.consumer.ends["checkouts"] = 100
    world.turn(assign)
    world.skipped += 2.0
    world.turn()
    world.turn([offer(0, 10_000)])
    world.idle(20_000)
    assert [one.outcome for one in world.sink.outcomes] == [Outcome.RELEASED]
