from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.codecs.trace_context import MOST_MEMBERS, MOST_PARENT_BYTES, MOST_STATE_BYTES, trace_of
from consumer.events import TraceContext

ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{ID}-{PARENT}-01"

hexadecimal = st.text("0123456789abcdef", min_size=1, max_size=64)


def read(parent: object, *states: object) -> TraceContext | None:
    pairs = [("other", b"x"), ("traceparent", parent), *(("tracestate", state) for state in states)]
    return trace_of(lambda: pairs)


def parent_of(text: str) -> str | None:
    found = read(text.encode())
    return None if found is None else found.traceparent


def state_of(*states: bytes) -> str:
    found = read(GOOD.encode(), *states)
    assert found is not None
    return found.tracestate


def test_the_example_of_the_specification_is_taken_as_it_stands() -> None:
    found = read(GOOD.encode())
    assert found == TraceContext(GOOD)
    assert (found.trace_id, found.parent_id, found.is_sampled) == (ID, PARENT, True)


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_flags_go_on_as_they_came_and_the_lowest_is_sampled(flags: str, sampled: bool) -> None:
    found = read(f"00-{ID}-{PARENT}-{flags}".encode())
    assert found is not None
    assert (found.traceparent[-2:], found.is_sampled) == (flags, sampled)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "00",
        GOOD[:-1],
        f"{GOOD}-",
        f"{GOOD}-what-comes-later",
        f"{GOOD} ",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}\r\nX-Api-Key: mine",
        GOOD.upper(),
        GOOD.replace("-", "_"),
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{ID}-{'0' * 16}-01",
        f"ff-{ID}-{PARENT}-01",
        f"0g-{ID}-{PARENT}-01",
        f"00-{ID[:-1]}g-{PARENT}-01",
        f"00-{ID}-{PARENT}-0x",
        f"00-{ID}-{PARENT}-1",
        f"01-{ID}-{PARENT}-011",
        f"01-{ID}-{PARENT}-01.more",
        f"01-{'0' * 32}-{PARENT}-01",
        f"01-{ID}-{PARENT}-01-" + "x" * MOST_PARENT_BYTES,
        GOOD.replace("4", "\uff14"),
    ],
)
def test_what_is_none_by_the_grammar_is_none(wrong: str) -> None:
    assert parent_of(wrong) is None


@pytest.mark.parametrize(
    "later", [f"01-{ID}-{PARENT}-01", f"fe-{ID}-{PARENT}-01-{'x' * 50}", f"01-{ID}-{PARENT}-fd-\n"]
)
def test_a_later_version_is_read_as_far_as_it_is_known(later: str) -> None:
    assert parent_of(later) == GOOD


@pytest.mark.parametrize("value", [None, "text", 7, b"\xff\xfe"])
def test_a_header_of_any_type_is_borne(value: object) -> None:
    assert read(value) is None


def test_there_may_be_no_headers_at_all() -> None:
    assert trace_of(lambda: None) is None
    assert trace_of(list) is None

    def unreadable() -> object:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a name of the record's headers")

    assert trace_of(unreadable) is None


def test_the_last_traceparent_counts_since_whoever_wrote_last_added_it() -> None:
    other = f"00-{ID[::-1]}-{PARENT}-00"
    pairs = [("traceparent", GOOD.encode()), ("traceparent", other.encode())]
    assert trace_of(lambda: pairs) == TraceContext(other)
    assert trace_of(lambda: [*pairs, ("traceparent", b"broken")]) is None


@given(st.binary(max_size=300))
@example(GOOD.encode())
def test_no_bytes_raise_and_what_passes_fits_a_header(value: bytes) -> None:
    found = read(value, value)
    if found is not None:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", found.traceparent)
        assert re.fullmatch(r"[ -~]*", found.tracestate)


@given(st.sampled_from(["00", "01", "fe", "ff", "0"]), hexadecimal, hexadecimal, hexadecimal)
def test_only_the_right_lengths_pass(version: str, trace_id: str, parent: str, flags: str) -> None:
    found = parent_of(f"{version}-{trace_id}-{parent}-{flags}")
    right = (
        version in {"00", "01", "fe"}
        and (len(trace_id), len(parent), len(flags)) == (32, 16, 2)
        and int(trace_id, 16) > 0
        and int(parent, 16) > 0
    )
    assert (found is not None) == right


@given(st.from_regex(r"[1-9a-f][0-9a-f]{31}-[1-9a-f][0-9a-f]{15}-[0-9a-f]{2}", fullmatch=True))
def test_every_right_one_of_version_00_goes_on_unchanged(rest: str) -> None:
    if rest.isascii():
        assert parent_of(f"00-{rest}") == f"00-{rest}"


def test_a_state_goes_on_and_several_headers_are_one_list() -> None:
    assert state_of() == ""
    assert state_of(b"rojo=00f067aa0ba902b7") == "rojo=00f067aa0ba902b7"
    assert state_of(b"a=1 , tenant@sys=x y", b"", b"\t3b=!") == "a=1,tenant@sys=x y,3b=!"
    assert state_of(b",".join(b"k%d=v" % n for n in range(MOST_MEMBERS))).count(",") == MOST_MEMBERS - 1


@pytest.mark.parametrize(
    "wrong",
    [
        b"a",
        b"=1",
        b"A=1",
        b"a=1=2",
        b"a=\x01",
        b"a=1\r\nX-Api-Key: mine",
        b"a=1\nb=2",
        "a=ö".encode(),
        b"a=",
        b"a=1,a=2",
        b"k=" + b"v" * 257,
        b"k" * 257 + b"=v",
        b",".join(b"k%d=v" % n for n in range(MOST_MEMBERS + 1)),
        b",".join(b"k%d=%b" % (n, b"v" * 200) for n in range(3)),
    ],
)
def test_a_wrong_state_is_left_out_and_the_trace_goes_on(wrong: bytes) -> None:
    assert state_of(wrong) == ""


def test_states_that_are_too_long_together_are_left_out() -> None:
    half = b"=" + b"v" * 250
    assert len(state_of(b"a" + half, b"b" + half)) <= MOST_STATE_BYTES
    assert state_of(b"a" + half, b"b" + half, b"c" + half) == ""
