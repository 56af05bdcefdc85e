"""The files that hold api.key, api.secret and api.credentials, looked at while the service runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import structlog
from pydantic import ValidationError

from ..hiding import IN_USE, secrets_in
from ..settings import ApiSettings
from ..settings.load import secret_in
from ..settings.model import both_names
from ..settings.types import read_object

log = structlog.get_logger(__name__)

INTERVAL = 1.0
"""Seconds between two looks at the files."""

WATCHED = ("api.key", "api.secret", "api.credentials")


class SecretFiles:
    """Tells what the files have now, once for each change. What cannot be used is said, and is no change.

    The first look is at a change too, if the files have changed since the settings were read.
    """

    def __init__(self, files: Mapping[str, Path], in_force: ApiSettings) -> None:
        """`files`: which file gave a setting, by its name; `in_force`: the settings as they were read."""
        self._files = {name: files[name] for name in WATCHED if name in files}
        self._in_force = in_force
        self._next_look = 0.0
        self._seen: Mapping[str, bytes | str] = {}

    def look(self, now: float) -> ApiSettings | None:
        """Settings with the key, the secret and the credentials that the files have since they changed; None if they
        have not. Looks at most once a second; `now` is monotonic (s). Whatever is secret in them is hidden from now on.
        """
        if not self._files or now < self._next_look:
            return None
        self._next_look = now + INTERVAL
        # Not by their times and sizes: a copy may keep both. Kubernetes swaps a link above them.
        contents = {name: _content(path) for name, path in self._files.items()}
        if contents == self._seen:
            return None
        self._seen = contents
        try:
            found = self._read(contents)
        except ValueError as error:
            log.warning("new credentials not taken over: those of before stay in force", error=str(error))
            return None
        if found == self._in_force:
            return None
        self._in_force = found
        return found

    def _read(self, contents: Mapping[str, bytes | str]) -> ApiSettings:
        """What the files hold, by the rules of a start.

        Raises:
            ValueError: one of them cannot be read or used; says which, and not what is in it.
        """
        given = {}
        for name, content in contents.items():
            which = f"{both_names(f'{name}_file')} is '{self._files[name]}', which"
            if isinstance(content, str):
                raise ValueError(f"{which} cannot be read: {content}")
            try:
                given[name] = secret_in(name, content)
            except ValueError as error:
                raise ValueError(f"{which} {error}") from None
            IN_USE.learn(value for value in secrets_in(_as_object(given[name])) if len(value) > 1)
        values = {name: getattr(self._in_force, name.removeprefix("api.")) for name in WATCHED} | given
        try:
            new = ApiSettings.model_validate({name.removeprefix("api."): value for name, value in values.items()})
        except ValidationError as error:
            (detail, *_) = error.errors(include_url=False, include_input=False)
            name = ".".join(str(part) for part in ("api", *detail["loc"]))
            raise ValueError(f"{name}, as its file has it: {detail['msg'].removeprefix('Value error, ')}") from None
        return self._in_force.model_copy(update={"key": new.key, "secret": new.secret, "credentials": new.credentials})


def _as_object(text: str) -> object:
    try:
        return read_object(text)
    except ValueError:
        return text


def _content(path: Path) -> bytes | str:
    """What is in a file, or in words why it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        return getattr(error, "strerror", None) or str(error)
