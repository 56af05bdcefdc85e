"""A chain: what it says of itself is what its first and its last presentation say."""

from __future__ import annotations

import pytest

from consumer.core.chain import Chain
from consumer.events import OfferPresented, Reason


def chain(*presented: tuple[int, int]) -> Chain:
    """One whose presentations are (offset, ms)."""
    presentations = [OfferPresented("s", f"partner{o}", f"offer{o}", at, o) for o, at in presented]
    return Chain(presentations, 500, Reason.DECLINED, None, split=False)


def test_a_chain_is_called_for_whom_and_what_its_first_presentation_names() -> None:
    one = chain((7, 100), (3, 200))
    assert (one.partner_code, one.offer_id, one.session_id) == ("partner7", "offer7", "s")


def test_a_chain_starts_at_the_offset_of_its_earliest_presentation_and_not_at_the_lowest() -> None:
    one = chain((7, 100), (3, 200))
    assert (one.start, one.begin) == (7, 100)


@pytest.mark.parametrize(
    ("presented", "offset"),
    [
        ([(4, 100)], 4),
        ([(4, 100), (5, 200)], 5),
        ([(5, 100), (4, 200)], 4),  # the later one came first
        ([(1, 100), (6, 200), (5, 200)], 5),
        ([(5, 200), (6, 200)], 5),
    ],
    ids=["alone", "in order", "out of order", "twins behind another", "twins alone"],
)
def test_the_last_presentation_is_the_latest_and_of_twins_the_one_written_first(
    presented: list[tuple[int, int]], offset: int
) -> None:
    assert chain(*presented).last.offset == offset


def test_two_chains_are_never_the_same_one() -> None:
    # A chain is told from others by its start, and two tasks have starts of their own.
    one, other = chain((7, 100)), chain((7, 100))
    assert one != other
    assert len({one, other}) == 2
