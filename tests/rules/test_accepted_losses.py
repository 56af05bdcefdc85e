"""Rule 2: checkouts that an operator has said are lost stay lost, whatever part of that the broker took."""

from __future__ import annotations

from contextlib import suppress

import pytest
from confluent_kafka import KafkaError
from support.two_logs import START, TwoLogs

from consumer.errors import StartError
from consumer.events import CheckoutCompleted, OfferPresented, Reason

pytestmark = pytest.mark.usefixtures("one_record_tells")

NOW = START + 10_000_000


def cut() -> TwoLogs:
    """`r` is shown at 500 and due at 600; it is bought at 524. All is read up to 530 and decided up to 525, when the
    service stops and the checkout log loses its end, with the purchase."""
    done = [(-3_000, ""), (-2_000, ""), (90, ""), (522, ""), (524, "r")]
    world = TwoLogs([(100, "old"), (500, "r"), (530, "next")], done)
    world.settle_by(525)
    del world.done[3:]
    del world.consumer.stamps["checkouts"][3:]
    return world


def grow(world: TwoLogs) -> None:
    """Beyond what was read before, so that no offset tells that anything is lost."""
    for offset, at in enumerate((700, 710, 720), start=3):
        world.done.append(CheckoutCompleted("s-other", f"d{offset}", START + 1_000 * at, offset, ()))
        world.consumer.stamps["checkouts"].append(START + 1_000 * at)


def fates(world: TwoLogs) -> dict[str, Reason]:
    late: list[OfferPresented] = []
    made = {chain.offer_id: chain.reason for chain in world.chains(late=late)}
    return made | {one.offer_id: Reason.LATE for one in late}


@pytest.mark.parametrize("again", [False, True], ids=["the service starts", "the yes is said again"])
@pytest.mark.parametrize("refused", [None, "offers", "checkouts"])
def test_a_loss_that_was_said_yes_to_makes_no_false_call(refused: str | None, again: bool) -> None:
    world = cut()
    if refused:
        world.consumer.refused[refused] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        with pytest.raises(StartError, match="do it again"):
            world.accept()
        world.consumer.refused.clear()
    if again or not refused:
        world.accept()
    grow(world)
    assert fates(world)["r"] is Reason.LATE
    if refused != "offers" or again:  # else nothing says so, and the manual says not to wait with the second yes
        world.changes.reset_to(START + 499_000, NOW)
        assert fates(world)["r"] is Reason.LATE


@pytest.mark.parametrize("goes_back", [False, True])
@pytest.mark.parametrize("after", [1, 2])
def test_a_yes_that_is_cut_off_between_two_commits_makes_no_false_call(after: int, goes_back: bool) -> None:
    """The process is killed after so many of its commits; then the log grows past what was read of it."""
    world = cut()
    commit, left = world.consumer.commit, [after]

    def commit_or_die(*args: object, **more: object) -> object:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return commit(*args, **more)  # type: ignore[arg-type]

    world.consumer.commit = commit_or_die  # type: ignore[method-assign,assignment]
    with suppress(KeyboardInterrupt):
        world.accept()
    world.consumer.commit = commit  # type: ignore[method-assign]
    grow(world)
    if goes_back:
        world.changes.reset_to(START + 499_000, NOW)
    assert fates(world)["r"] is Reason.LATE
