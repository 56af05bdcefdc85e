"""A way back that passes over what the first one led to: is all of that settled indeed?"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import pytest
from confluent_kafka import KafkaError
from rules.test_changed_positions import RULES, START, Shown, TwoLogs
from support.changes_world import NOW, OURS

from consumer.core.admission import Admission
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.errors import StartError
from consumer.events import CheckoutCompleted, OfferPresented

pytestmark = pytest.mark.usefixtures("one_record_tells")


class Stopping(TwoLogs):
    """As a runner reads: while the task is restoring, neither input goes beyond where it says."""

    def read(self, task: Task, *, offers: int | None = None, checkouts: int | None = None) -> list[OfferPresented]:
        late: list[OfferPresented] = []
        assert offers is None
        assert checkouts is None
        moved = True
        while moved:
            moved = False
            for side, log in ((Side.CHECKOUTS, self.done), (Side.OFFERS, self.shown)):
                while (at := task.next_offset(side)) < len(log):
                    stop = task.restore_until(side)
                    if stop is not None and at >= stop:
                        break
                    moved = True
                    if side is Side.CHECKOUTS:
                        done = copy(self.done[at])
                        task.checkout(done, done.completed_at, NOW)
                        continue
                    shown = self.shown[at]
                    verdict = task.offer(shown, shown.presented_at, NOW)
                    if verdict not in (Admission.ACCEPTED, Admission.SETTLED):
                        late.append(shown)
                        task.give_up(shown.offset, verdict)
                        task.acknowledged(shown.offset)
        assert not task.restoring
        return late


def traced(world: TwoLogs) -> set[str]:
    """The offers that are called, settled with an outcome, or dead-lettered from what is committed on."""
    late: list[OfferPresented] = []
    made = {chain.offer_id for chain in world.chains(late=late)}
    return made | {one.offer_id for one in late}


def live(done: Sequence[Shown]) -> Stopping:
    """`r` is shown at 500 and due at 600. All is read up to 530, and decided up to 525; then the service is stopped."""
    world = Stopping([(100, "old"), (500, "r"), (530, "next")], done)
    world.settle_by(525)
    return world


@pytest.mark.parametrize("to", [499, 528])
def test_an_undecided_offer_whose_checkouts_retention_has_deleted_goes_late_and_does_not_vanish(to: int) -> None:
    world = live([(-3_000, ""), (-2_000, ""), (90, ""), (520, ""), (590, ""), (600, "")])
    assert traced(world) >= {"r", "next"}, "without a way back"
    world.consumer.begins["checkouts"] = 4
    world.commit("checkouts", 4, world.starts.checkouts_from(4, START + 590_000 + RULES.max_skew + RULES.lateness))
    assert traced(world) >= {"r", "next"}, "nor yet, without a way back: late, and said so"
    world.changes.reset_to(START + 1_000 * to, START + 10_000_000)
    assert traced(world) >= {"r", "next"}


@pytest.mark.parametrize("to", [499, 528])
def test_an_undecided_offer_does_not_vanish_by_a_yes_to_lost_checkouts_and_a_way_back(to: int) -> None:
    """The end of the checkouts was lost; the operator says yes to that, and then goes back to when all was well."""
    world = live([(-3_000, ""), (-2_000, ""), (90, ""), (520, ""), (522, "")])
    del world.done[3:]
    world.consumer.stamps["checkouts"] = world.consumer.stamps["checkouts"][:3]
    world.accept()
    assert traced(world) >= {"r", "next"}, "late, and said so"
    world.changes.reset_to(START + 1_000 * to, START + 10_000_000)
    assert traced(world) >= {"r", "next"}


@pytest.mark.parametrize("to", [499, 528])
def test_a_late_checkout_behind_what_was_read_settles_nothing_by_a_way_back(to: int) -> None:
    """It came after the service was stopped, and makes `r` due at 520, by which time nothing was decided of it."""
    world = live([(-3_000, ""), (-2_000, ""), (90, "")])
    assert traced(world) >= {"r", "next"}
    late = TwoLogs([], [(-3_000, ""), (-2_000, ""), (90, ""), (505, "r"), (700, "")])
    done = late.done[3]
    world.done.append(type(done)("s-r", done.checkout_id, done.completed_at, 3, ()))
    world.consumer.stamps["checkouts"].append(done.completed_at)
    assert traced(world) >= {"r", "next"}, "without a way back"
    world.changes.reset_to(START + 1_000 * to, START + 10_000_000)
    assert traced(world) >= {"r", "next"}


@pytest.mark.parametrize("to", [499, 528])
def test_an_undecided_offer_does_not_vanish_by_a_yes_to_a_new_checkout_topic_and_a_way_back(to: int) -> None:
    """As positions.md has it: a time cannot be found in a topic that was made anew, say yes to that first."""
    world = live([(-3_000, ""), (-2_000, ""), (90, ""), (520, ""), (522, "")])
    world.now = replace(OURS, checkout_topic_id="another")
    world.done = [replace_offset(world.done[3], n, START + 1_000 * at) for n, at in enumerate((560, 570))]
    world.consumer.stamps["checkouts"] = [done.completed_at for done in world.done]
    world.accept()
    assert traced(world) >= {"r", "next"}, "late, and said so"
    world.changes.reset_to(START + 1_000 * to, START + 10_000_000)
    assert traced(world) >= {"r", "next"}


@pytest.mark.parametrize("refused", [False, True], ids=["at once", "in two parts"])
def test_no_way_back_forgets_a_loss_that_was_said_yes_to_in_two_parts(refused: bool) -> None:
    """The end of the checkouts was lost, `r`'s purchase with it. The broker takes the checkouts' part of the yes only;
    before it is said again, the log has grown past what was read of it before."""
    world = live([(-3_000, ""), (-2_000, ""), (90, ""), (510, "r"), (522, "")])
    del world.done[3:]
    del world.consumer.stamps["checkouts"][3:]
    if refused:
        world.consumer.refused["offers"] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        before = world.left("offers")
        with pytest.raises(StartError, match="do it again"):
            world.accept()
        world.commit("offers", *before)  # the played broker keeps the text of what it refuses, at the same offset
        world.consumer.refused.clear()
        for offset, at in ((3, 700), (4, 710), (5, 720)):
            world.done.append(replace_offset(world.done[0], offset, START + 1_000 * at))
            world.consumer.stamps["checkouts"].append(START + 1_000 * at)
    world.accept()
    world.changes.reset_to(START + 499_000, START + 10_000_000)
    made = {chain.offer_id: chain.reason for chain in world.chains()}
    assert "r" not in made, f"it was bought, by a checkout that is known to be lost: {made}"


def replace_offset(done: CheckoutCompleted, offset: int, at: int) -> CheckoutCompleted:
    return CheckoutCompleted(done.session_id, done.checkout_id, at, offset, ())
