"""Schemas by their ids: what is not known is asked for on a thread of its own, again and again until it is told.

The thread that reads Kafka must not wait for a registry: it would lose its place in the group, and what is decided
already could not be settled. So whoever asks for a schema that is not known is told so at once, and asks again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from ..backoff import full_jitter
from ..errors import DecodeError, SchemaWaitError, StartError
from .framing import SchemaId
from .registry_client import RegistryError, Trouble
from .written import WrittenSchema

log = structlog.get_logger(__name__)

BASE, CAP = 0.5, 60.0
"""Seconds of the back-off. With jitter, since all instances ask for a schema when a producer begins to use it."""


@dataclass(slots=True)
class _Wait:
    """A schema that is asked for. Times are monotonic, in seconds."""

    since: float
    due: float
    tries: int = 0
    reason: str = "it is being asked for"
    told: set[Trouble] = field(default_factory=set)


class Schemas(Protocol):
    """Gives schemas by their ids."""

    def get(self, schema_id: SchemaId) -> WrittenSchema:
        """Raises `DecodeError` if no record can be read by it, and `SchemaWaitError` if it is not known yet."""


class AskingSource:
    """Asks when it is asked, for commands: they have nothing else to do.

    Args:
        fetch: see `SchemaSource`.
    """

    def __init__(self, fetch: Callable[[SchemaId], WrittenSchema]) -> None:
        self._fetch = fetch
        self._unknown: dict[SchemaId, str] = {}
        """Why it is not known. A command ends soon, and many records may have one id: each is asked for once."""

    def get(self, schema_id: SchemaId) -> WrittenSchema:
        """See `Schemas`: an id that the registry does not know is not known yet.

        Raises:
            StartError: the registry tells nothing.
        """
        if schema_id in self._unknown:
            raise SchemaWaitError(self._unknown[schema_id])
        try:
            return self._fetch(schema_id)
        except RegistryError as error:
            words = f"schema id {schema_id}: {error.trouble.value} ({error})"
            if error.trouble is not Trouble.UNKNOWN:
                raise StartError(words) from error
            self._unknown[schema_id] = words
            raise SchemaWaitError(words) from error


class SchemaSource:
    """Gives schemas by their ids, never waiting. Any thread may ask.

    Args:
        fetch: asks the registry, which may take its time. Raises as `Registry.schema` does.
        monotonic: in seconds.
        uniform: draws a number between two: how long is waited of the longest back-off.
    """

    def __init__(
        self,
        fetch: Callable[[SchemaId], WrittenSchema],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._uniform = uniform
        self._known: dict[SchemaId, WrittenSchema | DecodeError] = {}
        """For good: no registry gives an id another schema."""
        self._waits: dict[SchemaId, _Wait] = {}
        self._silent_tries = 0
        """Tries in a row that had no answer, whatever they asked for."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def get(self, schema_id: SchemaId) -> WrittenSchema:
        """See `Schemas`. What is not known is asked for from now on."""
        found = self._known.get(schema_id)
        if isinstance(found, WrittenSchema):
            return found
        if found is not None:
            raise DecodeError(found.reason, str(found))
        with self._changed:
            wait = self._waits.get(schema_id)
            if wait is None:
                now = self._monotonic()
                wait = self._waits[schema_id] = _Wait(since=now, due=now)
                self._start()
                self._changed.notify()
            raise SchemaWaitError(f"schema id {schema_id}: {wait.reason}")

    def stop(self) -> None:
        """Ask no more. What is being asked is not waited for: no registry may hold up the end."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    # --- the thread

    def _start(self) -> None:
        if self._thread is None:
            # A daemon: it holds nothing that would have to be put away.
            self._thread = threading.Thread(target=self._work, name="schemas", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (schema_id := self._next()) is not None:
            try:
                found: WrittenSchema | DecodeError = self._fetch(schema_id)
            except DecodeError as error:
                found = error
            except RegistryError as error:
                self._put_off(schema_id, error)
                continue
            except Exception as error:
                # The thread must live on: whoever waits would wait for ever.
                self._put_off(schema_id, RegistryError(Trouble.FAULTY, repr(error)))
                continue
            self._silent_tries = 0
            self._keep(schema_id, found)

    def _next(self) -> SchemaId | None:
        """The next schema to ask for, once it is due; None: no more."""
        with self._changed:
            while not self._stopped:
                now = self._monotonic()
                first = min(self._waits, key=lambda one: self._waits[one].due, default=None)
                if first is not None and self._waits[first].due <= now:
                    return first
                self._changed.wait(None if first is None else self._waits[first].due - now)
        return None

    def _put_off(self, schema_id: SchemaId, error: RegistryError) -> None:
        wait = self._waits[schema_id]
        with self._changed:
            if self._stopped:  # its connection was closed
                return
            now = self._monotonic()
            wait.tries += 1
            wait.reason = f"{error.trouble.value} ({error})"
            wait.due = now + self._back_off(wait.tries)
            if error.trouble is Trouble.UNREACHABLE:
                # The others would have to wait for the same answer, one after the other.
                self._silent_tries += 1
                again = now + self._back_off(self._silent_tries)
                for other in self._waits.values():
                    other.due = max(other.due, again)
            else:
                self._silent_tries = 0
        if error.trouble not in wait.told:
            wait.told.add(error.trouble)
            log.warning(
                "a schema is not known: the records that were written with it wait, and those behind them",
                schema_id=str(schema_id),
                what=error.trouble.value,
                error=str(error),
                tries=wait.tries,
            )

    def _back_off(self, tries: int) -> float:
        return full_jitter(tries, self._uniform, BASE, CAP)

    def _keep(self, schema_id: SchemaId, found: WrittenSchema | DecodeError) -> None:
        self._known[schema_id] = found
        with self._changed:
            wait = self._waits.pop(schema_id)
        if wait.told:
            log.info(
                "a schema is known: the records that waited for it are read",
                schema_id=str(schema_id),
                waited_s=round(self._monotonic() - wait.since, 1),
                tries=wait.tries + 1,
            )
