"""The pages below `/manual/`: the manual of the version that runs."""

from __future__ import annotations

from .. import __version__
from ..manual import INDEX
from ..manual.html import html_of
from ..markup import Html, joined, tag
from .frame import whole


def manual_page(name: str) -> str:
    """A page of the manual as a whole document, to be served beside the others.

    Raises:
        LookupError: there is no such page.
    """
    found = html_of(name)
    way = [tag("a", "Status", href="../"), Html(" · "), tag("a", "Manual", href="./")]
    nav = tag("nav", joined(*way), class_="way")
    end = tag("footer", f"The manual of offer-opt-out {__version__}")
    title = "The manual" if name == INDEX else found.title
    return whole(f"{title} · offer-opt-out", nav, tag("main", found.body, class_="manual"), end)
