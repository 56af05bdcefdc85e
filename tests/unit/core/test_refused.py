"""What a commit says of records that were given up."""

from __future__ import annotations

from consumer.core.admission import Admission
from consumer.core.refused import RefusedOffers
from consumer.core.rules import MIN_TIME

T = 1_000_000


def test_a_record_of_one_presentation_is_known_by_its_offset() -> None:
    refused = RefusedOffers([2], 1)
    refused.add(5)
    refused.add(6, Admission.CUT_OFF, T)
    assert (refused.dead(), refused.unacknowledged()) == ({2, 5}, {5, 6})
    refused.acknowledged(5)
    assert (refused.dead(), refused.unacknowledged()) == ({2, 5}, {6})
    refused.forget(3)
    assert refused.dead() == {5}


def test_of_a_record_that_may_hold_several_all_is_unsettled_until_its_dead_letter_is_written() -> None:
    refused = RefusedOffers([128], 64)
    refused.add(5)
    refused.add(6, Admission.CUT_OFF, T)
    assert refused.dead() == {2 * 64, 5 * 64}
    assert refused.unacknowledged() == set(range(5 * 64, 7 * 64))
    refused.acknowledged(5)
    assert refused.unacknowledged() == set(range(6 * 64, 7 * 64))
    refused.forget(5)
    assert refused.dead() == {5 * 64}


def test_a_late_one_is_named_until_decisions_have_come_to_what_made_it_late() -> None:
    refused = RefusedOffers([], 64)
    refused.add(3, Admission.LATE, T)
    assert refused.late(MIN_TIME) == [], "its dead letter is not written"
    refused.acknowledged(3)
    assert (refused.late(MIN_TIME), refused.late(T - 1), refused.late(T)) == ([3 * 64], [3 * 64], [])
    assert (refused.dead(), refused.unacknowledged()) == (set(), set())
    refused.forget(3)
    assert refused.late(T - 1) == [3 * 64]
    refused.forget(4)
    assert refused.late(T - 1) == []


def test_one_that_was_cut_off_is_told_by_the_horizon() -> None:
    refused = RefusedOffers([], 1)
    refused.add(3, Admission.CUT_OFF, T)
    refused.acknowledged(3)
    assert (refused.dead(), refused.late(MIN_TIME)) == (set(), [])


def test_one_that_is_found_again_and_believed_is_as_one_that_was_late() -> None:
    refused = RefusedOffers([3, 4], 1)
    refused.found_again(3, T)
    refused.found_again(5, T)
    assert (refused.dead(), refused.late(T - 1), refused.late(T)) == ({4}, [3], [])


def test_there_is_a_bound_to_the_late_ones_and_the_oldest_go_first() -> None:
    refused = RefusedOffers([], 1)
    for offset in range(refused.MOST_LATE + 2):
        refused.add(offset, Admission.LATE, T)
        refused.acknowledged(offset)
    assert set(refused.late(MIN_TIME)) == set(range(2, refused.MOST_LATE + 2))


def test_of_the_late_ones_those_stand_first_that_decisions_come_to_last() -> None:
    refused = RefusedOffers([], 1)
    for offset, told_by in ((3, T), (4, T + 2), (5, T + 1), (6, T + 1)):
        refused.add(offset, Admission.LATE, told_by)
        refused.acknowledged(offset)
    assert refused.late(T) == [4, 6, 5]
    assert refused.late(MIN_TIME) == [4, 6, 5, 3]
