"""404s that are a mass, and no run."""

from __future__ import annotations

from support import virtual_time
from support.delivery_world import NOT_FOUND, OK, DeliveryWorld, numbered

from consumer.events import Outcome


def test_404s_of_nineteen_in_twenty_are_a_mass_too() -> None:
    """Behind the insurer's gateway one backend in twenty has the offers, as after a deployment that went wrong."""

    async def main() -> None:
        asked = 0

        def insurer(_: object):
            nonlocal asked
            asked += 1
            return OK if asked % 20 == 0 else NOT_FOUND

        world = DeliveryWorld(insurer, concurrency=1)
        world.submit(*numbered(5_000))
        await world.until(1_200)
        lost = [offer for offer, outcome in world.outcomes().items() if outcome is Outcome.NOT_FOUND]
        await world.delivery.close(0)
        assert len(lost) < 500, f"{len(lost)} of 5,000 are settled as NOT_FOUND"

    virtual_time.run(main())
