"""HTML from calls: whatever text is put in, a browser reads that text again."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import examples

from consumer.markup import Html, joined, tag
from consumer.printable import visible

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"))


class Reader(HTMLParser):
    """Keeps what it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@given(TEXT, TEXT)
@examples(200)
def test_a_text_is_a_text_wherever_it_stands(content: str, attribute: str) -> None:
    reader = Reader()
    reader.feed(tag("p", content, aria_label=attribute))
    reader.close()
    assert reader.found[0] == ("p", [("aria-label", visible(attribute))])
    assert "".join(map(str, reader.found[1:])) == visible(content)


def test_elements_within_elements_are_escaped_once() -> None:
    assert tag("p", tag("b", "a & b"), "<i>") == "<p><b>a &amp; b</b>&lt;i&gt;</p>"
    assert joined("<", Html("<br>")) == "&lt;<br>"


def test_elements_without_content_are_closed_as_their_language_has_it() -> None:
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert tag("line", x1=1.5, class_="grid") == '<line x1="1.5" class="grid"/>'
