"""Times as they are read at a glance."""

from __future__ import annotations

import pytest

from consumer.server.words import clock, counted, enumerated, iso, listed, span

NOW = 1_794_019_874_123
"""2026-11-07 02:51:14.123 UTC."""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (302, "5 min 2 s"),
        (599, "9 min 59 s"),
        (601, "10 min"),
        (2_460, "41 min"),
        (7_200, "2 h"),
        (7_500.9, "2 h 5 min"),
        (86_400 + 59, "1 d"),
        (3 * 86_400 + 4 * 3_600 + 59, "3 d 4 h"),
    ],
)
def test_a_length_of_time_has_two_units_at_the_most(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (NOW, "02:51"),
        (NOW - 10_300_000, "6 Nov 23:59"),
        (NOW - 400 * 86_400_000, "3 Oct 2025 02:51"),
        (10**18, "1000000000000000000 ms"),
    ],
)
def test_the_day_of_another_day_is_told(ms: int, words: str) -> None:
    assert clock(ms, NOW) == words


def test_seconds_and_what_programs_read() -> None:
    assert clock(NOW, NOW, seconds=True) == "02:51:14"
    assert iso(NOW) == "2026-11-07T02:51:14.123Z"
    assert iso(None) is iso(-(10**18)) is None


def test_what_is_enumerated() -> None:
    assert [enumerated(list("abcdefgh")[:n]) for n in (0, 1, 2, 3, 6)] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c, d, e and f",
    ]
    assert enumerated(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
    assert (listed([3]), listed([0, 3])) == ("partition 3", "partitions 0 and 3")
    assert (counted(1, "call"), counted(1_204, "call")) == ("1 call", "1,204 calls")
