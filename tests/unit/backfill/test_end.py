"""When a backfill stops: all is settled, or nothing more can be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from consumer.backfill.end import EVERY, PATIENCE, End, Left
from consumer.backfill.mode import BackfillMode
from consumer.backfill.scope import BackfillScope, EventTimeRange
from consumer.core.checkpoint import OfferCheckpoint
from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules
from consumer.core.watermark import Side
from consumer.errors import StartError
from consumer.events import OfferPresented

RULES = DecisionRules(window=100, checkout_grace=10, lookback=300, lateness=5, max_skew=50)
SCOPE = BackfillScope(EventTimeRange(1_000, 2_000), RULES)
DONE_AT = SCOPE.done_at(0)
BEGAN = 5_000
AT_LOG_END = BEGAN - RULES.lateness - 1


class Runner(SimpleNamespace):
    """A task that has settled all of the range, if a test does not say otherwise."""

    def __init__(self, **more: Any) -> None:
        task = {
            "restoring": False, "unsettled": 0, "watermark": DONE_AT, "decided_to": DONE_AT,
            "open_offers": lambda: iter(more.get("undecided", ())), "next_offset": lambda side: 0,
        }  # fmt: skip
        task |= {name: value for name, value in more.items() if name in task}
        resume_at = more.get("resume_at", MIN_TIME)
        task["guard"] = SimpleNamespace(
            behind_gap=more.get("behind_gap", False), has_landed=resume_at == MIN_TIME, resume_at=resume_at
        )
        late = {"suspended": more.get("suspended", False), "kept": more.get("kept", [])}
        task["due"] = SimpleNamespace(has_more=more.get("more_due", False))
        super().__init__(
            task=SimpleNamespace(**task), late_run=SimpleNamespace(**late), outstanding=more.get("outstanding", 0)
        )

    @property
    def is_done(self) -> bool:
        return not self.outstanding and BackfillMode(("offers", "checkouts"), SCOPE, None).is_done(0, self.task)


class Group:
    """The tasks of this instance and what the group has committed for the others."""

    def __init__(self, *runners: Runner, others: Any = None, assigned: bool = True) -> None:
        self.runners = dict(enumerate(runners))
        self.asked = 0
        self.away = False
        self.others = others or {}
        self.consumer = SimpleNamespace(assigned=assigned, positions=self._positions)

    def _positions(self) -> Any:
        self.asked += 1
        if self.away:
            raise StartError("no answer")
        places = {(Side.OFFERS, p): SimpleNamespace(checkpoint=found) for p, found in self.others.items()}
        return SimpleNamespace(by_place=places)


def checkpoint(decided_to: int = DONE_AT, *unsettled: int) -> OfferCheckpoint:
    return OfferCheckpoint((100, 10, 300, True), 2, decided_to, 9, 9, unsettled=frozenset(unsettled))


def end(group: Group, partitions: int | None = None, **more: Any) -> End:
    mode = BackfillMode(("offers", "checkouts"), SCOPE, None)
    count = len(group.runners) if partitions is None else partitions
    given = {"flush": lambda seconds: True} | more
    return End(group, mode, partitions=count, began=BEGAN, lateness=RULES.lateness, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("runner", "reached"),
    [
        (Runner(), True),
        (Runner(outstanding=1), False),
        (Runner(unsettled=1, watermark=AT_LOG_END), False),
        (Runner(restoring=True, watermark=AT_LOG_END), False),
        (Runner(decided_to=DONE_AT - 1), False),
        (Runner(decided_to=DONE_AT - 1, watermark=AT_LOG_END - 1), False),
        (Runner(decided_to=DONE_AT - 1, watermark=AT_LOG_END), True),
        (Runner(decided_to=0, watermark=AT_LOG_END), True),
        (Runner(decided_to=0, watermark=AT_LOG_END, more_due=True), False),
        (Runner(decided_to=0, watermark=AT_LOG_END, kept=[1]), False),
        (Runner(decided_to=0, watermark=0, kept=[1], suspended=True), True),
    ],
    ids=[
        "all is settled", "a call is under way", "something waits for its call", "it restores", "it reads on",
        "the log is not read yet", "the log decides no more", "a guard holds it", "more is due",
        "late ones are being judged", "a mass of late ones is kept back",
    ],
)  # fmt: skip
def test_a_task_is_over_when_all_is_settled_or_the_log_tells_no_more(runner: Runner, reached: bool) -> None:
    assert end(Group(runner)).is_reached() is reached
    assert end(Group(Runner(), runner)).is_reached() is reached


def test_who_has_been_told_nothing_by_the_group_waits() -> None:
    assert not end(Group(Runner(), assigned=False)).is_reached()


@pytest.mark.parametrize(
    ("other", "reached"),
    [
        (checkpoint(), True),
        (checkpoint(DONE_AT - 1), False),
        (checkpoint(DONE_AT, 3), False),
        (None, False),
    ],
)
def test_who_is_done_waits_for_the_others_by_what_they_have_committed(other: Any, reached: bool) -> None:
    assert end(Group(Runner(), others={1: other}), partitions=2).is_reached() is reached
    assert end(Group(others={0: checkpoint(), 1: other}), partitions=2).is_reached() is reached, "a spare one, too"


def open_task(**more: Any) -> Runner:
    return Runner(decided_to=0, watermark=AT_LOG_END, **more)


def test_it_is_over_only_once_what_was_written_is_acknowledged() -> None:
    acknowledged: list[bool] = []
    it = end(Group(Runner()), flush=lambda seconds: bool(acknowledged))
    assert not it.is_reached()
    acknowledged.append(True)
    assert it.is_reached()


@pytest.mark.parametrize("held", [{"behind_gap": True}, {"resume_at": 12_000}])
def test_it_waits_for_checkouts_that_land(held: dict[str, Any]) -> None:
    assert not end(Group(open_task(**held))).is_reached()


def test_it_does_not_wait_for_a_silence_to_end() -> None:
    assert end(Group(open_task(resume_at=MAX_TIME))).is_reached()


def test_one_that_has_something_left_waits_a_while_for_the_tasks_of_one_that_has_died() -> None:
    now = [0.0]
    it = end(Group(open_task(), others={1: checkpoint(0)}), partitions=2, monotonic=lambda: now[0])
    assert not it.is_reached()
    now[0] = PATIENCE - 1
    assert not it.is_reached()
    now[0] = PATIENCE
    assert it.is_reached(), "or two of them would wait for each other"


def test_one_whose_tasks_are_settled_waits_for_the_others_also_while_the_broker_is_away() -> None:
    now, group = [0.0], Group(Runner(), others={1: checkpoint(0)})
    it = end(group, partitions=2, monotonic=lambda: now[0])
    for now[0] in (0.0, 10.0, 2 * PATIENCE):
        group.away = not group.away
        assert not it.is_reached()


def test_the_others_are_asked_for_at_an_interval() -> None:
    now = [0.0]
    group = Group(Runner(), others={1: checkpoint(0)})
    it = end(group, partitions=2, monotonic=lambda: now[0])
    assert not it.is_reached()
    assert not it.is_reached()
    assert group.asked == 1
    group.others = {1: checkpoint()}
    now[0] = EVERY
    assert it.is_reached()


def test_what_is_left_is_counted_and_told() -> None:
    def shown(at: int) -> OfferPresented:
        return OfferPresented("s", "ada", "o", at, 0)

    told: list[OfferPresented] = []
    undecided = (shown(1_999), shown(2_000), shown(999))
    group = Group(Runner(), Runner(decided_to=0, unsettled=2, undecided=undecided))
    assert end(group, on_open=told.append).left() == Left(1, 2, (1,))
    assert told == [undecided[0]]
    assert end(Group(Runner())).left() == Left(0, 0, ())


def test_two_that_are_done_do_not_wait_for_ever_for_what_the_other_one_lists() -> None:
    """A commit lists what is open behind the range beside a checkout without a date; it is not the range's."""
    now = [0.0]
    one = end(Group(Runner(), others={1: checkpoint(DONE_AT, 5)}), 2, monotonic=lambda: now[0], random=lambda: 0.5)
    assert not one.is_reached()
    now[0] = 1.5 * PATIENCE - 1
    assert not one.is_reached()
    now[0] = 1.5 * PATIENCE + EVERY
    assert one.is_reached()
    assert one.left().unfinished == (1,), "it does not know, and says so"
