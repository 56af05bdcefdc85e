"""Rule 5: a standstill says why, and does not say that what stands goes on.

While checkouts wait for a schema, no call of their partition leaves, since any of them may be a purchase. The line that
tells of the wait says the contrary.
"""

from __future__ import annotations

from support.builders import checkout, offer
from support.loop_world import LoopWorld
from support.waiting_codec import WaitingCodec, behind

from consumer.calls import Withheld
from consumer.runtime.standstill import Cause


def test_the_line_about_checkouts_that_wait_for_a_schema_does_not_say_that_calls_go_on() -> None:
    world = LoopWorld(codec=WaitingCodec())
    world.begin()
    world.turn([offer(0, 10_000)])
    world.idle(20_000)
    (call,) = world.delivery.calls
    world.turn([behind(7, checkout(0, 20_001))])
    assert call.owner.withholds(call) == Withheld(), "it does not go on"
    assert "Calls that were decided go on" not in Cause.SCHEMA.value
