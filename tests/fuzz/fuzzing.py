"""What the fuzz tests share: how many examples they make, and how bytes are spoilt."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The oracle and the world of one task, which the unit tests have, are used here too.
THOROUGH = {"quick": 1, "thorough": 60}[os.environ.get("HYPOTHESIS_PROFILE", "quick")]
"""How many times the examples of a quick run are made: `make fuzz` sets HYPOTHESIS_PROFILE=thorough."""

F = TypeVar("F", bound=Callable[..., None])

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
"""Any text there can be in UTF-8: a lone surrogate is none."""

LONGS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from((-(2**63), -(2**63) + 1, -(2**62), -(2**31), -1, 0, 1, 2**31, 2**62, 2**63 - 2, 2**63 - 1)),
)


def fuzz(count: int) -> Callable[[F], F]:
    """The settings of a property: `count` examples in a quick run. Not timed: a loaded machine must not fail it."""
    return settings(
        max_examples=count * THOROUGH,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


@st.composite
def spoilt(draw: st.DrawFn, good: bytes) -> bytes:
    """Bytes like `good`, but cut, flipped, overwritten, with something put in, taken out, doubled or appended."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, min(8, len(data) - at)))
        match draw(st.sampled_from(("cut", "flip", "put", "over", "out", "double", "append"))):
            case "cut":
                del data[at:]
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "put":
                data[at:at] = draw(st.one_of(varints(), st.binary(max_size=8)))
            case "over":
                data[at : at + length] = draw(st.one_of(varints(), st.binary(max_size=8)))
            case "out":
                del data[at : at + length]
            case "double":
                data[at:at] = data[at : at + length]
            case _:
                data += draw(st.one_of(varints(), st.binary(max_size=8)))
    return bytes(data)


def varint(number: int) -> bytes:
    """A long as Avro writes it."""
    left = ((number << 1) ^ (number >> 63)) & 2**64 - 1
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def varints() -> st.SearchStrategy[bytes]:
    """Numbers of Avro, and what looks like one and is longer than a number can be."""
    return LONGS.map(varint) | st.tuples(st.integers(0, 30), st.binary(min_size=1, max_size=2)).map(
        lambda drawn: b"\xff" * drawn[0] + drawn[1]
    )
