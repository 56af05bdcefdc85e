"""Who starts again what stops since too many records cannot be read; and the operator who mends that in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.workload.faults import Faults
from simulation.workload.kinds import Kind, source_of
from simulation.workload.scenario import START

from consumer.errors import OptOutError, TooManyDeadLettersError

if TYPE_CHECKING:
    from simulation.world.world import World


class Supervisor:
    """Starts the service again within a second of such a stop. After the first one somebody looks, a while later, and
    has the records dead-lettered: `dead_letter.max_run` and `max_ratio` are raised for whoever starts from then on.

    Attributes:
        has_raised: that was done.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._random = source_of(Kind.WRONG_SCHEMA, world.scenario.seed)
        self._is_awaited = False
        self.has_raised = False

    def limits(self) -> dict[str, float]:
        """The settings that are other than at first."""
        return {"max_run": 1_000_000, "max_ratio": 1.0} if self.has_raised else {}

    def is_told(self, error: OptOutError) -> bool:
        """A process has stopped by itself. Returns whether it is seen to."""
        if not isinstance(error, TooManyDeadLettersError):
            return False
        world, random = self._world, self._random
        world.start_at(world.clock.now + random.choice((0.0, 0.2, 1.0)))
        if not self._is_awaited:
            self._is_awaited = True
            at = world.clock.now - START + random.choice((0.5, 3.0, 10.0, 40.0))
            world.plan = Faults.sorted([*world.plan, (at, self._raise)])
        return True

    def _raise(self) -> None:
        self._world.tell("the operator raises dead_letter.max_run")
        self._world.faults["an operator raises dead_letter.max_run"] += 1
        self.has_raised = True
