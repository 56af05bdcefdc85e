"""A row of records that nobody can read: a producer writes by a wrong schema for a while."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from simulation.workload.draft import UNREADABLE, Draft
from simulation.workload.scenario import START, TOPICS, Scenario


class WrongSchema:
    """Draws what the service bears, and a row that is mostly more than that."""

    def __init__(self, scenario: Scenario, random: Random, partition_of: Callable[[str], int]) -> None:
        self._scenario, self._random, self._partition_of = scenario, random, partition_of

    def spoil(self, drafts: list[Draft]) -> None:
        """Of one topic nothing can be read for a while, and what is written then is more than usual."""
        scenario, random = self._scenario, self._random
        scenario.max_run, scenario.max_ratio = random.choice((3, 5, 10)), random.choice((1.0, 1.0, 0.01))
        topic = random.choice(TOPICS)
        begin = START * 1000 + random.randint(0, scenario.span)
        count = scenario.max_run + random.choice((-1, 0, 1, 3, 2 * scenario.max_run))
        apart = random.choice((1, 40, 700, 2_500))
        at = begin
        for number in range(count):
            session = f"w{number}"
            drafts.append(
                Draft(
                    at,
                    topic,
                    self._partition_of(session),
                    at,
                    session.encode(),
                    UNREADABLE,
                    sessions=(session,),
                    happened=at,
                )
            )
            at += random.randint(1, apart)
        for number, draft in enumerate(drafts):
            if draft.topic == topic and begin <= draft.at <= at and self._may_be(draft):
                drafts[number] = draft._replace(value=UNREADABLE, make=None, sessions=(draft.key.decode(),), write=None)
                scenario.kinds["a record of a wrong schema"] += 1
        scenario.kinds[f"a row of {topic} that cannot be read"] += 1

    def _may_be(self, draft: Draft) -> bool:
        """Such a record lies about nothing but itself: if it were late too, or stamped wrongly, nobody could tell."""
        lateness = self._scenario.rules.lateness
        return draft.make is not None and draft.on_time and draft.at - lateness <= draft.stamp <= draft.at
