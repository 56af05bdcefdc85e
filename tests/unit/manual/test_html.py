"""The manual as HTML: every link and every anchor of it leads somewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from support.documents import MANUAL, PAGES

from consumer import manual
from consumer.manual import html
from consumer.manual.html import html_of


class Links(HTMLParser):
    """Where a page leads to, where it can be led to, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        if tag == "a":
            self.hrefs.append(given["href"] or "")
        if given.get("id"):
            self.ids.append(given["id"] or "")


READ = {path.stem: Links(html_of(path.stem).body) for path in PAGES}


@pytest.mark.parametrize("name", READ)
def test_every_link_of_a_page_leads_somewhere(name: str) -> None:
    for href in READ[name].hrefs:
        if href.startswith(("https://", "http://")):
            continue
        page, _, anchor = href.partition("#")
        there = READ[page or name]
        assert not anchor or anchor in there.ids, href


def test_a_link_to_a_part_of_another_page_keeps_the_part() -> None:
    assert "runbook#an-offset-is-stuck" in READ["operations"].hrefs


@pytest.mark.parametrize("name", READ)
def test_headings_have_the_names_by_which_the_terminal_knows_them(name: str) -> None:
    text = (MANUAL / f"{name}.md").read_text(encoding="utf-8")
    assert READ[name].ids == [heading.anchor for heading in manual.headings(text)]


def test_what_looks_like_html_is_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "text_of", lambda _: "# A\n\nThe <b>topic</b>\n\n<script>x</script>\n")
    assert Links(html_of.__wrapped__("new").body).tags == ["h1", "p", "p"]


@pytest.mark.parametrize("name", READ)
def test_a_page_has_nothing_but_what_markdown_makes(name: str) -> None:
    known = {
        "h1",
        "h2",
        "h3",
        "h4",
        "p",
        "ul",
        "ol",
        "li",
        "a",
        "code",
        "pre",
        "em",
        "strong",
        "br",
        "div",
        "blockquote",
        "hr",
    }
    assert set(READ[name].tags) <= known | {"table", "thead", "tbody", "tr", "th", "td"}


def test_tables_are_tables_and_move_by_themselves() -> None:
    body = html_of("operations").body
    assert '<div class="scrolls" tabindex="0"><table>' in body
    assert len(re.findall("<table>", body)) == len(re.findall("</table></div>", body)) > 3
    assert "|---|" not in body


def test_the_title_is_the_first_heading() -> None:
    assert html_of("dead-letters").title == "Dead letters"
