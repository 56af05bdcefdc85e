"""Records wait while it is in doubt whether their logs are those that were read before, and it is told why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from support.kafka import Message

from consumer.errors import OffsetGoneError
from consumer.kafka.leader_epochs import CUT_OR_NOT, Place, ReadTo
from consumer.kafka.log_doubts import LogDoubts
from consumer.kafka.topic_watch import IN_DOUBT

PLACE = ("checkouts", 0)
READ = ReadTo(9, 3)


class DoubtedEpochs:
    """Doubts what the test says, until the doubt is cleared."""

    def __init__(self) -> None:
        self.doubts: dict[Place, ReadTo] = {}

    def saw(self, messages: Sequence[Message]) -> dict[Place, ReadTo]:
        return self.doubts

    def whole(self) -> None:
        self.doubts.clear()


class CutStarts:
    """Brokers that tell, do not tell, or tell of a cut."""

    def __init__(self) -> None:
        self.untold, self.cut = "", False

    def check_cuts(self, read: Mapping[Place, ReadTo]) -> str:
        if self.cut:
            raise OffsetGoneError("cut")
        return self.untold


class PlayedWatch:
    """Is certain, or becomes so by the next look."""

    def __init__(self) -> None:
        self.certain, self.becomes = True, True
        self.epochs: list[Any] = []

    def saw_epoch(self, *epoch: Any) -> None:
        self.epochs.append(epoch)

    def look(self) -> None:
        self.certain = self.becomes


class DoubtsWorld:
    def __init__(self, *, watches: bool = True) -> None:
        self.epochs, self.starts, self.watch = DoubtedEpochs(), CutStarts(), PlayedWatch()
        self.trouble: list[str] = []
        self.unread: list[str] = []
        edges: tuple[Any, ...] = self.epochs, self.starts, self.watch if watches else None
        self.doubts = LogDoubts(*edges, self.trouble.append, self.unread.append)


def test_without_doubt_nothing_waits_and_nobody_is_asked() -> None:
    world = DoubtsWorld()
    world.starts.cut = True
    assert world.doubts.are_uncut([])
    assert world.doubts.are_of_same_topics([Message("checkouts", 0, 9, epoch=4)])
    assert (world.trouble, world.unread, world.watch.epochs) == ([], [], [("checkouts", 0, 4)])
    assert DoubtsWorld(watches=False).doubts.are_of_same_topics([])


def test_a_log_that_may_be_cut_waits_until_a_broker_tells() -> None:
    world = DoubtsWorld()
    world.epochs.doubts[PLACE] = READ
    world.starts.untold = "it does not answer"
    assert not world.doubts.are_uncut([])
    assert (world.trouble, world.unread) == (["it does not answer"], [CUT_OR_NOT])
    world.starts.untold = ""
    assert world.doubts.are_uncut([])
    assert world.epochs.doubts == {}


def test_a_log_that_was_cut_stops_the_run() -> None:
    world = DoubtsWorld()
    world.epochs.doubts[PLACE] = READ
    world.starts.cut = True
    with pytest.raises(OffsetGoneError):
        world.doubts.are_uncut([])


def test_topics_in_doubt_are_told_as_unread_also_in_the_poll_in_which_that_ends() -> None:
    world = DoubtsWorld()
    world.watch.certain = world.watch.becomes = False
    assert not world.doubts.are_of_same_topics([])
    world.watch.becomes = True
    assert world.doubts.are_of_same_topics([])
    assert world.unread == [IN_DOUBT, IN_DOUBT]
