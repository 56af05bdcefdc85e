"""The report's page as text: all figures are in it, and nothing of it leaves the page or runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from support.reports import ACME, HOSTILE, report

from consumer.evidence.figures import Counted, Figures
from consumer.evidence.page import page
from consumer.evidence.report import COUNTS, DEFINITIONS


class Elements(HTMLParser):
    """Which elements and attributes there are, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_in_it_loads_or_runs_anything() -> None:
    found = Elements(page(report(missing=[HOSTILE], by=(HOSTILE,))))
    assert found.names.isdisjoint({"script", "img", "link", "iframe", "object", "a", "form", "base", "image", "use"})
    assert {name for name in found.attributes if name.startswith("on") or name in {"src", "href"}} == set()
    assert found.text.count(HOSTILE) > 5
    style = re.findall(r"<style>(.*?)</style>", page(report()), re.DOTALL)
    assert len(style) == 1
    assert "url(" not in style[0]
    assert "@import" not in style[0]


def test_it_has_every_figure_and_what_each_means() -> None:
    text = Elements(page(report())).text
    for key, _ in COUNTS:
        assert f"{getattr(ACME, key):,}" in text
    for name, words in DEFINITIONS:
        assert name in text
        assert words in text
    for words in (
        "1 November 2026, 00:00 to 1 December 2026, 00:00",
        "kafka:9092",
        "offer.outcome, 1,180 records read",
        "1 December 2026, 01:02:03 UTC",
        "5m45s",
        "(none)",
    ):
        assert words in text


def test_what_is_missing_stands_above_the_figures() -> None:
    text = Elements(page(report(missing=["retention has deleted them"]))).text
    assert (
        text.index("These figures are not complete") < text.index("retention has deleted them") < text.index("Bought")
    )
    assert "not complete" not in page(report())


def test_nothing_at_all_is_a_page_without_charts() -> None:
    empty = Counted([], Figures((None,)), 0, 0, 0, 0, [], [0] * 11)
    text = page(report(counted=empty, notes=["Nothing was presented in this range."]))
    assert "<figure" not in text
    assert "Nothing was presented" in text


@pytest.mark.parametrize("by", [(), ("partner", "day")])
def test_each_row_has_as_many_cells_as_there_are_heads(by: tuple[str, ...]) -> None:
    groups = [ACME._replace(group=("ACME", "2026-11-01"))] if by else []
    counted = report().counted._replace(groups=groups, total=ACME._replace(group=(None,) * len(by)))
    text = page(report(by=by, counted=counted))
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    assert len(rows) == 2 + len(groups)
    assert len({len(re.findall(r"<t[hd]", row)) for row in rows}) == 1


def test_a_chart_of_very_many_groups_shows_the_largest() -> None:
    groups = [ACME._replace(group=(f"partner-{number:03}",), bought=number + 1) for number in range(100)]
    text = page(report(counted=report().counted._replace(groups=groups)))
    chart, table = text.split("<table>")
    assert "partner-099" in chart
    assert "partner-059" not in chart
    assert "60 more are in the table" in chart
    assert "partner-059" in table
