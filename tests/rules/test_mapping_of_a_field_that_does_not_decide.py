"""Rule 2: the mapping of a field that decides no fate decides all the same which records can be read.

Two presentations of an offer, one chain. By the mapping of now the second cannot be read, since a field beside it has
another type there. Then the chain seems to have been due sooner, by D, and is taken for settled: it is never called,
and it has no outcome. The start is not refused, since the hash of the mapping tells of the deciding fields alone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from support.builders import raw
from support.changes_world import NOW, OURS, ChangesWorld
from support.kafka import Message
from support.runner_world import RULES, RunnerWorld, pass_time

from consumer.calls import CallResult
from consumer.codecs.inputs import codec_of
from consumer.core.checkpoint import Position
from consumer.core.provenance import UNMAPPED
from consumer.core.rules import MAX_TIME
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.errors import PositionsError
from consumer.events import Outcome
from consumer.kafka.positions import check_positions
from consumer.settings import Settings

pytestmark = pytest.mark.usefixtures("one_record_tells")

START = NOW - 100_000_000
AT = 10_000
OFFER_FIELDS = {"presented_at": "publishedAt"}
CHECKOUT_FIELDS = {"completed_at": "at"}


def mapped(offers: dict[str, Any] | None = None, checkouts: dict[str, Any] | None = None) -> Settings:
    """Both inputs are JSON, with these fields unless others are given."""
    return Settings.model_validate(
        {
            "input": {
                "offers": {"format": "json", "fields": OFFER_FIELDS, **(offers or {})},
                "checkouts": {"format": "json", "fields": CHECKOUT_FIELDS, **(checkouts or {})},
            }
        }
    )


def shown(offset: int, at: int, session: str, offer_id: str, **more: Any) -> Message:
    value = {"session_id": session, "partner_code": "ACME", "offer_id": offer_id, "publishedAt": START + at, **more}
    return raw("offers", offset, session, json.dumps(value).encode(), START + at)


def done(offset: int, at: int, session: str, *bought: str, **more: Any) -> Message:
    value = {"session_id": session, "checkout_id": f"c{offset}", "at": START + at, "purchased_offer_ids": bought}
    return raw("checkouts", offset, session, json.dumps(value | more).encode(), START + at)


@dataclass
class Lived:
    """What one process did: whom it called, and of whom it told an outcome or a dead letter (by its offset)."""

    called: list[str]
    told: set[str]
    dead: list[tuple[int, str]]


class MappedWorld(ChangesWorld):
    """The records of both topics, and a group that reads them with one mapping and then with another."""

    def __init__(self, log: list[Message]) -> None:
        super().__init__(OURS, RULES)
        self.log = {side: [one for one in log if one.topic() == side.name.lower()] for side in Side}
        self.commit("offers", 0, self.starts.new_offers(0, NOW))
        self.commit("checkouts", 0, "")
        self.tell_stamps()

    def tell_stamps(self) -> None:
        self.consumer.stamps = {s.name.lower(): [one.timestamp()[1] for one in of] for s, of in self.log.items()}

    def configure(self, settings: Settings) -> None:
        self.now = replace(OURS, mapping=settings.input.mapping or UNMAPPED)

    def live(self, settings: Settings, until: int) -> Lived:
        """One process: reads both logs from what is committed, passes time, makes all calls (204), and commits."""
        offers, checkouts = Position(*self.left("offers")), Position(*self.left("checkouts"))
        learns = MAX_TIME if checkouts.offset else None
        whose = replace(OURS, mapping=settings.input.mapping)
        task = Task(RULES, partitions=1, offers=offers, checkouts=checkouts, horizon=learns, provenance=whose)
        world = RunnerWorld(task=task, codec=codec_of(settings))
        self._read(world)
        called = []
        for side_by_side in (None, until):
            if side_by_side is not None:
                pass_time(world.runner, START + side_by_side)
            for _ in range(3):
                for call in world.runner.decide():
                    called.append(call.offer_id)
                    world.runner.on_result(CallResult(call, Outcome.OPTED_OUT, 204, 1, None))
        plan = task.prepare_commit()
        if plan is not None:
            self.commit("offers", *_committed(plan.offers))
            self.commit("checkouts", *_committed(plan.checkouts))
        dead = [(record.offset, reason) for record, reason, _ in world.sink.records]
        return Lived(called, {one.offer_id for one in world.sink.outcomes}, dead)

    def _read(self, world: RunnerWorld) -> None:
        task = world.runner.task
        while places := [side for side in reversed(Side) if self._may_read(task, side)]:
            side = places[0]
            world.runner.on_message(side, self.log[side][task.next_offset(side)], NOW)

    def _may_read(self, task: Task, side: Side) -> bool:
        stop, end = task.restore_until(side), len(self.log[side])
        return task.next_offset(side) < (end if stop is None else min(end, stop))

    def check(self) -> None:
        check_positions("g", self.starts.positions(self.consumer), self.now, 1)  # type: ignore[arg-type]


def _committed(position: Position) -> tuple[int, str]:
    return position.offset, position.metadata


PRICED = {"fields": {**OFFER_FIELDS, "price": "cost"}}


def test_no_offer_is_lost_where_another_field_of_a_presentation_cannot_be_read_any_more() -> None:
    """The web shop writes its cost as a text, the app as a number. `price` is mapped for the first time."""
    log = [shown(0, AT, "s1", "o1", cost="9.90"), shown(1, AT + 700, "s1", "o1", cost=9.9)]
    world = MappedWorld(log)
    first = world.live(mapped(), AT + 1_550)
    assert first.told == set(), "it is open, and due at AT + 1,700"
    world.configure(mapped(offers=PRICED))
    try:
        world.check()
    except PositionsError:
        return  # a start that is refused loses nothing
    second = world.live(mapped(offers=PRICED), AT + 10_000)
    assert second.dead == [(1, "undecodable")]
    assert "o1" in second.told, "presented and not bought: it has neither a call nor an outcome"
