"""What all pages of the server have in common: the head, the style, the script, and what a browser may do with them.

A page has all in it and asks only where it came from. The policy names its style and its script by their hashes, so
nothing that got into a page by mistake would run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from urllib.parse import quote

from ..markup import Html, tag

REFRESH = 5
"""Seconds between two looks of a page at what is new."""

ICONS = {
    "well": ("#2e7d4f", "M4 8.5l3 3 5-6"),
    "waiting": ("#5b6675", "M8 4v4.5l3 2"),
    "trouble": ("#b3261e", "M8 3.5v6M8 11.5v1"),
}
"""Of a tab: a colour and a sign for each verdict."""


@cache
def text_of(name: str) -> str:
    """A file beside this one."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8").strip()


@cache
def policy() -> str:
    """The Content-Security-Policy of each page."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(text_of('status.css'))}'",
            f"script-src '{_hash(_script())}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def whole(title: str, *body: Html, icon: str = "", refreshes: bool = False) -> str:
    """A whole document in UTF-8.

    Args:
        title: of the tab.
        icon: one of `ICONS`; empty: none, so that no browser asks for one.
        refreshes: it looks for what is new every `REFRESH` seconds: by its script, or where none runs by itself.
    """
    again = tag("noscript", tag("meta", http_equiv="refresh", content=f"{REFRESH}"))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href=_icon(icon)),
        *([again] if refreshes else []),
        tag("style", Html(text_of("status.css"))),
    )
    script = [tag("script", Html(_script()))] if refreshes else []
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body, *script), lang='en')}\n"


@cache
def _script() -> str:
    return text_of("refresh.js").replace("EVERY", str(1000 * REFRESH))


@cache
def _icon(name: str) -> str:
    if not name:
        return "data:,"
    colour, path = ICONS[name]
    return "data:image/svg+xml," + quote(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        f'<rect width="16" height="16" rx="4" fill="{colour}"/><path d="{path}" fill="none" stroke="#fff" '
        'stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></svg>'
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
