"""Rules 1 and 4: what could not be read, and can be after the mend, is not dead-lettered as dated implausibly.

A wrong reader (`avro.format`, the schema registry, a version) finds a row of records unreadable, and the service stops.
The row is not committed, so that whoever starts again finds it whole. The reader is mended, and the service started.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.builders import CODEC, offer
from support.loop_world import LoopWorld

from consumer.errors import DecodeError, TooManyDeadLettersError


class WrongReader:
    """Reads no offer."""

    def __getattr__(self, name: str) -> Any:
        return getattr(CODEC, name)

    def decode_offer(self, *args: Any) -> Any:
        raise DecodeError("undecodable", "it is written with another framing")


def shown(offset: int) -> Any:
    return offer(offset, 10_000 + offset, session=f"s{offset}", offer_id=f"o{offset}")


def started_again(before: LoopWorld) -> LoopWorld:
    world = LoopWorld(max_run=5, max_ratio=1.0)
    world.begin_after(before)
    return world


def test_a_row_that_can_be_read_after_the_mend_is_decided_and_called() -> None:
    wrong = LoopWorld(max_run=5, max_ratio=1.0, codec=WrongReader())
    wrong.begin()
    for offset in range(5):
        wrong.turn([shown(offset)])
    wrong.commit()
    with pytest.raises(TooManyDeadLettersError):
        wrong.turn([shown(5)])
    assert wrong.committed == 0, "the next start finds the row whole"

    mended = started_again(wrong)
    for offset in range(6):
        mended.turn([shown(offset)])
    mended.idle(20_000)
    assert [reason for _, reason in mended.sink.dead] == [], "they are dated rightly, and can be read"
    assert sorted(call.offer_id for call in mended.delivery.calls) == [f"o{n}" for n in range(6)]


def test_so_is_the_last_one_where_the_process_dies_within_two_seconds() -> None:
    wrong = LoopWorld(max_run=5, max_ratio=1.0, codec=WrongReader())
    wrong.begin()
    wrong.turn([shown(0)])
    wrong.commit()  # and then it is killed

    mended = started_again(wrong)
    mended.turn([shown(0)])
    mended.idle(20_000)
    assert [call.offer_id for call in mended.delivery.calls] == ["o0"], mended.sink.dead
