"""The columns of a chart, in their places."""

from __future__ import annotations

import re

from support.run_states import MINUTE, NOW

from consumer.server.chart import HEIGHT, MinuteColumn, hatching, minutes_chart


def rects(text: str) -> list[tuple[float, float, float, str]]:
    found = re.findall(r'<rect x="([\d.]+)%" width="[\d.]+%" y="([\d.]+)" height="([\d.]+)" class="(\w+)">', text)
    return [(float(x), float(y), float(height), name) for x, y, height, name in found]


def test_the_newest_minute_is_at_the_right_and_the_highest_column_as_high_as_the_chart() -> None:
    columns = [MinuteColumn(NOW - 59 * MINUTE, 5, 0, "a"), MinuteColumn(NOW, 10, 10, "b & c")]
    text = minutes_chart(columns, NOW, "some <words>")
    first, lower, upper = rects(text)
    assert first == (0.2, HEIGHT * 0.75, HEIGHT / 4, "first")
    assert lower == (98.533, HEIGHT / 2, HEIGHT / 2, "first")
    assert upper == (98.533, 0.0, HEIGHT / 2, "second")
    assert "<title>b &amp; c</title>" in text
    assert 'aria-label="some &lt;words&gt;"' in text


def test_what_is_older_than_an_hour_or_nothing_has_no_column() -> None:
    columns = [
        MinuteColumn(NOW - 60 * MINUTE, 5, 0, ""),
        MinuteColumn(NOW - MINUTE, 0, 0, ""),
        MinuteColumn(NOW + MINUTE, 5, 0, ""),
    ]
    assert rects(minutes_chart(columns, NOW, "")) == []
    assert rects(minutes_chart([], NOW, "")) == []


def test_one_of_very_many_can_be_seen() -> None:
    columns = [MinuteColumn(NOW - MINUTE, 1_000_000, 0, ""), MinuteColumn(NOW, 1, 0, "")]
    assert rects(minutes_chart(columns, NOW, ""))[1][2] == 1.5


def test_there_is_something_to_fill_with() -> None:
    assert 'id="hatching"' in hatching()
