"""What an outage kept back lands behind one newer checkout, as when somebody buys something to see whether it works
again. All of it is dated rightly and in order, and none of it is newer than that one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.builders import checkout, offer
from support.loop_world import LoopWorld

from consumer.runtime import suspension

T = 1_800_000_000_000
MINUTE = 60_000
MOST, BATCH = 100, 10


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspension, "_LEAST_KEPT", MOST)
    monkeypatch.setattr(suspension, "_LEAST_STOPPED", BATCH)


@pytest.mark.parametrize("kept_back", [MOST // 2, 3 * MOST])
def test_checkouts_that_land_in_order_behind_a_newer_one_are_read_to_their_end(kept_back: int) -> None:
    world = LoopWorld(
        join={
            "window": timedelta(minutes=30),
            "lookback": timedelta(hours=2),
            "lateness": timedelta(minutes=5),
            "checkout_silence": timedelta(minutes=30),
        }
    )
    world.now = T / 1000 + 80 * 60
    world.set_max_unsettled(MOST)
    world.begin()
    again = T + 70 * MINUTE

    def right(n: int, at: int) -> None:
        world.turn([checkout(n, at, session=f"c{n}", stamp=at)])

    right(0, T)
    world.turn([offer(n, T + n * MINUTE, session=f"s{n}", offer_id=f"o{n}", stamp=T + n * MINUTE) for n in range(75)])
    right(1, again)
    for n in range(kept_back):
        right(2 + n, T + n * (69 * MINUTE) // kept_back)
        if "checkouts" in world.consumer.paused:
            break
    assert not world.loop._back_pressure.kept_checkouts.stopped, f"the {n}th is the last that is read, for ever"
