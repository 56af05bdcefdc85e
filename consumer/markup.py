"""HTML from calls: each text is escaped where it is put in, so that none can be forgotten, and so is what is unseen.

A template engine would be one more dependency for few pages, would have to be told to escape, and its templates are
seen by no type checker.
"""

from __future__ import annotations

from html import escape

from .printable import visible

_EMPTY = frozenset({"meta", "link", "line", "circle"})
"""Elements without content."""

_OF_HTML = frozenset({"meta", "link"})
"""Those of them that are not closed; those of SVG are."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str | float) -> Html:
    """An element. What of its content is no `Html` is text. In names of attributes `_` is `-`, and cut at the end."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(str(value)), quote=True)}"'
        for key, value in attributes.items()
    )
    if name in _EMPTY:
        return Html(f"<{name}{pairs}>" if name in _OF_HTML else f"<{name}{pairs}/>")
    return Html(f"<{name}{pairs}>{joined(*content)}</{name}>")


def joined(*content: str) -> Html:
    """Pieces one after the other."""
    return Html("".join(piece if isinstance(piece, Html) else escape(visible(piece), quote=False) for piece in content))
