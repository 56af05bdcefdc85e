"""The manual's pages as HTML, for browsers: the same headings are linked by the same names as in a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from ..markup import Html
from . import anchor_of, text_of

_PAGE_LINK = re.compile(r"(?P<page>[a-z-]+)\.md(?P<anchor>#.*)?")


class RenderedPage(NamedTuple):
    """A page: what its first heading says, and its content."""

    title: str
    body: Html


@cache
def html_of(name: str) -> RenderedPage:
    """A page, whose links to other pages are their names: it is to be served beside them.

    Raises:
        LookupError: there is no such page.
    """
    if "#" in name or name.endswith(".md"):
        raise LookupError(f"there is no page {name!r}")
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("table_open", _table_open)
    reader.add_render_rule("table_close", _table_close)
    tokens = reader.parse(text_of(name))
    title = ""
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before is not None and before.type == "heading_open":
            before.attrSet("id", anchor_of(token.content))
            title = title or token.content
        for child in token.children or ():
            if child.type == "link_open" and (found := _PAGE_LINK.fullmatch(str(child.attrGet("href")))):
                child.attrSet("href", found["page"] + (found["anchor"] or ""))
    return RenderedPage(title, Html(reader.renderer.render(tokens, reader.options, {})))


def _table_open(_: RendererHTML, __: Sequence[Token], ___: int, ____: OptionsDict, _____: EnvType) -> str:
    """A wide table is moved by itself, and not the page."""
    return '<div class="scrolls" tabindex="0"><table>'


def _table_close(_: RendererHTML, __: Sequence[Token], ___: int, ____: OptionsDict, _____: EnvType) -> str:
    return "</table></div>"
