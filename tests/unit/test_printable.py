"""Text of others does nothing to a terminal, and turns no line of a page."""

from __future__ import annotations

import pytest

from consumer.markup import tag
from consumer.printable import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é and 日本", "plain, é and 日本"),
        ("two\nlines\tof it", "two\nlines\tof it"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\u202eb\u200bc", r"a\u202eb\u200bc"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_what_is_no_character_to_print_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_each_text_of_a_page_is_made_visible() -> None:
    assert tag("p", "a\u202e<b>") == r"<p>a\u202e&lt;b&gt;</p>"
