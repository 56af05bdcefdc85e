"""What a change of positions leaves behind where the broker took a part of it, or where it is asked for twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from confluent_kafka import KafkaError
from support.changes_world import CHECKOUTS, FIRST, KAFKA, NOW, OFFERS, OURS, RULES, ChangesWorld

from consumer.core.checkpoint import OfferCheckpoint, Position
from consumer.core.task import Task
from consumer.errors import PositionsError, StartError
from consumer.kafka.positions import check_positions
from consumer.kafka.start_offsets import StartOffsets

pytestmark = pytest.mark.usefixtures("one_record_tells")


def test_a_yes_of_which_the_checkouts_part_was_refused_is_asked_for_again() -> None:
    """The checkout topic was made anew, and the broker took the yes for the offers only.

    Then nothing says any more that the checkouts' position is of the old log: the new one has grown past it, what
    stands below is skipped, and the offers that it bought would be called.
    """
    world = ChangesWorld(replace(OURS, checkout_topic_id="another"))
    world.consumer.refused["checkouts"] = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    with pytest.raises(StartError, match=r"in part only, not for checkouts\[0\].*do it again"):
        world.accept()
    world.consumer.refused.clear()
    assert world.left("checkouts") == (3, CHECKOUTS.encode(3)), "the position of the old log"

    with pytest.raises(PositionsError):
        check_positions("g", world.starts.positions(world.consumer), world.now, 1)
    world.accept()
    assert world.left("checkouts") != (3, CHECKOUTS.encode(3)), "and a second yes mends it"


def test_a_task_believes_no_horizon_below_what_the_offers_say_is_lost_for_good() -> None:
    """The second net under the same: LOST stands with the offers, and H never falls below it."""
    offers = replace(OFFERS, lost_below=1_000_000)
    task = Task(RULES, partitions=1, offers=Position(7, offers.encode(7)), checkouts=Position(3, CHECKOUTS.encode(3)))
    assert task._horizon.value >= 1_000_000


def test_a_yes_to_a_group_that_has_nothing_is_one_commit() -> None:
    """Its outcomes tell of a run before, so the first checkout left is not known to be the first there was. Said in
    a second commit, that would be lost with a process that dies between the two."""
    world = ChangesWorld()
    world.commit("offers", -1001, "")
    world.commit("checkouts", -1001, "")
    world.consumer.errors["commit"] = []
    commit, commits = world.consumer.commit, list[object]()

    def counted(*args: object, **more: object) -> object:
        commits.append(more)
        return commit(*args, **more)  # type: ignore[arg-type]

    world.consumer.commit = counted  # type: ignore[method-assign,assignment]
    world.accept()
    assert len(commits) == 1
    _, found = world.checkouts()
    assert found is None or found.horizon >= FIRST, "else all checkouts of before count as never made"


@pytest.mark.parametrize("refused", ["offers", "checkouts"])
def test_a_yes_to_a_group_that_has_nothing_keeps_its_horizon_whatever_part_the_broker_took(refused: str) -> None:
    """The offers' part alone would say of which topic it is. The next yes would take its first checkout for the first
    that there ever was, and no offer for late."""
    world = ChangesWorld()
    world.commit("offers", -1001, "")
    world.commit("checkouts", -1001, "")
    world.consumer.refused[refused] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(StartError, match=rf"in part only, not for {refused}\[0\].*do it again"):
        world.accept()
    world.consumer.refused.clear()
    with pytest.raises(PositionsError):
        check_positions("g", world.starts.positions(world.consumer), world.now, 1)
    world.accept()
    _, found = world.checkouts()
    assert found is not None
    assert found.horizon >= FIRST + RULES.max_skew + RULES.lateness


def test_no_way_back_forgets_what_a_yes_to_a_group_that_has_nothing_does_not_know() -> None:
    world = ChangesWorld()
    world.commit("offers", -1001, "")
    world.commit("checkouts", -1001, "")
    world.accept()
    world.consumer.at = 0
    world.changes.reset_to(NOW - 10_000, NOW)
    _, found = world.checkouts()
    assert found is not None
    assert found.horizon >= FIRST + RULES.max_skew + RULES.lateness


def test_a_topic_that_is_younger_than_the_group_is_not_taken_for_whole_where_it_starts_from_now() -> None:
    """The offsets expired, and the checkout topic was made anew. Its very first offset is there, but its first record
    is younger than all that an offer of now looks back to."""
    world = ChangesWorld()
    world.commit("offers", -1001, "")
    world.commit("checkouts", -1001, "")
    stamps = [NOW - 100 + n for n in range(50)]
    world.consumer.stamps = {"offers": stamps, "checkouts": stamps}
    latest = StartOffsets(KAFKA.model_copy(update={"start_from": "latest"}), RULES, 1, OURS)
    changes = world.changes
    changes._starts = latest
    told = changes.accept(NOW)
    _, checkouts = world.checkouts()
    _, offers = world.offers()
    assert checkouts is not None
    assert checkouts.horizon == offers.lost_below == NOW - 100 + RULES.max_skew + RULES.lateness
    assert "dead-lettered as late" in told[-1].what


HOUR = 3_600_000
STAMPS = [NOW - HOUR + 10 * n for n in range(50)]


def decided_anew_from(world: ChangesWorld) -> int:
    offset, text = world.left("offers")
    return OfferCheckpoint.decode(text, offset).next_offset


def test_to_go_back_can_be_done_again_after_the_broker_took_a_part_of_it() -> None:
    """As the error says: mend the cause, do it again."""
    world = ChangesWorld()
    world.consumer.stamps = {"offers": STAMPS, "checkouts": STAMPS}
    world.commit("offers", 45, replace(OFFERS, next_offset=46, unsettled=frozenset()).encode(45))
    for topic in ("checkouts", "offers"):
        world.consumer.refused[topic] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
        with pytest.raises(StartError, match="do it again"):
            world.changes.reset_to(STAMPS[40], NOW)
        assert world.left("offers")[0] == 45, "the checkouts' part comes first"
        world.consumer.refused.clear()
    world.changes.reset_to(STAMPS[40], NOW)
    assert decided_anew_from(world) == 40


@pytest.mark.parametrize("low", [0, 5])
def test_nobody_goes_back_in_a_cut_log_without_a_yes_wherever_it_begins(low: int) -> None:
    """Only the yes keeps up to when checkouts are lost; that retention has passed the position too changes nothing."""
    world = ChangesWorld()
    world.commit("offers", 7, replace(OFFERS, next_checkout=101).encode(7))
    world.consumer.low = low
    with pytest.raises(PositionsError, match="kept only once you said yes"):
        world.changes.reset_to(NOW - 1_000, NOW)
    assert world.consumer.commits == []
