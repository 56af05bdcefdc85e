"""The file of offers that an operator lets go, `delivery.release_file`: who named them, and why.

It is TOML, one table an offer, every key required:

    [[release]]
    partner_code = "ACME"
    offer_id = "o-4711"
    who = "on call, platform team"
    why = "the insurer confirmed by mail that it deleted the offer"

What an entry does is said where they are kept: `runtime.releases`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ..errors import SettingsError
from .text import decoded, in_quotes, parsed, unseen

Offer: TypeAlias = tuple[str, str]
"""partner_code and offer_id."""

_SETTING = "OPT_OUT_DELIVERY__RELEASE_FILE (delivery.release_file in a TOML file)"
_RIGHT = "each [[release]] has partner_code, offer_id, who and why, and nothing else"
_Id: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
# Both go into an outcome, which must not grow too large to be written.
_Words: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    partner_code: _Id
    offer_id: _Id
    who: _Words
    why: _Words


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    release: list[_Entry] = []


def read_release_file(path: Path) -> tuple[bytes | str, Mapping[Offer, str]]:
    """What is in the file, and the offers that it lets go, as a start reads it.

    Raises:
        SettingsError: the file cannot be read, or is wrong; every mistake is named.
    """
    content = content_of(path)
    try:
        return content, read(content)
    except ValueError as error:
        raise SettingsError(f"{_SETTING} is '{path}': {error}") from None


def read(content: bytes | str) -> dict[Offer, str]:
    """The offers that a file lets go, with the note for each, by its content, or by why it has none.

    Raises:
        ValueError: it cannot be read or is wrong; says each thing that is wrong, and what is right.
    """
    if isinstance(content, str):
        raise ValueError(
            f"it cannot be read: {content}. Name a readable file, which may be empty, or leave the setting out"
        )
    try:
        text = decoded(content)
    except ValueError as error:
        raise ValueError(f"it {error}") from None
    try:
        tables = parsed(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not TOML: {error}; {_RIGHT}") from None
    try:
        entries = _File.model_validate(tables).release
    except ValidationError as error:
        raise ValueError("; ".join([*_mistakes(error, tables), _RIGHT])) from None
    notes: dict[Offer, str] = {}
    for number, entry in enumerate(entries, 1):
        offer = entry.partner_code, entry.offer_id
        for name, given in zip(("partner_code", "offer_id"), offer, strict=True):
            _check_id(f"entry {number} ({_shown(offer)}): {name}", given, text)
        if offer in notes:
            raise ValueError(f"entry {number} ({_shown(offer)}): the offer is named twice; keep one entry for it")
        notes[offer] = f"released by {entry.who}: {entry.why}"
    return notes


def _check_id(name: str, given: str, text: str) -> None:
    """An id with what nobody sees in it would let no offer go, and nothing would say so."""
    if (found := unseen(given, allowed="", within=text)) is not None:
        raise ValueError(f"{name} holds {found} of it; take it out, or write it as an escape if it is meant")
    if (quotes := in_quotes(given, within=text)) is not None:
        raise ValueError(f"{name} is in quotes ({quotes}) within its quotes; leave them out, or write them as escapes")


def content_of(path: Path) -> bytes | str:
    """What is in the file, or in words why it cannot be read. Follows the links by which mounted files are swapped."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        return getattr(error, "strerror", None) or str(error)


def _mistakes(error: ValidationError, tables: Mapping[str, object]) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_context=False):
        place = detail["loc"]
        text = detail["msg"].replace("Input should", "should").replace("Field required", "is missing")
        text = text.replace("Extra inputs are not permitted", "is not known here").replace("String should", "should")
        if len(place) == 1:
            yield f"{place[0]} {text if place[0] != 'release' else 'is not a list: write [[release]]'}"
        else:
            entries = tables["release"]
            number = int(place[1])
            entry = entries[number] if isinstance(entries, list) else None
            offer = (entry.get("partner_code", "?"), entry.get("offer_id", "?")) if isinstance(entry, dict) else None
            named = f" ({_shown(offer)})" if offer else ""
            yield f"entry {number + 1}{named}: {'.'.join(str(part) for part in place[2:]) or 'it'} {text}"


def _shown(offer: tuple[object, object]) -> str:
    return f"{offer[0]}/{offer[1]}"
