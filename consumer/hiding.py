"""Hides what is secret in every text that leaves the process: the log, notes, dead letters, errors, tracebacks.

Much of such a text is not ours. Whoever answers may quote our own request: a gateway's debug page shows the headers
that it got. An exception of a library shows the URL that it was given, a client of Kafka its configuration. A note goes
into the log, into dead letters and into the outcome topic, where it stays for a year. So each secret in use is looked
for by its value, in every form that it may have taken on the way, before the text is cut: half of a key is a leak as
well, and could no longer be found. `IN_USE` knows those of this process, and every `Hider` hides them too.

What a URL says before its `@`, and what stands behind `Basic` or `Bearer`, is hidden whosever it is.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from html.entities import html5
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = b"***"

KEPT = 4_096
"""Bytes of a note that are looked at and given back; it is much shorter in the end."""

_BEYOND = 2_048
"""Bytes that are looked at behind them: what begins within the kept part is found whole. A signature of 92 characters
that was percent-encoded twice has 500."""

_SHORT = 4
"""Characters: a shorter value hides only where it stands by itself. "k" is in nearly every word."""

_PIECE = 128
"""Bytes of a longer value that are looked for at a time: what is cut by the end of the words is hidden up to there."""

_LONGEST = 65_536
"""Bytes of a value that are looked for: more than a chain of certificates has."""

_LINE = 16
"""Characters of a line of a longer value, such as a key in PEM, that is secret by itself too."""

_DEPTH = 6
"""How many times what was escaped is undone: a page in JSON, in a log line in JSON, in a header has three."""

_ESCAPED = re.compile(
    rb"%([0-9a-f]{2})"
    rb"|[\\%]u(d[89ab][0-9a-f]{2})[\\%]u(d[c-f][0-9a-f]{2})"  # JSON's two halves of one character
    rb"|\\x([0-9a-f]{2})|\\(?-i:U)([0-9a-f]{8})"  # Python
    rb"|[\\%]u([0-9a-f]{4})|\\u\{0*([0-9a-f]{1,6})\}"  # JSON and JavaScript
    rb"|&#x0*([0-9a-f]{1,6});?|&#0*([0-9]{1,7});?"  # HTML
    rb"|&([a-z][a-z0-9]{1,31};)"
    rb"|\\([0-3][0-7]{2})|\\([!-/:-@[-`{-~bfnrt])",  # C; a shell may do so with each sign, PHP's JSON with slashes
    re.IGNORECASE,
)
_CONTROLS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


_USER = re.compile(
    # A password may hold what should have been encoded; a port is no password. Bounded, since it is looked for behind
    # each ://, which would take a time of the square of the words.
    rb"://([^\s/?#:@]*:(?!\d{1,5}(?:[/?#\s]|$))\S{0,1024}|[^\s/?#]*)@"
    rb"|\b(?i:basic|bearer) +((?=\S*(?:[\d=]|[a-z][A-Z]))[\w+/=.~-]{8,})",
)
"""What is secret in anybody's words."""

_START = 6
"""Bytes at the beginning of a needle by which it is looked up: there may be hundreds of needles, and of lines."""

_PASSING = 64
"""Values that come and go which are remembered, the newest ones: signatures, of which a key has one a second."""


