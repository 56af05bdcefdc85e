"""Hides what is secret in words that come from outside: an answer's body, an error of a connection.

Whoever answers may quote our own request: a gateway's debug page shows the headers that it got. A note goes into the
log, into dead letters and into the outcome topic, where it stays for a year. So each key, secret and signature in use
is looked for by its value, in every form that it may have taken on the way, before the note is cut: half of a key is
a leak as well, and could no longer be found.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_plus

HIDDEN = b"***"

KEPT = 4_096
"""Bytes of the words that are looked at and given back; a note is much shorter."""

_BEYOND = 2_048
"""Bytes that are looked at behind them: what begins within the kept part is found whole. A signature of 92 characters
that was percent-encoded twice has 500."""

_SHORT = 4
"""Characters: a shorter value hides only where it stands by itself. "k" is in nearly every word."""

_PIECE = 128
"""Bytes of a longer value that are looked for at a time: what is cut by the end of the words is hidden up to there."""

_ESCAPED = re.compile(
    rb"%(?:25)*([0-9a-f]{2})"  # percent-encoded, any number of times
    rb"|\\+u([0-9a-f]{4})"  # JSON
    rb"|&#x0*([0-9a-f]{1,4});|&#0*([0-9]{1,4});"  # HTML
    rb"|&(amp|lt|gt|quot|apos);"
    rb"|\\+([/\"'\\])",  # PHP's JSON escapes slashes
)
_NAMED = {b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}


class Hider:
    """Hides values, whatever their case, plain, escaped or in base64.

    Args:
        values: what is secret for as long as this lives.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._needles = frozenset(needle for value in values for needle in _needles(value))

    def __call__(self, words: str, more: Iterable[str] = (), always: Iterable[str] = ()) -> str:
        """The words, at most `KEPT` bytes of them, with `***` for each value.

        Args:
            words: from outside.
            more: further values, such as the signature of this call.
            always: values that hide within other words too, however short they are.
        """
        # JSON can spell half of a character (a lone surrogate), which can be written nowhere.
        whole = words.encode("utf-8", "replace")[: KEPT + _BEYOND]
        raw = _alike(whole)
        plain, places = _unescaped(raw)
        found: list[tuple[int, int]] = []
        for needle in self._needles.union(*map(_needles, more)):
            found += _all(needle, raw, whole_words=len(needle) < _SHORT)
            found += ((places[a], places[b]) for a, b in _all(needle, plain, whole_words=len(needle) < _SHORT))
        for value in always:
            for piece in _pieces(value.encode()):
                found += _all(_alike(piece), raw, whole_words=False)
        return _without(whole, sorted(found)).decode("utf-8", "ignore")


def _needles(value: str) -> Iterator[bytes]:
    """The forms of a value, without its escapes."""
    if not value:
        return
    for form in {value, unquote_plus(value)}:
        for data in _pieces(form.encode()):
            yield _alike(data)
            if len(data) > _SHORT:
                yield from _in_base64(data)


def _alike(data: bytes) -> bytes:
    """Small letters, and no plus signs: percent-decoding makes blanks of them, and the other way round."""
    return data.lower().replace(b"+", b" ")


def _pieces(data: bytes) -> Iterator[bytes]:
    """The data, or pieces of equal length that cover what may stand in the words of it."""
    if len(data) <= _PIECE:
        yield data
        return
    for at in range(0, min(len(data), KEPT + _BEYOND), _PIECE):
        yield data[max(0, min(at, len(data) - _PIECE)) :][:_PIECE]


def _in_base64(data: bytes) -> Iterator[bytes]:
    """What base64 makes of the data wherever it stands in something larger: as in `Basic`, of `user:password`."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        # The characters at both ends hold bits of the neighbours.
        core = encoded[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        yield _alike(core)
        yield _alike(core.translate(bytes.maketrans(b"+/", b"-_")))


def _unescaped(raw: bytes) -> tuple[bytes, list[int]]:
    """The words with their escapes undone, and where each of its bytes, and its end, stands in `raw`."""
    plain = bytearray()
    places: list[int] = []
    at = 0
    for escape in _ESCAPED.finditer(raw):
        plain += raw[at : escape.start()]
        places += range(at, escape.start())
        meant = _meant(escape)
        plain += meant
        places += [escape.start()] * len(meant)
        at = escape.end()
    plain += raw[at:]
    places += range(at, len(raw) + 1)
    return _alike(bytes(plain)), places


def _meant(escape: re.Match[bytes]) -> bytes:
    percent, json, html, decimal, named, slashed = escape.groups()
    if percent:
        return bytes([int(percent, 16)])
    if named or slashed:
        return _NAMED[named] if named else bytes(slashed)
    return chr(int(decimal) if decimal else int(json or html, 16)).encode("utf-8", "replace")


def _all(needle: bytes, text: bytes, *, whole_words: bool) -> Iterator[tuple[int, int]]:
    """Where a needle begins and ends in a text, each time."""
    at = text.find(needle) if needle else -1
    while at >= 0:
        end = at + len(needle)
        if not (whole_words and (text[:at][-1:].isalnum() or text[end : end + 1].isalnum())):
            yield at, end
        at = text.find(needle, at + 1)


def _without(whole: bytes, found: list[tuple[int, int]]) -> bytes:
    kept = bytearray()
    at = 0
    for begin, end in found:
        if begin >= KEPT:
            break
        if begin >= at:
            kept += whole[at:begin] + HIDDEN
        at = max(at, end)
    return bytes(kept + whole[at:KEPT])
