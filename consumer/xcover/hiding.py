"""Hides what is secret in words that come from outside: an answer's body, an error of a connection.

Whoever answers may quote our own request: a gateway's debug page shows the headers that it got. A note goes into the
log, into dead letters and into the outcome topic, where it stays for a year. So each key, secret and signature in use
is looked for by its value, in every form that it may have taken on the way, before the note is cut: half of a key is
a leak as well, and could no longer be found.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from html.entities import html5
from urllib.parse import quote, quote_plus, unquote_plus

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

_DEPTH = 6
"""How many times what was escaped is undone: a page in JSON, in a log line in JSON, in a header has three."""

_ESCAPED = re.compile(
    rb"%([0-9a-f]{2})"
    rb"|\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})"  # JSON's two halves of one character
    rb"|\\x([0-9a-f]{2})|\\(?-i:U)([0-9a-f]{8})"  # Python
    rb"|\\u([0-9a-f]{4})"
    rb"|&#x0*([0-9a-f]{1,6});|&#0*([0-9]{1,7});"  # HTML
    rb"|&([a-z][a-z0-9]{1,31};)"
    rb"|\\([/\"'\\bfnrt])",  # PHP's JSON escapes slashes
    re.IGNORECASE,
)
_CONTROLS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


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
        needles = [(needle, len(needle) < _SHORT) for needle in self._needles.union(*map(_needles, more))]
        needles += [(_alike(piece), False) for value in always for form in _forms(value) for piece in _pieces(form)]
        found: list[tuple[int, int]] = []
        for text, places in (*_readings(whole), *_readings(whole, of_bytes=True)):
            for needle, whole_words in needles:
                found += ((places[a], places[b]) for a, b in _all(needle, text, whole_words=whole_words))
        return _without(whole, sorted(found)).decode("utf-8", "ignore")


def _needles(value: str) -> Iterator[bytes]:
    """The forms of a value in which it is looked for in each reading of the words."""
    for form in _forms(value):
        for data in _pieces(form):
            yield _alike(data)
    for plain in {value, unquote_plus(value)}:
        for data in _pieces(plain.encode()):
            if len(data) > _SHORT:
                yield from _in_base64(data)


def _forms(value: str) -> set[bytes]:
    """A value as it is, and as it is usually escaped.

    To undo the escapes of the words would do, were it not for what stands beside the value: a per cent sign before it,
    or a digit after it, makes an escape of something that is none.
    """
    if not value:
        return set()
    data = value.encode("utf-8", "replace")
    quoted = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], repr(data)[2:-1]}
    quoted |= {encode(value, safe=safe) for encode in (quote, quote_plus) for safe in ("", "/")}
    forms = {value, unquote_plus(value), html.escape(value), *quoted}
    return {form.encode("utf-8", "replace") for form in forms}


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


def _readings(whole: bytes, *, of_bytes: bool = False) -> Iterator[tuple[bytes, Sequence[int]]]:
    """The words as they are, and with their escapes undone once, twice, and so on. With each, where its bytes and its
    end stand in the words. `of_bytes`: `\\xc3` is a byte, as where Python shows bytes, and not a character."""
    text, places = whole, list(range(len(whole) + 1))
    for _ in range(_DEPTH):
        yield _alike(text), places
        plain, within = _unescaped(text, of_bytes=of_bytes)
        if plain == text:
            return
        text, places = plain, [places[at] for at in within]
    yield _alike(text), places


def _unescaped(text: bytes, *, of_bytes: bool) -> tuple[bytes, list[int]]:
    """The text with its escapes undone once, and where each of its bytes, and its end, stands in `text`."""
    plain = bytearray()
    places: list[int] = []
    at = 0
    for escape in _ESCAPED.finditer(text):
        meant = _meant(escape, of_bytes=of_bytes)
        if meant is None:
            continue
        plain += text[at : escape.start()]
        places += range(at, escape.start())
        plain += meant
        places += [escape.start()] * len(meant)
        at = escape.end()
    plain += text[at:]
    places += range(at, len(text) + 1)
    return bytes(plain), places


def _meant(escape: re.Match[bytes], *, of_bytes: bool) -> bytes | None:
    percent, high, low, byte, long_code, json_code, html_code, decimal, named, slashed = escape.groups()
    if percent or (byte and of_bytes):
        return bytes([int(percent or byte, 16)])
    if named:
        return html5[name].encode() if (name := named.decode()) in html5 else None
    if slashed:
        return _CONTROLS.get(slashed, bytes(slashed))
    if high:
        code = 0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)
    else:
        code = int(decimal) if decimal else int(byte or long_code or json_code or html_code, 16)
    return chr(code).encode("utf-8", "replace") if code <= sys.maxunicode else None


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