class Needles:
    """What is looked for in a reading: each needle, and whether it counts only where it stands by itself."""

    def __init__(self, needles: Iterable[tuple[bytes, bool]]) -> None:
        self._short: list[tuple[bytes, bool]] = []
        self._long: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for needle, whole_words in needles:
            if len(needle) < _START:
                self._short.append((needle, whole_words))
            else:
                self._long[needle[:_START]].append(needle)

    def find(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Where one begins and ends, each time."""
        for needle, whole_words in self._short:
            yield from _all(needle, text, whole_words=whole_words)
        if self._long:
            get = self._long.get
            for at in range(len(text) - _START + 1):
                for needle in get(text[at : at + _START], ()):
                    if text.startswith(needle, at):
                        yield at, at + len(needle)


class Hider:
    """Hides values, whatever their case, plain, escaped or in base64. Any thread may use it.

    Args:
        values: what is secret for as long as this lives.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._values: set[str] = set()
        self._passing: deque[str] = deque(maxlen=_PASSING)
        self._needles = Needles(())
        self._changed = False
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """These are secret from now on; of a value of several lines, so is each line of some length."""
        with self._lock:
            for value in values:
                self._values.update([value, *(line for line in value.splitlines() if len(line) >= _LINE)])
            self._changed = True

    def learn_passing(self, value: str) -> None:
        """This is secret until so many others have passed."""
        with self._lock:
            self._passing.append(value)
            self._changed = True

    def forget(self) -> None:
        """Nothing is secret any more; for tests."""
        with self._lock:
            self._values.clear()
            self._passing.clear()
            self._changed = True

    def __call__(
        self, words: str, more: Iterable[str] = (), always: Iterable[str] = (), most: int | None = KEPT
    ) -> str:
        """The words with `***` for each value, and for each in use.

        Args:
            words: ours, or from outside.
            more: further values, such as the signature of this call.
            always: values that hide within other words too, however short they are.
            most: bytes of the words that are looked at and given back; None: all of them.
        """
        # JSON can spell half of a character (a lone surrogate), which can be written nowhere.
        whole = words.encode("utf-8", "replace")
        most = len(whole) if most is None else most
        whole = whole[: most + _BEYOND]
        here = [(needle, len(needle) < _SHORT) for value in more for needle in _needles(value)]
        here += [(_alike(piece), False) for value in always for form in _forms(value) for piece in _pieces(form)]
        every = [self.needles(), Needles(here)] if self is IN_USE else [IN_USE.needles(), self.needles(), Needles(here)]
        found: list[tuple[int, int]] = []
        for text, places in (*_readings(whole), *_readings(whole, of_bytes=True)):
            alike = _alike(text)
            found += ((places[a], places[b]) for needles in every for a, b in needles.find(alike))
            found += (
                (places[m.start(m.lastindex)], places[m.end(m.lastindex)]) for m in _USER.finditer(text) if m.lastindex
            )
        return _without(whole, sorted(found), most).decode("utf-8", "ignore")

    def needles(self) -> Needles:
        """What is looked for: all values in each of their forms."""
        with self._lock:
            if self._changed:
                every = {needle for value in (*self._values, *self._passing) for needle in _needles(value)}
                self._needles = Needles((needle, len(needle) < _SHORT) for needle in every)
                self._changed = False
            return self._needles


IN_USE = Hider()
"""What is secret in this process: told by whoever reads it, or makes it."""


def hide(words: str) -> str:
    """The words, all of them, with `***` for each secret in use."""
    return IN_USE(words, most=None)


def secrets_in(value: object) -> Iterator[str]:
    """Every text in a value that is secret as a whole, such as a table of credentials or the JSON of one."""
    left = [value]  # a list, since what is given may be deeper than calls may be
    while left:
        inner = left.pop()
        if isinstance(inner, Mapping):
            left += inner.values()
        elif isinstance(inner, list | tuple):
            left += inner
        elif isinstance(inner, str) and inner:
            yield inner


def passwords_in(url: str) -> Iterator[str]:
    """What is secret in a URL: the user with the password, as `Basic` has them in base64, and the password alone.

    However wrong it is: before the last `@` stands what somebody took for them.
    """
    given, at, _ = url.rpartition("://")[2].rpartition("@")
    if not at or not given:
        return
    for user in {given, unquote_plus(given), unquote(given)}:
        yield user
        password = user.partition(":")[2]
        if password:
            yield password
        # Who takes a URL apart may quote a part of it.
        yield from (part for part in re.split("[/?#@:]", password) if len(part) >= _SHORT and part != password)


@lru_cache(1_024)
def _needles(value: str) -> frozenset[bytes]:
    """The forms of a value in which it is looked for in each reading of the words."""
    needles = {_alike(data) for form in _forms(value) for data in _pieces(form)}
    plain = {value, unquote_plus(value), quote(value, safe="", errors="replace"), json.dumps(value)[1:-1]}
    for form in {*(text.encode("utf-8", "replace") for text in plain), *_in_latin_1(value)}:
        for data in _pieces(form):
            if len(data) > _SHORT:
                needles.add(data.hex().encode())
                needles.update(_in_base64(data))
    return frozenset(needles)


def _forms(value: str) -> set[bytes]:
    """A value as it is, and as it is usually escaped.

    To undo the escapes of the words would do, were it not for what stands beside the value: a per cent sign before it,
    or a digit after it, makes an escape of something that is none.
    """
    if not value:
        return set()
    data = value.encode("utf-8", "replace")
    quoted = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], repr(data)[2:-1]}
    quoted |= {encode(value, safe=safe, errors="replace") for encode in (quote, quote_plus) for safe in ("", "/")}
    # Whoever takes UTF-8 for Latin-1 makes two characters of one.
    texts = {value, unquote_plus(value), html.escape(value), data.decode("latin-1"), *quoted}
    # Escapes that are its own are undone with those of the words.
    undone = (text for text, _ in _readings(data))
    return {*(text.encode("utf-8", "replace") for text in texts), *undone, *_in_latin_1(value)}


def _in_latin_1(value: str) -> Iterator[bytes]:
    """What many make `Basic` of, and percent codes."""
    with suppress(UnicodeEncodeError):
        yield value.encode("latin-1")


def _alike(data: bytes) -> bytes:
    """Small letters, and no plus signs: percent-decoding makes blanks of them, and the other way round."""
    return data.lower().replace(b"+", b" ")


def _pieces(data: bytes) -> Iterator[bytes]:
    """The data, or pieces of equal length that cover what may stand in the words of it."""
    if len(data) <= _PIECE:
        yield data
        return
    for at in range(0, min(len(data), _LONGEST), _PIECE):
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
        yield text, places
        plain, within = _unescaped(text, of_bytes=of_bytes)
        if plain == text:
            return
        text, places = plain, [places[at] for at in within]
    yield text, places


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
    percent, high, low, byte, long_code, json_code, in_braces, html_code, decimal, named, octal, slashed = (
        escape.groups()
    )
    if percent or (byte and of_bytes):
        return bytes([int(percent or byte, 16)])
    if octal:
        return bytes([int(octal, 8)])
    if named:
        return html5[name].encode() if (name := named.decode()) in html5 else None
    if slashed:
        return _CONTROLS.get(slashed, bytes(slashed))
    if high:
        code = 0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)
    else:
        code = int(decimal) if decimal else int(byte or long_code or json_code or in_braces or html_code, 16)
    return chr(code).encode("utf-8", "replace") if code <= sys.maxunicode else None


def _all(needle: bytes, text: bytes, *, whole_words: bool) -> Iterator[tuple[int, int]]:
    """Where a needle begins and ends in a text, each time."""
    at = text.find(needle) if needle else -1
    while at >= 0:
        end = at + len(needle)
        if not (whole_words and (text[:at][-1:].isalnum() or text[end : end + 1].isalnum())):
            yield at, end
        at = text.find(needle, at + 1)


def _without(whole: bytes, found: list[tuple[int, int]], most: int) -> bytes:
    kept = bytearray()
    at = 0
    for begin, end in found:
        if begin >= most:
            break
        if begin >= at and end > begin:
            kept += whole[at:begin] + HIDDEN
        at = max(at, end)
    return bytes(kept + whole[at:most])
