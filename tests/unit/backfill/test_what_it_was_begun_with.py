"""What a backfill's group was begun with: another range, other rules or another mapping are another backfill."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from support.changes_world import CHECKOUTS, KAFKA, OFFERS, OURS
from support.kafka import Consumer

from consumer.backfill.run import is_new
from consumer.core.provenance import UNMAPPED, Provenance
from consumer.errors import RangeError
from consumer.settings import Settings

BEGUN = replace(OURS, scope="1-2/100-10-300-a", mapping="m0123abcd")


class Member(Consumer):
    """A client of the backfill's group."""

    def close(self) -> None: ...


def new(now: Provenance, begun: Provenance | None = BEGUN) -> bool:
    member = Member()
    if begun is not None:
        member.committed_offsets |= {("offers", 0): 7, ("checkouts", 0): 3}
        member.texts["offers", 0, 7] = replace(OFFERS, provenance=begun).encode(7)
        member.texts["checkouts", 0, 3] = CHECKOUTS.encode(3)
    clients: Any = SimpleNamespace(member=lambda on_error: member)
    return is_new(clients, Settings(kafka=KAFKA), 1, now)


def test_one_that_has_committed_nothing_is_new_and_one_that_has_goes_on() -> None:
    assert new(BEGUN, None)
    assert not new(BEGUN)
    assert not new(BEGUN, replace(BEGUN, mapping="")), "an older version tells nothing of the mapping"


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(BEGUN, scope="1-3/100-10-300-a"), "with another range or other settings"),
        (replace(BEGUN, mapping="m4567abcd"), r"with another mapping of the inputs: .* m0123abcd, now m4567abcd"),
        (replace(BEGUN, mapping=UNMAPPED), r"with another mapping of the inputs: .* m0123abcd, now none"),
    ],
)
def test_one_that_was_begun_with_something_else_is_refused(now: Provenance, words: str) -> None:
    with pytest.raises(RangeError, match=rf"{words}.*(?s:.*)nothing was called"):
        new(now)
