"""Text of others, made harmless to look at."""

from __future__ import annotations


def visible(text: str) -> str:
    """The text with what is no character to print written as in Python, such as `\\x1b`; tabs and ends of lines stay.

    What others have written, such as an id, must do nothing to a terminal, and turn no line of a page.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else repr(one)[1:-1] for one in text)
