"""A quiet partition in an outage of the API: the next offer comes, and its checkouts are read no further."""

from __future__ import annotations

from datetime import timedelta

import pytest
from unit.runtime.test_waiting_calls import EndsAtOnce, stamped
from support.builders import checkout, offer
from support.kafka import Message
from support.loop_world import LoopWorld

from consumer.delivery.gate import Opening
from consumer.runtime.clock_check import ClockCheck
from consumer.runtime.edges import Clock


@pytest.mark.parametrize("gap", [True, False], ids=["the next offer after more than two hours", "one in between, to compare with"])
def test_a_call_that_waits_knows_the_purchase_that_stands_below_the_newest_offer(gap: bool) -> None:
    """Default times, in minutes: o1 is shown at 0, and due at 30. The API answers nothing from 40 to 215, so there is
    no idle watermark from 60 on; checkouts are read up to 180 and paused. o1 is bought at 190, o2 shown at 203. Now the
    offers are ahead, and nothing keeps the checkouts from being read. At 215 the API is back."""
    minute = 60.0
    time = [1_000_000.0]
    clock = Clock(wall=lambda: time[0], monotonic=lambda: time[0] - 5_000)
    check = ClockCheck(clock.wall, clock.monotonic, max_skew=300.0, ask=lambda: None)
    ends = EndsAtOnce(clock.wall)
    join = {
        name: timedelta(minutes=minutes)
        for name, minutes in {"window": 30, "checkout_grace": 1, "lookback": 120, "lateness": 5, "max_skew": 5}.items()
    }
    world = LoopWorld(join=join, clock=clock, clock_check=check, ends=ends)

    def tell() -> None:
        check.api_told(time[0], clock.monotonic() - 0.1, clock.monotonic())

    def ms() -> int:
        return int(time[0] * 1000)

    tell()
    world.begin()
    unread: dict[str, list[Message]] = {"offers": [], "checkouts": []}

    def put(message: Message) -> None:
        topic = str(message.topic())
        unread[topic].append(stamped(message))
        ends.ends[topic, 0] += 1

    def turn() -> None:
        handed: list[Message] = []
        for topic, messages in unread.items():
            if topic not in world.consumer.paused:
                handed += messages
                messages.clear()
        world.turn(handed)
        world.turn()

    put(offer(0, ms()))
    put(checkout(0, ms(), session="s2"))
    turn()
    for passed in range(1, 216):
        time[0] += minute
        if passed <= 40:
            tell()
        bought = ["o1"] if passed == 190 else []
        put(checkout(passed, ms(), *bought, session="s1" if bought else "s2"))
        if passed == 203 or (passed == 130 and not gap):
            put(offer(1 if passed == 130 or gap else 2, ms(), offer_id="o2", session="s3"))
        turn()
    (call, *_) = world.delivery.calls
    assert call.offer_id == "o1"
    tell()  # the API is back
    turn()
    leaves = check.gate().opening is Opening.OPEN and world.runner.withholds(call) is None
    assert not leaves, f"it leaves, 25 minutes after it was bought; unread: {len(unread['checkouts'])} checkouts"
