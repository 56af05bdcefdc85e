"""Offers that were shown in two sessions, over several partitions."""

from __future__ import annotations

import pytest

from consumer.audit import two_sessions
from consumer.audit.two_sessions import OfferSessions


@pytest.mark.parametrize("at_once", [1_000_000, 3])
def test_an_offer_of_two_sessions_is_found_in_whatever_partitions(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_sessions, "_AT_ONCE", at_once)
    sessions = OfferSessions()
    for number in range(10):
        sessions.add("P", f"o{number}", 0, number, in_range=True)
    sessions.add("P", "o3", 5, 77, in_range=False)
    sessions.add("Q", "o4", 5, 78, in_range=True)
    sessions.add("P", "o9", 0, 79, in_range=True)
    assert sorted(sessions.twice()) == [[(0, 3), (5, 77)], [(0, 9), (0, 79)]]


def test_an_offer_whose_chains_all_lie_outside_of_the_range_is_not_told() -> None:
    sessions = OfferSessions()
    sessions.add("P", "o", 0, 0, in_range=False)
    sessions.add("P", "o", 1, 0, in_range=False)
    assert list(sessions.twice()) == []


def test_a_partner_and_an_offer_are_not_mixed_up() -> None:
    sessions = OfferSessions()
    sessions.add("P", "Qo", 0, 0, in_range=True)
    sessions.add("PQ", "o", 1, 0, in_range=True)
    assert list(sessions.twice()) == []
