"""What a commit says of records that were given up."""

from __future__ import annotations

from consumer.core.refused import RefusedOffers


def test_a_record_of_one_presentation_is_known_by_its_offset() -> None:
    refused = RefusedOffers([2], 1)
    refused.add(5, lasting=True)
    refused.add(6, lasting=False)
    assert (refused.dead(), refused.unacknowledged()) == ({2, 5}, {5, 6})
    refused.acknowledged(5)
    assert (refused.dead(), refused.unacknowledged()) == ({2, 5}, {6})
    refused.forget(3)
    assert refused.dead() == {5}


def test_of_a_record_that_may_hold_several_all_is_unsettled_until_its_dead_letter_is_written() -> None:
    refused = RefusedOffers([128], 64)
    refused.add(5, lasting=True)
    refused.add(6, lasting=False)
    assert refused.dead() == {2 * 64, 5 * 64}
    assert refused.unacknowledged() == set(range(5 * 64, 7 * 64))
    refused.acknowledged(5)
    assert refused.unacknowledged() == set(range(6 * 64, 7 * 64))
    refused.forget(5)
    assert refused.dead() == {5 * 64}
