"""The manual: the pages beside this file. They ship with the program, so they describe the version that runs.

`index.md` lists the pages, a line each; `opt-out manual` shows that list. A page, or a part of one, is named as links
name it: `runbook`, `runbook.md`, `runbook#credentials-refused`.

Two files beside them are for programs: the alert rules for Prometheus, and the dashboard for Grafana.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

INDEX = "index"
ALERTS, DASHBOARD = "alerts.yml", "dashboard.json"
"""The files for programs."""

_ITEM = re.compile(r"^- \[(?P<name>[a-z-]+)\]\((?P=name)\.md\): (?P<summary>.+)$", re.MULTILINE)
_HEADING = re.compile(r"(?P<marks>#{1,6}) (?P<title>.+)")


class Page(NamedTuple):
    """A page of the manual, and in one line what is on it."""

    name: str
    summary: str


class Heading(NamedTuple):
    """A heading of a page: the index of its line, its level from 1 on, and what links call it."""

    line: int
    level: int
    anchor: str


def pages() -> list[Page]:
    """All pages but the index itself, in its order."""
    return [Page(item["name"], item["summary"]) for item in _ITEM.finditer(_read(INDEX))]


def text_of(place: str) -> str:
    """The Markdown of a page, or of one part of it with all that is below its heading.

    Args:
        place: `PAGE` or `PAGE#HEADING`.

    Raises:
        LookupError: there is no such page or heading; the message suggests the nearest.
    """
    name, _, anchor = place.partition("#")
    name = name.removesuffix(".md")
    known = [INDEX, *(page.name for page in pages())]
    if name not in known:
        raise LookupError(f"there is no page {name!r}{_suggestion(name, known)}")
    text = _read(name)
    return _part(text, name, anchor) if anchor else text


def read_file(name: str) -> str:
    """The text of a file beside this one."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def headings(text: str) -> Iterator[Heading]:
    """The headings of a page, from the top; what looks like one in a block of code is none."""
    in_code = False
    for number, line in enumerate(text.splitlines()):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and (found := _HEADING.fullmatch(line)):
            yield Heading(number, len(found["marks"]), anchor_of(found["title"]))


def anchor_of(title: str) -> str:
    """What links call a heading: `Credentials refused` is `credentials-refused`. As on GitHub."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _part(text: str, name: str, anchor: str) -> str:
    there = list(headings(text))
    for heading in there:
        if heading.anchor == anchor:
            after = (other.line for other in there if other.line > heading.line and other.level <= heading.level)
            return "\n".join(text.splitlines()[heading.line : next(after, None)]).rstrip() + "\n"
    suggestion = _suggestion(anchor, [heading.anchor for heading in there], prefix=f"{name}#")
    raise LookupError(f"the page {name} has no heading {anchor!r}{suggestion}")


def _suggestion(word: str, known: list[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else "; `opt-out manual` lists the pages there are"


def _read(name: str) -> str:
    return read_file(f"{name}.md")
