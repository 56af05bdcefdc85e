"""Text that people hand over, in files and in the environment: read as it is meant where that is certain, else refused.

An editor, a shell or a copy out of a web page adds what nobody sees: a byte order mark, a carriage return, a blank that
does not break, quotes. As part of a secret it makes every signature wrong, and nothing tells why.
"""

from __future__ import annotations

import codecs
import tomllib
import unicodedata
from collections.abc import Iterator
from typing import Any

MARK = "\ufeff"
"""The byte order mark, as a character. At the very beginning it belongs to the encoding; elsewhere it is a mistake."""

BLANKS = " \t\r\n"
"""Those that are part of no value at its ends."""
_QUOTES = ('""', "''", "``", "“”", "„“", "‘’", "«»")  # noqa: RUF001 - which are looked for
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Zs", "Zl", "Zp"})
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # begins as UTF-16's does
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def decoded(data: bytes) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises:
        ValueError: it is in another encoding; says what was found and where.
    """
    for mark, encoding in _WIDE_MARKS:
        if data.startswith(mark):
            raise ValueError(f"is in {encoding}, since it begins with the bytes {mark.hex(' ')}; save it as UTF-8")
    if (at := data.find(b"\0")) >= 0:
        raise ValueError(f"holds a NUL as byte {at + 1}: it ends with one too many, or is in UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8").removeprefix(MARK)
    except UnicodeDecodeError as error:
        found = f"{data[error.start]:02x} as byte {error.start + 1}"
        raise ValueError(f"holds {found}, which is not UTF-8; save it as UTF-8") from None


def parsed(text: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: it is not TOML; if there is a character in it that nobody sees, that is told as well.
        RecursionError: it is too deep.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if (found := unseen(text)) is None:
            raise
        raise ValueError(f"{error}; there is {found}") from None


def plain(text: str, *, lines: bool = False) -> str:
    """A value without what certainly is none of it: a byte order mark before it, and blanks and line ends around it.

    Args:
        lines: it may have more than one line, as JSON may.

    Raises:
        ValueError: it holds what nobody sees, or is in quotes; says what was found and where, not the value.
    """
    value = text.strip(BLANKS).removeprefix(MARK).strip(BLANKS)
    if (found := unseen(value, allowed=BLANKS if lines else " ")) is not None:
        raise ValueError(f"holds {found}; take it out")
    if (quotes := in_quotes(value)) is not None:
        raise ValueError(f"is in quotes ({quotes}), which would be part of it; leave them out")
    return value


def in_quotes(value: str, *, within: str | None = None) -> str | None:
    """The quotes that a value stands in, if it does.

    Args:
        within: the text that it comes from; where it does not stand there as it is, its quotes are escaped, and meant.
    """
    if len(value) < 2 or (within is not None and value not in within):
        return None
    return next((pair for pair in _QUOTES if value[0] == pair[0] and value[-1] == pair[1]), None)


def unseen(text: str, *, allowed: str = BLANKS, within: str | None = None) -> str | None:
    """The first character that nobody sees, and where it stands, in words; None if there is none.

    Args:
        allowed: characters that are no mistake.
        within: the text that it comes from; where it does not stand there as it is, there are escapes in it
            (`\\u00a0`), and what they stand for is meant.
    """
    if within is not None and text not in within:
        return None
    line, column = 1, 0
    for character in text:
        column += 1
        if character not in allowed and is_unseen(character):
            name = unicodedata.name(character, "a control character or a part of one")
            return f"U+{ord(character):04X} ({name}) at line {line}, column {column}"
        if character == "\n":
            line, column = line + 1, 0
    return None


def is_unseen(character: str) -> bool:
    """Whether it is a blank but the usual one, a control or format character, or stands for bytes that were none."""
    return (character != " " and unicodedata.category(character) in _UNSEEN) or character == "\ufffd"


def strings_in(value: object) -> Iterator[tuple[str, str]]:
    """Each text within a value of TOML or JSON, keys included, with its place such as `P.secret`."""
    left = [("", value)]  # a list, since what is given may be deeper than calls may be
    while left:
        place, inner = left.pop()
        if isinstance(inner, str):
            yield place, inner
        elif isinstance(inner, dict):
            for key, each in inner.items():
                within = f"{place}.{key}" if place else str(key)
                yield f"{within} (the key)", str(key)
                left.append((within, each))
        elif isinstance(inner, list):
            left += [(f"{place}[{number}]", each) for number, each in enumerate(inner, 1)]
