"""Why brokers refuse us: what only librdkafka knows, in words and with what to change.

A question to a broker that cannot be reached ends as "Broker transport failure" or "Timed out". The cause was told
before, to the handlers of errors and of log lines of the client that asked: a wrong password, an unknown CA, a name
that leads nowhere. `Causes` is those handlers of all clients. It says each cause once as a warning, and that it has
ended, and adds the causes to an error that ends a start or the service.

What is not known here is said in librdkafka's own words.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ..errors import OptOutError, SettingsError
from ..settings import KafkaSettings
from .refusals import CERTIFICATE, Refusal, hide_secrets, kind_of, refused_certificate

log = structlog.get_logger(__name__)

ENDS_AFTER = 60.0
"""Seconds without a complaint after which a cause counts as ended: the client tries again within ten, and may keep back
what it has said within the last thirty."""

PROBE = 5.0
"""Seconds that an error which ends the program waits to be told what is wrong with a certificate."""

_MOST = 3
"""Causes that one error names."""


class _Said(NamedTuple):
    """What is known of an error beside its text."""

    code: str | None = None
    topic: str | None = None
    partition: int | None = None


class _Client(Protocol):
    def poll(self, timeout: float) -> Any:
        """Serve what the client has to tell."""


C = TypeVar("C", bound=_Client)


@dataclass(slots=True)
class _Open:
    """A cause that holds. `probe` is looking for more to say of it."""

    refusal: Refusal
    heard_at: float
    told: bool = False
    probe: threading.Thread | None = None


class Causes:
    """What the clients of one run have told. Any thread may tell.

    Args:
        settings: what the clients are made with; without, nothing is known of them.
        monotonic: a clock in seconds.
        logs: whether there is a log. A command has none: there the error alone says the causes.
    """

    def __init__(
        self,
        settings: KafkaSettings | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        logs: bool = True,
    ) -> None:
        self._logs = logs
        self._settings = settings or KafkaSettings()
        self._monotonic = monotonic
        self._open: dict[tuple[str, str], _Open] = {}
        self._lock = threading.Lock()
        self._clients: list[_Client] = []

    def attend(self, client: C) -> C:
        """Have `look` serve a client that nobody else polls. Returns it."""
        self._clients.append(client)
        return client

    def heard(self, error: KafkaError, topic: str | None = None, partition: int | None = None) -> None:
        """An error that a client has told, of a partition if it is about one. A client's `error_cb`."""
        self._hear(self._refusal(error.str()), _Said(error.name(), topic, partition))

    def told(self, text: str) -> None:
        """Words of our own about what a client needs and has not got, such as a token."""
        self._hear(self._refusal(text))

    def goes_by(self, settings: KafkaSettings) -> None:
        """The clients log in with these from now on."""
        self._settings = settings

    def passes(self, record: logging.LogRecord) -> bool:
        """Whether a line of a client's log is to be logged: not if it is told as a cause. A filter of a logger."""
        refusal = self._refusal(record.getMessage())
        if not self._logs:
            self._hear(refusal)
            return False
        if refusal.kind.vague and record.levelno < logging.ERROR:
            # A broker that closes a connection is no news while running; at a start it may be the only sign.
            if refusal.kind.is_known:
                self._hear(refusal, silently=True)
            return True
        if not refusal.kind.is_known:
            return True
        self._hear(refusal)
        return False

    def look(self) -> None:
        """Serve the clients that are attended, and say what has ended. To be called again and again."""
        self._serve()
        now = self._monotonic()
        with self._lock:
            ended = {key: one for key, one in self._open.items() if now - one.heard_at >= ENDS_AFTER}
            for key in ended:
                del self._open[key]
        for one in ended.values():
            if one.told:
                log.info("kafka: this trouble has ended", broker=one.refusal.broker, cause=one.refusal.words)

    def ask(self, client: Callable[[], AdminClient]) -> None:
        """Hear what a new client has to tell, while those that are there tell nobody. On any thread; takes PROBE."""
        asked = client()
        with suppress(KafkaException):  # what matters the client tells
            asked.list_topics(timeout=PROBE)
        asked.poll(0)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Errors of this project that are raised within say the causes too, where they are about a broker."""
        try:
            yield
        except SettingsError:
            raise
        except OptOutError as error:
            if words := self._words(str(error), error):
                error.args = (f"{error}\n{words}", *error.args[1:])
            raise

    # --- inside

    def _serve(self) -> None:
        for client in self._clients:
            try:
                client.poll(0)
            except KafkaException as error:  # of an error for good the client tells no callback: it is raised here
                self.heard(error.args[0])

    def _refusal(self, text: str) -> Refusal:
        return kind_of(hide_secrets(text, self._settings.properties), self._settings)

    def _hear(self, refusal: Refusal, said: _Said | None = None, *, silently: bool = False) -> None:
        key = refusal.kind.name, refusal.broker if refusal.kind.is_known else refusal.text
        with self._lock:
            one = self._open.get(key)
            if one is None:
                one = self._open[key] = _Open(refusal, self._monotonic())
                if refusal.kind is CERTIFICATE:
                    # What is wrong with it the client keeps to itself. Asked by itself, since a broker may be slow.
                    one.probe = threading.Thread(target=self._probe, args=(one, said), daemon=True)
                    one.probe.start()
            one.heard_at = self._monotonic()
            if silently or one.told or one.probe is not None:
                return
            one.told = True
        self._warn(refusal, said)

    def _probe(self, one: _Open, said: _Said | None) -> None:
        one.refusal = refused_certificate(one.refusal, self._settings)
        one.told = True
        self._warn(one.refusal, said)

    def _warn(self, refusal: Refusal, said: _Said | None) -> None:
        if not self._logs:
            return
        said, broker, error = said or _Said(), refusal.broker or None, refusal.text
        if refusal.kind.is_known:
            cause, do = refusal.words, refusal.remedy
            log.warning("kafka", cause=cause, do=do, broker=broker, error=error, code=said.code)
        else:
            topic, partition = said.topic, said.partition
            log.warning("kafka", broker=broker, topic=topic, partition=partition, error=error, code=said.code)

    def _words(self, text: str, error: BaseException) -> str:
        """The causes of an error, a line each; none if it is not about a broker."""
        said = [refusal for refusal in (self._refusal(line) for line in text.split("\n")) if refusal.kind.is_known]
        if "Local: " in text or _has_kafka_error(error):
            self._serve()
            with self._lock:
                heard = list(self._open.values())
            for one in heard:
                if one.probe is not None:
                    one.probe.join(PROBE)
            said += sorted((one.refusal for one in heard), key=lambda refusal: refusal.kind.vague)
        if any(not refusal.kind.vague for refusal in said):
            said = [refusal for refusal in said if not refusal.kind.vague]
        lines = dict.fromkeys(refusal.line() for refusal in said)
        return "\n".join(f"  {line}" for line in list(lines)[:_MOST])


def _has_kafka_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, KafkaException):
            return True
        error = error.__cause__ or error.__context__
    return False
