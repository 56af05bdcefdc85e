"""Rule 2: what `--accept` and `--reset-to` commit where the mapping of an input is another one than was committed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.changes_world import CHECKOUTS, FIRST, NOW, OFFERS, OURS, ChangesWorld

from consumer.core.provenance import UNMAPPED, Provenance
from consumer.core.rules import MIN_TIME
from consumer.kafka.positions import Doubt

pytestmark = pytest.mark.usefixtures("one_record_tells")

MAPPED, REMAPPED = replace(OURS, mapping="m0123abcd"), replace(OURS, mapping="m4567abcd")


def remapped(now: Provenance = REMAPPED, before: Provenance = MAPPED) -> ChangesWorld:
    """Its horizon lies far below what is asked for, and nothing below the checkouts' position is wanted."""
    world = ChangesWorld(now)
    world.commit("offers", 7, replace(OFFERS, provenance=before).encode(7))
    return world


@pytest.mark.parametrize("now", [REMAPPED, replace(OURS, mapping=UNMAPPED)])
def test_yes_to_another_mapping_decides_anew_what_stands_from_the_position_on(now: Provenance) -> None:
    world = remapped(now)
    assert [one.doubt for one in world.starts.positions(world.consumer).doubts(world.now)] == [Doubt.OTHER_MAPPING]
    (change, other) = world.accept()
    assert "each offer not bought among them is called, again if it was before" in change.what
    assert other.what.startswith("is read from join.lookback")
    offset, found = world.offers()
    assert (offset, found.decided_to, found.unsettled) == (7, MIN_TIME, set())
    assert found.provenance.mapping == ("" if now.mapping == UNMAPPED else now.mapping)
    assert world.accept() == [], "it is in no doubt any more"


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        (REMAPPED, REMAPPED, True),
        (MAPPED, REMAPPED, False),
        (OURS, REMAPPED, False),
        (MAPPED, replace(OURS, mapping=UNMAPPED), False),
        (OURS, replace(OURS, mapping=UNMAPPED), True),
    ],
    ids=["the same", "another", "it is not known", "none any more", "none"],
)
def test_how_old_the_checkouts_were_by_another_mapping_tells_nothing_of_those_of_now(
    before: Provenance, now: Provenance, kept: bool
) -> None:
    """Their horizon is a time of events. What is read again of them is dated by their records' stamps."""
    world = remapped(now, before)
    world.consumer.at = 5
    world.changes.reset_to(FIRST, NOW)
    assert (world.left("checkouts") == (3, CHECKOUTS.encode(3))) is kept
    assert world.checkouts()[0] <= 3


@pytest.mark.parametrize("gone", [True, False], ids=["retention", "a topic that was made anew"])
def test_where_the_offers_begin_anew_with_another_mapping_so_do_the_checkouts(gone: bool) -> None:
    world = remapped(REMAPPED if gone else replace(REMAPPED, offer_topic_id="another"))
    if gone:
        world.consumer.begins["offers"] = 9
    world.accept()
    assert (world.offers()[0], world.checkouts()[0]) == (9 if gone else 0, 0)
    assert world.offers()[1].decided_to == MIN_TIME
    assert world.accept() == []


def test_a_way_back_is_one_from_another_mapping_too() -> None:
    world = remapped()
    world.changes.reset_to(FIRST, NOW)
    assert world.offers()[1].provenance.mapping == REMAPPED.mapping
    assert world.accept() == []
