"""Lists of offsets as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.core import offset_list
from consumer.core.offset_list import decode_offsets, encode_offsets


def test_more_offsets_than_memory_holds_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offset_list, "MOST_LISTED", 5)
    most, more = [1, 2, 3, 7, 8], [1, 2, 3, 7, 8, 9]
    assert decode_offsets(encode_offsets(most, 0), 0, 100) == set(most)
    with pytest.raises(ValueError, match="more than 5 offsets"):
        decode_offsets(encode_offsets(more, 0), 0, 100)


@pytest.mark.parametrize(
    ("offsets", "text"),
    [
        ([], ""),
        ([100], "000"),
        ([227], "e*g"),
        ([228], "fB^s"),
        ([100, 101, 102, 20_000], "00Oz20RR"),
    ],
)
def test_offsets_are_written_as_ever(offsets: list[int], text: str) -> None:
    assert encode_offsets(offsets, 100) == text


@examples(200)
@given(st.frozensets(st.integers(0, 300) | st.integers(0, 10**12)), st.integers(0, 10**12))
def test_any_offsets_are_read_as_they_were_written(gaps: frozenset[int], base: int) -> None:
    offsets = frozenset(base + gap for gap in gaps)
    assert decode_offsets(encode_offsets(offsets, base), base, max(offsets, default=0) + 1) == offsets
