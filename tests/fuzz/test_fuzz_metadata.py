"""What stands with a committed offset, whoever wrote it: it is exactly what was written, or it is ignored and reported.

To read it wrongly is to take offers for settled that are not.
"""

from __future__ import annotations

from base64 import b85encode
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from fuzz.fuzzing import LONGS, fuzz, spoilt
from hypothesis import example, given
from hypothesis import strategies as st
from support.strategies import Logs, Step, logs, schedules
from support.task_world import TaskWorld

from consumer.core.admission import Admission
from consumer.core.checkpoint import (
    METADATA_LIMIT,
    CheckoutCheckpoint,
    GuardState,
    OfferCheckpoint,
    Position,
    UnreadableMetadata,
    each_of,
    unit_of,
)
from consumer.core.offset_list import MOST_LISTED, decode_offsets, encode_offsets
from consumer.core.provenance import LONGEST, Provenance
from consumer.core.restore import PartitionsMoved
from consumer.core.rules import MAX_TIME, MIN_TIME, DecisionRules
from consumer.core.task import Task
from consumer.core.watermark import Side
from consumer.events import OfferPresented

RULES = DecisionRules(window=1_800_000, checkout_grace=60_000, lookback=7_200_000, lateness=300_000, max_skew=300_000)
OFFSETS = st.integers(0, 2**62)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=7).filter(
    lambda text: not text.startswith("#") and len(quote(text)) <= LONGEST
)
"""Short enough to be stored as they are; of a longer one only a hash is read."""
TIMES = st.just(MIN_TIME) | st.integers(MIN_TIME, MAX_TIME - 1)


@st.composite
def offer_checkpoints(draw: st.DrawFn) -> tuple[OfferCheckpoint, int]:
    """What a commit may carry, and its offset."""
    committed = draw(OFFSETS)
    ahead, each = draw(st.integers(0, 300)), each_of(draw(st.none() | st.sampled_from(("offers", "items[?kind]"))))
    unit = unit_of(each)
    sets = [
        frozenset(committed * unit + gap for gap in draw(st.sets(st.integers(0, ahead * unit - 1), max_size=20)))
        if ahead
        else frozenset()
        for _ in range(3)
    ]
    window, more = draw(st.integers(1, 10**9)), draw(st.integers(0, 10**9))
    rules = window, draw(st.integers(0, window)), window + more, draw(st.booleans())
    numbers = draw(st.integers(1, 10**6)), draw(TIMES), committed + ahead, draw(OFFSETS)
    date, mapping = draw(st.just(MIN_TIME) | st.integers(0, 10**15)), draw(st.sampled_from(("", "m0123abcd")))
    whose = Provenance(*(draw(TEXTS) for _ in range(6)), date, draw(TEXTS), mapping)
    return OfferCheckpoint(rules, *numbers, *sets, draw(TIMES), whose, draw(TIMES), draw(TIMES), each), committed


@st.composite
def checkout_checkpoints(draw: st.DrawFn) -> tuple[CheckoutCheckpoint, int]:
    """The same of the checkout partition."""
    committed = draw(OFFSETS)
    heard = draw(st.sampled_from(((MIN_TIME, 1), (1, MIN_TIME), (MIN_TIME, MIN_TIME), (-5, MIN_TIME), (MIN_TIME, -7))))
    guard = GuardState(*heard, draw(TIMES | st.just(MAX_TIME)), draw(st.integers(0, 10**9)), draw(TIMES))
    numbers = draw(st.integers(1, 10**6)), committed + draw(st.integers(0, 10**9)), draw(TIMES)
    return CheckoutCheckpoint(*numbers, guard, draw(st.none() | st.integers(0, 10**12))), committed


@st.composite
def changed(draw: st.DrawFn, text: str) -> str:
    """The text after it was cut, spoilt, or had a piece of it replaced."""
    at = draw(st.integers(0, len(text)))
    end = draw(st.integers(at, len(text)))
    return draw(
        st.just(text[:at])
        | st.just(text[:at] + text[end:])
        | st.tuples(st.text("0123456789:-!af~A", max_size=3) | st.text(max_size=3)).map(
            lambda put: text[:at] + put[0] + text[end:]
        )
        | spoilt(text.encode()).map(lambda data: data.decode("utf-8", "replace"))
    )


def read(kind: Any, text: str, committed: int) -> tuple[Any, str]:
    """What is read, or None and why not."""
    try:
        return kind.decode(text, committed), ""
    except UnreadableMetadata as error:
        return None, str(error)


@fuzz(30)
@given(offer_checkpoints(), checkout_checkpoints())
def test_metadata_reads_back_as_it_was_written(
    offers: tuple[OfferCheckpoint, int], checkouts: tuple[CheckoutCheckpoint, int]
) -> None:
    for checkpoint, committed in (offers, checkouts):
        text = checkpoint.encode(committed)
        assert text.isascii()
        assert type(checkpoint).decode(text, committed) == checkpoint


@fuzz(75)
@given(offer_checkpoints() | checkout_checkpoints(), st.data())
def test_metadata_that_was_changed_is_read_as_it_was_or_not_at_all(drawn: tuple[Any, int], data: st.DataObject) -> None:
    checkpoint, committed = drawn
    text = data.draw(changed(checkpoint.encode(committed)))
    found, words = read(type(checkpoint), text, committed)
    assert found in (None, checkpoint)
    assert words.isprintable(), "it goes into the log"


@fuzz(30)
@given(offer_checkpoints() | checkout_checkpoints(), OFFSETS | st.integers(-5, 5))
def test_metadata_with_another_offset_is_not_read(drawn: tuple[Any, int], other: int) -> None:
    checkpoint, committed = drawn
    other = committed + other if abs(other) <= 5 else other
    if other != committed:
        with pytest.raises(UnreadableMetadata):
            type(checkpoint).decode(checkpoint.encode(committed), other)


