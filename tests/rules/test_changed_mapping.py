"""Rule 2: the mapping of an input is changed between two runs. No offer is lost by it, and none that was bought called.

By another mapping a chain that was open may have been due by D, or a checkout that was forgotten may count. So the
start is refused; and after a yes, or a way back, each offer has a fate by the mapping of now.
"""

from __future__ import annotations

import json
from collections.abc import Callable
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


def accept(world: MappedWorld) -> None:
    world.accept()


def go_back(world: MappedWorld) -> None:
    world.changes.reset_to(START + AT - 500, NOW)


PAID = {"when": "status == 'PAID'"}
PAID_OR_FREE = {"when": "status == 'PAID' || status == 'FREE'"}
QUOTED = {"fields": {**OFFER_FIELDS, "offer_id": "quote"}}


CHANGES = [
    pytest.param(
        mapped(checkouts=PAID),
        mapped(checkouts=PAID_OR_FREE),
        [shown(0, AT, "s1", "o1"), done(0, AT, "s0", status="PAID"), done(1, AT + 100, "s1", status="FREE")],
        850,
        {"o1"},
        id="when of the checkouts is wider",
    ),
    pytest.param(
        mapped(),
        mapped(offers={"fields": {"presented_at": "shownAt"}}),
        [shown(0, AT, "s1", "o1", shownAt=START + AT - 400)],
        850,
        {"o1"},
        id="the offers' time is found elsewhere",
    ),
    pytest.param(
        mapped(),
        mapped(checkouts={"fields": {"completed_at": "startedAt"}}),
        [shown(0, AT, "s1", "o1"), done(0, AT + 950, "s1", startedAt=START + AT + 100)],
        850,
        {"o1"},
        id="the checkouts' time is found elsewhere",
    ),
    pytest.param(
        mapped(offers=QUOTED),
        mapped(),
        [shown(0, AT, "s1", "o1", quote="q"), shown(1, AT + 700, "s1", "o2", quote="q")],
        1_550,
        {"o1", "o2"},
        id="the offers' id is found elsewhere",
    ),
]


@pytest.mark.parametrize("answer", [accept, go_back])
@pytest.mark.parametrize(("then", "now", "log", "stops_at", "wanted"), CHANGES)
def test_no_offer_is_lost_by_a_mapping_that_is_changed(
    then: Settings,
    now: Settings,
    log: list[Message],
    stops_at: int,
    wanted: set[str],
    answer: Callable[[MappedWorld], None],
) -> None:
    world = MappedWorld(log)
    first = world.live(then, AT + stops_at)
    assert first.told == set(), "it is open"
    world.configure(then)
    world.check()
    world.configure(now)
    with pytest.raises(PositionsError, match=r"committed with another mapping of the inputs (?s:.*)--reset-to TIME"):
        world.check()
    answer(world)
    world.check()
    second = world.live(now, AT + 10_000)
    assert (second.told, set(second.called), second.dead) == (wanted, wanted, [])


@pytest.mark.parametrize(("then", "now", "log", "stops_at", "wanted"), CHANGES)
def test_a_change_that_nobody_notices_is_mended_by_a_way_back(
    then: Settings, now: Settings, log: list[Message], stops_at: int, wanted: set[str]
) -> None:
    """As one from no mapping to the first one, or one together with the upgrade from a version that wrote none."""
    world = MappedWorld(log)
    world.live(then, AT + stops_at)
    offset, found = world.offers()
    world.commit("offers", offset, replace(found, provenance=OURS).encode(offset))
    world.configure(now)
    world.check()
    go_back(world)
    second = world.live(now, AT + 10_000)
    assert (second.told, set(second.called), second.dead) == (wanted, wanted, [])


@pytest.mark.parametrize("answer", [accept, go_back])
def test_no_bought_offer_is_called_by_a_mapping_that_is_changed(answer: Callable[[MappedWorld], None]) -> None:
    """Begun at 12,000, paid at 15,500; the offer is shown at 20,100 and looks back to 15,100."""
    begun = [done(0, 12_000, "s1", "o1", paidAt=START + 15_500)]
    begun += [done(n, 12_000 + 1_000 * n, "s0", paidAt=START + 12_000 + 1_000 * n) for n in range(1, 9)]
    world = MappedWorld([*begun, shown(0, 19_000, "s2", "o2")])
    then, now = mapped(), mapped(checkouts={"fields": {"completed_at": "paidAt"}})
    world.live(then, 20_050)
    assert world.left("checkouts")[0] > 0, "the purchase is forgotten, by the time when it was begun"
    world.log[Side.OFFERS].append(shown(1, 20_100, "s1", "o1"))
    world.tell_stamps()
    world.configure(now)
    with pytest.raises(PositionsError, match="another mapping"):
        world.check()
    answer(world)
    second = world.live(now, 30_000)
    assert "o1" not in second.called, "bought at 15,500 by the mapping of now"
    assert "o1" in second.told


PRICED = {"fields": {**OFFER_FIELDS, "price": "cost"}}


def test_a_field_that_decides_no_fate_changes_which_presentations_can_be_read() -> None:
    """The web shop writes its cost as a text, the app as a number, and `price` is mapped for the first time.

    Of a chain that is open the second presentation can be read no more, so that the chain seems to have been due by D.
    It would be taken for settled, without a call and without an outcome.
    """
    world = MappedWorld([shown(0, AT, "s1", "o1", cost="9.90"), shown(1, AT + 700, "s1", "o1", cost=9.9)])
    assert world.live(mapped(), AT + 1_550).told == set(), "it is open, and due at AT + 1,700"
    world.configure(mapped(offers=PRICED))
    with pytest.raises(PositionsError, match="another mapping"):
        world.check()
    world.accept()
    second = world.live(mapped(offers=PRICED), AT + 10_000)
    assert (second.dead, second.told) == ([(1, "undecodable")], {"o1"})
