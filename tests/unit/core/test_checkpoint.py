"""The commit metadata as text: what is written today is read by the next version, and by the one before."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.core.checkpoint import (
    CheckoutCheckpoint,
    GuardState,
    OfferCheckpoint,
    Position,
    UnreadableMetadata,
    are_new_checkouts,
    each_of,
    losing,
    new_checkouts,
)
from consumer.core.provenance import Provenance
from consumer.core.rules import MAX_TIME, MIN_TIME

OFFERS = OfferCheckpoint(
    rules=(1_800_000, 60_000, 7_200_000, True),
    partitions=12,
    decided_to=1_790_000_000_000,
    next_offset=700,
    next_checkout=90,
    splits=frozenset({500}),
    dead=frozenset({501, 502}),
    unsettled=frozenset({510, 511, 512, 640}),
    late_below=1_789_999_000_000,
)
PROVENANCE = Provenance(
    "c1", "o-id", "c-id", "offer.presented", "checkout.completed", "https://api.xcover.com/x", 1_790_000_040_000
)
WRITTEN = replace(OFFERS, provenance=PROVENANCE, trusted_since=1_789_999_500_000)
WRITTEN_TEXT = (
    "2<Z{3R:1800000,60000,7200000,a:12:1790000000000:700:90:000:0Ra:3Icxs:1789999000000:"
    "c1,o-id,c-id,offer.presented,checkout.completed,https%3A//api.xcover.com/x,1790000040000:1789999500000"
)
OFFERS_TEXT = "1$x>r`:1800000,60000,7200000,a:12:1790000000000:700:90:000:0Ra:3Icxs:1789999000000"
"""As version 1 wrote it."""
UNCHECKED = OFFERS_TEXT.replace("$x>r`", "")
"""As before there was a checksum: still read, so that what it refuses can be shown one by one."""

GUARD = GuardState(1_790_000_000_000, MIN_TIME, 1_790_000_000_500, 3, 1_789_000_000_000)
CHECKOUTS = CheckoutCheckpoint(12, 90, 1_789_000_000_000, GUARD, 7_200_000)
CHECKOUTS_TEXT = "1I~uAV:12:90:1789000000000:7200000:1790000000000:1790000000500:3:1789000000000"


def test_the_offer_partition_s_metadata_is_written_as_ever_and_read_again() -> None:
    assert WRITTEN.encode(500) == WRITTEN_TEXT
    assert OfferCheckpoint.decode(WRITTEN_TEXT, 500) == WRITTEN
    ignored = replace(OFFERS, rules=(1_800_000, 60_000, 7_200_000, False), late_below=MIN_TIME)
    assert OfferCheckpoint.decode(ignored.encode(500), 500) == ignored


def test_the_checkout_partition_s_metadata_is_written_as_ever_and_read_again() -> None:
    assert CHECKOUTS.encode(80) == CHECKOUTS_TEXT
    assert CheckoutCheckpoint.decode(CHECKOUTS_TEXT, 80) == CHECKOUTS


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("-:-:0:-", GuardState()),
        ("f77:!:0:-", GuardState(first_offer=77, resume_at=MAX_TIME)),
        ("99:-:49:98", GuardState(newest_checkout=99, unmatched=49, judged_to=98)),
    ],
)
def test_what_the_guards_remember_is_written_as_ever_and_read_again(text: str, state: GuardState) -> None:
    assert state.encode() == text
    assert GuardState.decode(*text.split(":")) == state


def test_what_the_first_version_wrote_is_still_read() -> None:
    assert OfferCheckpoint.decode(OFFERS_TEXT, 500) == OFFERS
    assert OfferCheckpoint.decode(UNCHECKED.rpartition(":")[0], 500) == replace(OFFERS, late_below=MIN_TIME)
    assert CheckoutCheckpoint.decode("1:12:90:-", 80) == CheckoutCheckpoint(12, 90, MIN_TIME)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("1:1800000", "4:1800000", "version '4'"),
        ("1:1800000", "2:1800000", "changed since it was written, or is not of offset 500"),
        (":1789999000000", "", None),
        (":1789999000000", ":1:2", "5 fields after Pc instead of 4"),
        (":0Ra:3Icxs:1789999000000", "", "1 fields after Pc instead of 4"),
        (",a:", ",x:", "'x'"),
        ("1800000,", "0,", "numbers out of range"),
        ("1800000,", "1,", None),
        ("1800000,", "7200000,", None),
        ("1800000,", "7200001,", "numbers out of range"),
        (":700:", ":641:", None),
        (":700:", ":640:", "offset 640 is not below 640"),
        (":90:000:", ":90:00:", "cut off in the middle of a number"),
    ],
)
def test_what_is_damaged_is_found_out_and_said(old: str, new: str, why: str | None) -> None:
    damaged = UNCHECKED.replace(old, new)
    assert damaged != UNCHECKED
    if why is None:
        OfferCheckpoint.decode(damaged, 500)
        return
    with pytest.raises(UnreadableMetadata, match=rf"offer partition's commit metadata .*: .*{why}$"):
        OfferCheckpoint.decode(damaged, 500)


def test_what_was_changed_or_stands_with_another_offset_is_found_out() -> None:
    for decode, text, committed in (
        (OfferCheckpoint.decode, OFFERS_TEXT, 500),
        (OfferCheckpoint.decode, WRITTEN_TEXT, 500),
        (CheckoutCheckpoint.decode, CHECKOUTS_TEXT, 80),
    ):
        for at in range(1, len(text)):
            with pytest.raises(UnreadableMetadata):
                decode(text[:at] + ("8" if text[at] != "8" else "9") + text[at + 1 :], committed)
        with pytest.raises(
            UnreadableMetadata, match=f"changed since it was written, or is not of offset {committed - 1}"
        ):
            decode(text, committed - 1)


def test_an_offset_committed_outside_of_what_was_read_is_found_out() -> None:
    nothing_open = replace(OFFERS, splits=frozenset(), dead=frozenset(), unsettled=frozenset())
    assert OfferCheckpoint.decode(nothing_open.encode(700), 700) == nothing_open
    for committed in (701, -1):
        with pytest.raises(UnreadableMetadata, match="numbers out of range"):
            OfferCheckpoint.decode(nothing_open.encode(committed), committed)


@pytest.mark.parametrize(
    ("metadata", "committed", "why"),
    [
        ("4:12:90:-", 80, "version '4'"),
        ("3:12:90:-", 80, "changed since it was written, or is not of offset 80"),
        ("2:12:90:-", 80, "changed since it was written, or is not of offset 80"),
        ("1:12:90:-:-", 80, "1 fields after H instead of 5"),
        ("1:12:90:-", 91, "numbers out of range"),
        ("1:12:90:-", -1, "numbers out of range"),
        ("1:12:90:-:-:-:-:-1:-", 80, "'-1' is not a number"),
        ("1:12:90", 80, "not enough values"),
        ("1:12:x:-", 80, "'x'"),
    ],
)
def test_damaged_metadata_of_checkouts_is_found_out_and_said(metadata: str, committed: int, why: str) -> None:
    with pytest.raises(UnreadableMetadata, match=rf"checkout partition's commit metadata '{metadata}': .*{why}"):
        CheckoutCheckpoint.decode(metadata, committed)
    assert CheckoutCheckpoint.decode("1:12:90:-", 90).next_offset == 90


@pytest.mark.parametrize("time", [-7, 0, MIN_TIME + 1, MAX_TIME - 1, 10**18])
def test_any_time_is_read_as_it_was_written(time: int) -> None:
    assert CheckoutCheckpoint.decode(f"1:12:90:{time}", 80).horizon == time


@pytest.mark.parametrize("time", [MIN_TIME - 1, MAX_TIME, 10**19, "--7", "+7", "\u0667", "7_0", " 7"])
def test_what_is_no_time_is_found_out(time: object) -> None:
    with pytest.raises(UnreadableMetadata):
        CheckoutCheckpoint.decode(f"1:12:90:{time}", 80)


def test_a_number_has_at_most_nineteen_digits() -> None:
    assert CheckoutCheckpoint.decode(f"1:12:{'9' * 19}:-", 80).next_offset == 10**19 - 1
    with pytest.raises(UnreadableMetadata):
        CheckoutCheckpoint.decode(f"1:12:{'9' * 20}:-", 80)


def test_what_is_lost_for_good_is_added_to_a_position_and_never_taken_back() -> None:
    found = replace(OFFERS, lost_below=500)
    for below, lost in ((MIN_TIME, 500), (400, 500), (600, 600)):
        raised = losing(Position(500, found.encode(500)), below)
        assert OfferCheckpoint.decode(raised.metadata, raised.offset) == replace(found, lost_below=lost)
    assert losing(Position(3, "of a stranger"), 600) == Position(3, "of a stranger")


def test_a_new_checkout_partition_is_told_from_all_else_and_says_nothing() -> None:
    text = new_checkouts(80)
    assert text.endswith(":new")
    assert are_new_checkouts(text, 80)
    assert not are_new_checkouts(text, 81)
    assert not are_new_checkouts(CHECKOUTS_TEXT, 80)
    assert not are_new_checkouts("", 80)
    for decode in (CheckoutCheckpoint.decode, OfferCheckpoint.decode):
        with pytest.raises(UnreadableMetadata):
            decode(text, 80)


def test_the_second_version_is_never_read_without_its_check() -> None:
    head, _, rest = WRITTEN_TEXT.partition(":")
    assert len(head) == 6
    with pytest.raises(UnreadableMetadata, match="changed since it was written"):
        OfferCheckpoint.decode(f"2:{rest}", 500)


def test_several_presentations_of_a_record_are_listed_by_their_places() -> None:
    each = each_of("offers")
    of_several = replace(
        WRITTEN,
        next_offset=700,
        splits=frozenset({500 * 64}),
        dead=frozenset({520 * 64}),
        unsettled=frozenset({505 * 64 + 1, 699 * 64 + 63}),
        each=each,
    )
    text = of_several.encode(500)
    assert text.startswith("3")
    assert OfferCheckpoint.decode(text, 500) == of_several
    lost = replace(of_several, lost_below=7)
    assert OfferCheckpoint.decode(lost.encode(500), 500) == lost
    with pytest.raises(UnreadableMetadata, match="not below"):  # 700 is not read: nothing of it can be listed
        OfferCheckpoint.decode(replace(of_several, unsettled=frozenset({700 * 64})).encode(500), 500)
    for version in ("1", "2"):  # a digit that was changed gives no other list
        with pytest.raises(UnreadableMetadata):
            OfferCheckpoint.decode(version + text[1:], 500)
        with pytest.raises(UnreadableMetadata):
            OfferCheckpoint.decode(version + lost.encode(500)[1:], 500)


def test_each_setting_has_a_text_of_its_own_and_none_has_none() -> None:
    assert each_of(None) == ""
    assert each_of("offers") == each_of("offers") != each_of("items")
    assert not each_of("offers").isdigit()


@pytest.mark.parametrize("text", ["", "offers", "e123", "e0123456789", "eABCDEF01", "12345678"])
def test_what_is_no_setting_is_found_out(text: str) -> None:
    nothing = frozenset[int]()
    written = replace(WRITTEN, splits=nothing, dead=nothing, unsettled=nothing, each=text or "e").encode(500)
    with pytest.raises(UnreadableMetadata, match=r"no hash of input\.offers\.each"):
        OfferCheckpoint.decode(written, 500)


def test_a_record_that_cannot_be_read_and_is_not_settled_begins_no_chain() -> None:
    """It is told by its standing in two lists. Who goes by the splits of chains must not take it for one."""
    found = replace(OFFERS, splits=frozenset({500, 510}), dead=frozenset({510, 520}))
    assert (found.chain_splits, found.unreadable) == ({500}, {510})