NUMBERS = st.one_of(
    LONGS.map(str),
    st.sampled_from(("-", "", "!", "f5", "٣", " 1", "1_0", "+1", "1" * 4000, "-" + "9" * 50, str(2**62))),
)
LISTS = st.sampled_from(("", "~", "|NsC0", encode_offsets({0, 1, 5}, 0))) | st.binary(max_size=12).map(
    lambda data: b85encode(data).decode()
)
RULES_TEXT = st.sampled_from(
    ("1800000,60000,7200000,a", "1800000,60000,7200000,i", "1,2,3", "0,0,0,a", "a,b,c,d", "9,1,8,a")
)
UNCHECKED_OFFERS = st.tuples(st.just("1"), RULES_TEXT, *[NUMBERS] * 4, *[LISTS] * 3, NUMBERS).map(":".join)
UNCHECKED_CHECKOUTS = st.tuples(st.just("1"), *[NUMBERS] * 8).map(":".join) | st.tuples(
    st.just("1"), *[NUMBERS] * 3
).map(":".join)
ANY_TEXT = st.text(max_size=50) | UNCHECKED_OFFERS | UNCHECKED_CHECKOUTS
ENDLESS = "1:1800000,60000,7200000,a:1:-:4000000000000000000:0:::" + "{}:-"


@fuzz(100)
@given(ANY_TEXT, st.integers(0, 10))
@example("1:1800000,60000,7200000,a:1:-:2:0:::" + encode_offsets(range(5), 0) + ":-", 0)
@example(ENDLESS.format(encode_offsets(range(5), 0)), 0)
def test_whatever_the_metadata_says_its_numbers_are_in_range(text: str, committed: int) -> None:
    for kind in (OfferCheckpoint, CheckoutCheckpoint):
        found, _ = read(kind, text, committed)
        if found is None:
            continue
        assert committed <= found.next_offset < 2**64
        for time in (getattr(found, "decided_to", 0), getattr(found, "late_below", 0), getattr(found, "horizon", 0)):
            assert MIN_TIME <= time < MAX_TIME
        for offsets in (getattr(found, name, frozenset()) for name in ("splits", "dead", "unsettled")):
            unit = getattr(found, "unit", 1)
            assert all(committed <= offset // unit < found.next_offset for offset in offsets)


def test_a_few_bytes_that_list_more_offsets_than_fit_in_memory_are_not_read() -> None:
    listed = bytes([0, *[0xFF] * 7, 0x3F])
    text = b85encode(listed).decode()
    with pytest.raises(ValueError, match=f"more than {MOST_LISTED} offsets"):
        decode_offsets(text, 0, 2**62)


@fuzz(50)
@given(ANY_TEXT, ANY_TEXT, st.integers(0, 5), st.integers(0, 5))
def test_a_task_starts_from_whatever_is_committed_and_says_what_it_ignores(
    offers: str, checkouts: str, at: int, held: int
) -> None:
    told = read(OfferCheckpoint, offers, at)[0], read(CheckoutCheckpoint, checkouts, held)[0]
    task = None
    with suppress(PartitionsMoved):
        task = Task(RULES, partitions=1, offers=Position(at, offers), checkouts=Position(held, checkouts))
    assert (task is None) == any(found is not None and found.partitions != 1 for found in told)
    if task is None:
        return
    ignored = [finding for finding in task.restore_warnings if "commit metadata" in finding]
    assert len(ignored) == sum(bool(text) and not found for text, found in zip((offers, checkouts), told, strict=True))
    if told == (None, None):
        assert not task.restoring
        assert task.watermark == MIN_TIME
        assert task.decide() == []
        plan = task.prepare_commit()
        assert plan is not None
        assert (plan.offers.offset, plan.checkouts.offset) == (at, held)
        assert max(len(plan.offers.metadata), len(plan.checkouts.metadata)) <= METADATA_LIMIT


@pytest.mark.parametrize("stamp", [-1, 2**63 - 1])
def test_an_implausible_presentation_is_found_again_where_the_list_had_no_room_for_it(stamp: int) -> None:
    # Its record's stamp is missing, or as wrong as its date: only the clock tells.
    committed = OfferCheckpoint((1_800_000, 60_000, 7_200_000, True), 1, 0, 1, 0)
    task = Task(RULES, partitions=1, offers=Position(0, committed.encode(0)), checkouts=Position(0))
    event = OfferPresented("s", "P", "o", 2**63 - 1, 0)
    assert task.offer(event, stamp, 1_767_225_600_000) is Admission.IMPLAUSIBLE


@pytest.mark.usefixtures("one_record_tells")
@fuzz(20)
@given(logs(overdue=True), schedules(), st.data())
def test_after_metadata_was_spoilt_no_call_is_missed(drawn: Logs, schedule: list[Step], data: st.DataObject) -> None:
    # Not strict: without its metadata a commit may cut a chain, whose rest is then decided for itself.
    world = TaskWorld(drawn, strict=False)
    world.run(schedule)
    offers, checkouts = world.broker
    if data.draw(st.booleans()):
        offers = Position(offers.offset, data.draw(changed(offers.metadata)))
    if data.draw(st.booleans()):
        checkouts = Position(checkouts.offset, data.draw(changed(checkouts.metadata)))
    world.broker = offers, checkouts
    world.crash()
    if world.task.restore_until(Side.OFFERS) == offers.offset and not world.logs.checkouts[world.at[1] :]:
        world.task.idle(Side.CHECKOUTS, world.clock)  # H is to be learnt, and there is nothing to learn it from
    world.finish()
    world.check_all_told()
