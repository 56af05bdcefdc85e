"""Whose a position is: what is stored, what is compared, and how long it can get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consumer.core.checkpoint import OfferCheckpoint, each_of
from consumer.core.commits import LEAST_METADATA
from consumer.core.provenance import LONGEST, NOT_KNOWN, TEXTS, UNMAPPED, Provenance
from consumer.core.rules import MIN_TIME

OURS = Provenance("c1", "o-id", "k-id", "offer.presented", "checkout.completed", "https://api.xcover.com/x")
MAPPED = replace(OURS, mapping="m0123abcd")
PARTS = len(TEXTS) - 2 + 1
"""Those of a deployment that maps nothing: it has no scope and no mapping, and a date."""


def test_what_is_the_same_differs_in_nothing_whenever_it_was_committed() -> None:
    assert OURS.differences(OURS.at(1_790_000_000_000)) == {}


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "scope"])
def test_each_part_is_compared_where_both_know_it(name: str) -> None:
    other = replace(MAPPED, **{name: "other"})
    assert MAPPED.differences(other) == {name: (getattr(MAPPED, name), "other")}
    unknown = replace(MAPPED, **{name: ""})
    assert MAPPED.differences(unknown) == {}
    assert unknown.differences(MAPPED) == {}


def test_the_deployment_and_a_backfill_differ_in_scope_and_so_do_two_ranges() -> None:
    backfill, other = replace(OURS, scope="1-2/rules"), replace(OURS, scope="1-3/rules")
    assert backfill.differences(backfill) == {}
    assert backfill.differences(other) == {"scope": ("1-2/rules", "1-3/rules")}
    assert backfill.differences(OURS) == {"scope": ("1-2/rules", "")}
    assert OURS.differences(backfill) == {"scope": ("", "1-2/rules")}


def test_a_scope_is_stored_only_where_there_is_one() -> None:
    backfill = replace(OURS, scope="1-2/rules,é")
    assert Provenance.decode(backfill.encode()) == backfill
    assert OURS.encode().count(",") == PARTS - 1, "as it was before there were scopes"
    assert Provenance.decode(OURS.encode()) == OURS


def test_a_mapping_is_stored_only_where_there_is_one() -> None:
    assert replace(OURS, mapping=UNMAPPED).encode() == OURS.encode(), "as it was before mappings were written"
    assert replace(OURS, mapping=UNMAPPED, scope="1-2/rules").encode() == replace(OURS, scope="1-2/rules").encode()
    for scope in ("", "1-2/rules", "m0123abcd", "-"):
        whose = replace(MAPPED, scope=scope)
        assert Provenance.decode(whose.encode()) == whose
    assert len(MAPPED.encode()) - len(OURS.encode()) == 12, "so much less room has the list"


def test_of_a_mapping_that_0_8_0_wrote_only_what_decides_a_fate_is_compared() -> None:
    """Or an upgrade in place would be refused. It told nothing of the other fields."""
    assert MAPPED.differences(replace(OURS, mapping="m0123abcd.00000000")) == {}
    assert "mapping" in MAPPED.differences(replace(OURS, mapping="m4567abcd.00000000"))
    told = replace(OURS, mapping="m0123abcd.00000000")
    assert Provenance.decode(told.encode()).differences(told) == {}
    assert "mapping" in told.differences(replace(OURS, mapping="m0123abcd.11111111"))


def test_a_mapping_that_is_left_out_since_differs_and_one_that_is_new_is_not_noticed() -> None:
    none = replace(OURS, mapping=UNMAPPED)
    assert MAPPED.differences(none) == {"mapping": ("m0123abcd", UNMAPPED)}
    assert Provenance.decode(none.encode()).differences(MAPPED) == {}, "nor does what older versions wrote"


@pytest.mark.parametrize("stored", ["-", "none", "m0123abc", "m0123abcde", "M0123abcd", "m0123abcg", ""])
def test_what_stands_for_a_mapping_and_is_no_hash_is_found_out(stored: str) -> None:
    text = MAPPED.encode().replace("m0123abcd", stored)
    with pytest.raises(ValueError, match="is no hash of a mapping"):
        Provenance.decode(text)


def test_a_long_text_is_stored_as_a_hash_and_compared_by_it() -> None:
    long = replace(OURS, base_url="https://api.example.com/" + "a" * LONGEST)
    read = Provenance.decode(long.encode())
    assert read.base_url.startswith("#")
    assert read.encode() == long.encode()
    assert read.differences(long) == {}
    assert "base_url" in read.differences(replace(long, base_url=long.base_url + "a"))


@pytest.mark.parametrize("text", ["-", "a:b,c", "é", "a b", "%2C"])
def test_any_text_is_read_as_it_was_written_and_leaves_colons_and_commas_alone(text: str) -> None:
    written = replace(OURS, offer_topic=text).encode()
    assert written.isascii()
    assert ":" not in written
    assert written.count(",") == PARTS - 1
    assert Provenance.decode(written).offer_topic == text


@pytest.mark.parametrize("text", ["", "-", "-,-,-,-,-,-", "-,-,-,-,-,-,x", "-,-,-,-,-,-,-1", "-,-,-,-,-,-,-,-,-,-"])
def test_what_is_no_provenance_is_found_out(text: str) -> None:
    with pytest.raises(ValueError, match=r"parts of provenance|is no time"):
        Provenance.decode(text)


def test_when_it_was_committed_is_told_to_the_minute() -> None:
    assert OURS.at(1_790_000_059_999).committed_at == 1_790_000_040_000
    assert OURS.at(MIN_TIME).committed_at == MIN_TIME
    assert NOT_KNOWN.encode() == "-,-,-,-,-,-,-"


def test_the_longest_metadata_without_a_list_fits_into_the_least_room() -> None:
    longest = Provenance(*["a" * LONGEST] * (len(TEXTS) - 2), 10**14, "a" * LONGEST, "m0123abcd")
    rules = 10**10, 10**10, 10**10, True
    last = 2**63 - 1
    checkpoint = OfferCheckpoint(
        rules,
        10**6,
        10**14,
        last,
        last,
        late_below=10**14,
        provenance=longest,
        trusted_since=10**14,
        lost_below=10**14,
        each=each_of("offers"),
    )
    assert len(checkpoint.encode(last)) <= LEAST_METADATA
