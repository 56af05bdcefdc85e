"""The trace that a record was written in, from its headers `traceparent` and `tracestate`: W3C Trace Context.

What is no trace by the grammar is none, and nothing else follows from it. What passes has only characters that a header
of HTTP and a line of the log may have.
"""

from __future__ import annotations

import re

from ..events import TraceContext
from .codec import Headers, header_pairs

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

MOST_PARENT_BYTES = 256
"""Of a `traceparent`. Version 00 has 55; a later one may have more, of which nothing is known yet."""

MOST_STATE_BYTES = 512
"""Of a `tracestate`: what the specification wants to be carried on. It is kept for as long as the offer is open."""

MOST_MEMBERS = 32
"""Of a `tracestate`, by the specification."""

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32}-[0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE, _NO_PARENT = b"0" * 32, b"0" * 16
_KNOWN_FLAGS = 0b11
"""`sampled` and `random`. What other flags of a later version mean is not known."""

_MEMBER = re.compile(rb"([a-z0-9][a-z0-9_*/@-]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")


def trace_of(headers: Headers) -> TraceContext | None:
    """The trace that these headers tell of, None if none. Where a name stands twice, its last `traceparent` counts."""
    parent: object = None
    states: list[object] = []
    for name, value in header_pairs(headers):
        if name == TRACEPARENT:
            parent = value
        elif name == TRACESTATE:
            states.append(value)
    read = _read_parent(parent)
    return None if read is None else TraceContext(read, _read_state(states))


def _read_parent(given: object) -> str | None:
    """A `traceparent` as version 00 has it, the only version that we know how to write."""
    if not isinstance(given, bytes) or len(given) > MOST_PARENT_BYTES:
        return None
    found = _PARENT.fullmatch(given)
    if found is None:
        return None
    version, ids, flags, more = found.groups()
    if version == b"ff" or ids[:32] == _NO_TRACE or ids[33:] == _NO_PARENT or (version == b"00" and more is not None):
        return None
    if version != b"00":
        flags = b"%02x" % (int(flags, 16) & _KNOWN_FLAGS)
    return (b"00-%b-%b" % (ids, flags)).decode("ascii")


def _read_state(given: list[object]) -> str:
    """The members of all `tracestate` headers in their order; empty if they are not by the grammar, or too long."""
    members: list[bytes] = []
    for value in given:
        if not isinstance(value, bytes) or len(value) > MOST_STATE_BYTES:
            return ""
        members += filter(None, (member.strip(b" \t") for member in value.split(b",")))
    keys = [found[1] for member in members if (found := _MEMBER.fullmatch(member)) is not None]
    joined = b",".join(members)
    if len(keys) < len(members) or len(set(keys)) < len(keys) or len(keys) > MOST_MEMBERS:
        return ""
    return joined.decode("ascii") if len(joined) <= MOST_STATE_BYTES else ""
