"""Rule 2: a yes to a commit that is full: what it makes longer is made to fit, and some calls are repeated instead."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from confluent_kafka import KafkaError
from support.changes_world import CHECKOUTS, NOW, OFFERS, OURS, ChangesWorld

from consumer.core.checkpoint import METADATA_LIMIT, OfferCheckpoint, each_of
from consumer.core.rules import MIN_TIME
from consumer.errors import MetadataTooLongError, PositionsError, StartError
from consumer.kafka.positions import check_positions

pytestmark = pytest.mark.usefixtures("one_record_tells")

COUNT = 60_000
COMMITTED = 10
FIRST_SHOWN = NOW - 10 * COUNT
OTHER_API = replace(OURS, base_url="https://gateway.of-another-partner.example.com/x")
TOPIC_ANEW = replace(OURS, checkout_topic_id="another-id")
READ = replace(
    OFFERS,
    decided_to=FIRST_SHOWN + 9 * COUNT,
    next_offset=COUNT - 10,
    next_checkout=50,
    splits=frozenset({20}),
    late_below=NOW - 20 * COUNT,
    trusted_since=NOW - 10_000,
    provenance=OURS.at(NOW - 60_000),
)


def full(checkpoint: OfferCheckpoint, add: Callable[[OfferCheckpoint, int], OfferCheckpoint]) -> OfferCheckpoint:
    """As much is listed of some scattered records as there is room for."""
    order, offset = random.Random(1), COMMITTED
    while True:
        offset += order.randrange(2, 60)
        more = add(checkpoint, offset * checkpoint.unit)
        if len(more.encode(COMMITTED)) > METADATA_LIMIT:
            assert offset < checkpoint.next_offset
            return checkpoint
        checkpoint = more


def unsettled(checkpoint: OfferCheckpoint, offset: int) -> OfferCheckpoint:
    return replace(checkpoint, unsettled=checkpoint.unsettled | {offset})


def dead(checkpoint: OfferCheckpoint, offset: int) -> OfferCheckpoint:
    """A record that begins a chain is not one: what stands in both lists cannot be read, and is not settled."""
    return replace(checkpoint, dead=checkpoint.dead | ({offset} - checkpoint.splits))


FULL = full(replace(READ, unsettled=frozenset({COMMITTED})), unsettled)


def full_world(checkpoint: OfferCheckpoint = FULL, *, each: str = "") -> ChangesWorld:
    world = ChangesWorld(each=each)
    world.consumer.most_metadata = METADATA_LIMIT
    world.consumer.stamps = {
        "offers": [FIRST_SHOWN + 10 * n for n in range(COUNT)],
        "checkouts": [FIRST_SHOWN - 100_000 + 1_000 * n for n in range(100)],
    }
    world.commit("offers", COMMITTED, checkpoint.encode(COMMITTED))
    world.commit("checkouts", 40, replace(CHECKOUTS, next_offset=50).encode(40))
    return world


def is_refused(world: ChangesWorld) -> bool:
    try:
        check_positions("g", world.starts.positions(world.consumer), world.now, 1)
    except PositionsError:
        return True
    return False


def test_a_longer_url_has_room_since_a_little_more_is_called_again() -> None:
    world = full_world()
    world.now = OTHER_API
    (change,) = world.accept()
    offset, found = world.offers()
    assert offset == COMMITTED
    assert found.unsettled > FULL.unsettled
    more = len(found.unsettled) - len(FULL.unsettled)
    assert more < 60
    assert change.what == (
        "goes on under the present names and API; since a commit has no room for all that is settled, "
        f"up to {more} offers that are settled are called again"
    )
    kept = replace(found, unsettled=FULL.unsettled, provenance=FULL.provenance, trusted_since=FULL.trusted_since)
    assert kept == FULL, "D, SPLITS and LATE stay"
    assert not is_refused(world)
    assert world.accept() == []


def test_nothing_is_listed_more_of_what_may_be_the_rest_of_a_chain_that_is_cut() -> None:
    world = full_world()
    world.now = OTHER_API
    world.accept()
    more = world.offers()[1].unsettled - FULL.unsettled
    lasts = OFFERS.rules[2] + world.rules.lateness + world.rules.max_skew
    assert min(more) >= COMMITTED + lasts // 10


def test_a_name_that_is_shorter_costs_nothing() -> None:
    world = full_world()
    world.now = replace(OURS, base_url="https://a.example")
    (change,) = world.accept()
    assert change.what.endswith("what is settled is not repeated")
    assert world.offers()[1].unsettled == FULL.unsettled


def test_a_time_up_to_which_checkouts_are_lost_has_room() -> None:
    # `trusted_since` gives way to it, but for two characters, and to the leader's epoch nothing.
    world = full_world(full(replace(READ, unsettled=frozenset({COMMITTED}), trusted_since=MIN_TIME), unsettled))
    world.now = TOPIC_ANEW
    world.accept()
    _, found = world.offers()
    assert found.lost_below > NOW - 60_000
    assert found.unsettled > {COMMITTED}
    assert not is_refused(world)


@pytest.mark.parametrize("refused", ["offers", "checkouts"])
def test_where_the_broker_takes_a_part_of_it_a_start_is_still_refused_and_a_second_yes_mends_it(refused: str) -> None:
    world = full_world(full(replace(READ, unsettled=frozenset({COMMITTED}), trusted_since=MIN_TIME), unsettled))
    world.now = TOPIC_ANEW
    world.consumer.refused[refused] = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(StartError, match="do it again"):
        world.accept()
    world.consumer.refused.clear()
    assert is_refused(world)
    world.accept()
    assert not is_refused(world)
    assert world.offers()[1].lost_below > NOW - 60_000


def test_what_is_lost_is_committed_with_the_checkouts_where_there_is_no_room_beside_what_was_found() -> None:
    """And under the names of then, so that the next start is refused until all of it is taken."""
    world = full_world(full(replace(READ, unsettled=frozenset({COMMITTED}), trusted_since=MIN_TIME), unsettled))
    world.now = TOPIC_ANEW
    commit, texts = world.consumer.commit, []

    def kept(offsets: list[object], asynchronous: bool) -> object:
        texts.append({place.topic: place for place in offsets})  # type: ignore[attr-defined]
        return commit(offsets, asynchronous)  # type: ignore[arg-type]

    world.consumer.commit = kept  # type: ignore[method-assign,assignment]
    world.accept()
    first, second = texts
    assert set(first) == {"offers", "checkouts"}
    assert set(second) == {"offers"}
    said = [OfferCheckpoint.decode(one["offers"].metadata, one["offers"].offset) for one in (first, second)]
    assert said[0].lost_below == said[1].lost_below > MIN_TIME
    assert said[0].provenance == READ.provenance


def test_what_is_dead_gives_way_first_and_the_youngest_of_it_last() -> None:
    checkpoint = full(replace(READ, unsettled=frozenset({COMMITTED, 25})), dead)
    world = full_world(checkpoint)
    world.now = OTHER_API
    (change,) = world.accept()
    _, found = world.offers()
    assert found.unsettled == {COMMITTED, 25}
    assert found.dead < checkpoint.dead
    assert min(found.dead) > max(checkpoint.dead - found.dead)
    fewer = len(checkpoint.dead) - len(found.dead)
    assert change.what.endswith(f"{fewer} records that were dead-lettered are so again, or their offers are called")


def test_several_presentations_of_a_record_are_counted_as_one() -> None:
    each = each_of("offers")
    checkpoint = full(replace(READ, each=each, splits=frozenset(), unsettled=frozenset({COMMITTED * 64})), unsettled)
    world = full_world(checkpoint, each=each)
    world.now = OTHER_API
    (change,) = world.accept()
    _, found = world.offers()
    assert found.unsettled > checkpoint.unsettled
    assert (
        f"up to {-(-(len(found.unsettled) - len(checkpoint.unsettled)) // 64)} offers that are settled" in change.what
    )


def test_a_full_commit_whose_offset_retention_deleted_goes_on_behind_it() -> None:
    world = full_world()
    world.consumer.begins["offers"] = 12
    (change,) = world.accept()
    assert world.offers()[0] == 12
    assert change.what.startswith("goes on behind 2 records that retention deleted")


def test_a_short_backlog_is_read_from_further_back_with_its_checkouts() -> None:
    """All of it may be a rest of chains that the commit cuts."""
    world = full_world()
    world.consumer.stamps["offers"] = [FIRST_SHOWN + n // 300 for n in range(COUNT)]
    world.consumer.stamps["checkouts"] = [FIRST_SHOWN - 100_000 + 1_000 * n for n in range(1_000)]
    world.commit("checkouts", 140, replace(CHECKOUTS, next_offset=150, horizon=FIRST_SHOWN).encode(140))
    checkpoint = replace(FULL, decided_to=FIRST_SHOWN + 150, late_below=FIRST_SHOWN)
    world.commit("offers", COMMITTED, checkpoint.encode(COMMITTED))
    world.now = OTHER_API
    change, _ = world.accept()
    offset, found = world.offers()
    assert offset == 0
    assert found.unsettled > FULL.unsettled
    assert (found.decided_to, found.next_offset) == (FIRST_SHOWN + 150, FULL.next_offset)
    assert "10 records before are read again, of which those are called again that were due after" in change.what
    at, checkouts = world.checkouts()
    assert at < 140
    assert checkouts is not None
    assert checkouts.horizon < FIRST_SHOWN
    assert found.late_below < checkpoint.late_below, "or the beginnings of such chains count as settled alone"


def test_a_broker_that_has_less_room_has_as_much_as_what_it_took_before() -> None:
    little = replace(FULL, unsettled=frozenset(sorted(FULL.unsettled)[:300]))
    world = full_world(little)
    world.consumer.most_metadata = len(little.encode(COMMITTED))
    world.now = OTHER_API
    world.accept()
    assert world.offers()[1].unsettled > little.unsettled
    assert not is_refused(world)


def test_a_broker_that_has_no_room_at_all_is_what_the_error_speaks_of() -> None:
    world = full_world()
    world.consumer.most_metadata = 100
    world.now = OTHER_API
    with pytest.raises(MetadataTooLongError, match=r"offset\.metadata\.max\.bytes"):
        world.accept()
