"""Makes the Kafka clients of a run, and keeps them logged in while passwords and certificates change.

What librdkafka does, as tried against Apache Kafka:

- **A password** can be given to a client that lives. It is used at the next login: of a new connection, or where the
  broker asks again (`connections.max.reauth.ms`). A client that was refused meanwhile logs in at once.
- **A certificate**, its key, the CA and the secret of an OIDC client are read when a client is made, and never again.
  Connections that stand outlive the certificate; new ones are refused once it is out of date.

So the files are looked at while the service runs. A new password is given to every client, unless a client cannot be
made with it, as with an empty one. For all else the service stops in order, since its clients end with it, and a
restart reads what is there: nothing is lost, and no call is repeated.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from ..errors import SettingsError, StartError
from ..settings import KafkaSettings
from ..settings.kafka import is_secret
from .causes import Causes
from .certificate import validity_of
from .config import (
    admin_config,
    consumer_config,
    epoch_reader_config,
    log_reader_config,
    producer_config,
    record_reader_config,
    transactional_config,
)
from .trial import try_clients

log = structlog.get_logger(__name__)

INTERVAL = 10.0
"""Seconds between two looks at the files. What has changed counts once two looks find the same: a user and a password,
or a certificate and its key, may be written one after the other."""

DAY = 86_400.0
"""Seconds between two warnings of the same certificate."""

_LOGIN = ("sasl.username", "sasl.password")
_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.keystore.location")


class LiveConsumer(Consumer):
    """A consumer that can be remembered without being kept."""


class LiveProducer(Producer):
    """A producer that can be remembered without being kept."""


C = TypeVar("C", LiveConsumer, LiveProducer, AdminClient)


class Clients:
    """Makes clients, on any thread; the newest ones log in with what the files say now.

    Args:
        settings: as they were at the start.
        causes: is told what the clients say.
        read: the settings as their sources have them now; without, nothing is looked at.
        monotonic: a clock in seconds.

    Attributes:
        settings: those that new clients are made with.
        outdated: the properties for which the service has to start anew; empty while there is none.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        causes: Causes,
        read: Callable[[], KafkaSettings] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.outdated = ""
        self._causes = causes
        self._read = read
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._living: WeakSet[LiveConsumer | LiveProducer | AdminClient] = WeakSet()
        self._fixed = _fixed(settings)
        self._seen: object = None
        self._not_taken: dict[str, object] = {}
        self._next_look = self._next_warning = 0.0

    def admin(self) -> AdminClient:
        """See `admin_config`."""
        return self._made(lambda: AdminClient(admin_config(self.settings, self._causes)))

    def member(self, on_error: Callable[[KafkaError], None], **more: Any) -> Consumer:
        """See `consumer_config`, over which `more` is laid."""
        return self._made(lambda: LiveConsumer(consumer_config(self.settings, self._causes, on_error=on_error) | more))

    def record_reader(self) -> Consumer:
        """See `record_reader_config`."""
        return self._made(lambda: LiveConsumer(record_reader_config(self.settings, self._causes)))

    def epoch_reader(self) -> Consumer:
        """See `epoch_reader_config`."""
        return self._made(lambda: LiveConsumer(epoch_reader_config(self.settings, self._causes)))

    def log_reader(self) -> Consumer:
        """See `log_reader_config`."""
        return self._made(lambda: LiveConsumer(log_reader_config(self.settings, self._causes)))

    def producer(self) -> Producer:
        """See `producer_config`."""
        return self._made(lambda: LiveProducer(producer_config(self.settings, self._causes)))

    def transactional(self, name: str) -> Producer:
        """See `transactional_config`."""
        return self._made(lambda: LiveProducer(transactional_config(self.settings, self._causes, name)))

    def look(self) -> bool:
        """Look at the files, at an interval. Returns whether the service is to stop in order; see `outdated`."""
        if self._read is None or self._monotonic() < self._next_look:
            return False
        self._next_look = self._monotonic() + INTERVAL
        self._look_at_certificate()
        try:
            found = self._read()
        except SettingsError as error:
            self._not_taken_over("files", str(error), str(error))
            return False
        before, self._seen = self._seen, (_login(found), _fixed(found))
        if self._seen == before:
            self._log_in_with(found)
            self._compare(found)
        return bool(self.outdated)

    # --- inside

    def _made(self, make: Callable[[], C]) -> C:
        with self._lock:  # or one that is just being made would miss a new password
            try:
                client = make()
            except KafkaException as error:  # what is wrong with the settings was found before: there is no token
                raise StartError(f"a Kafka client could not be made: {error.args[0].str()}.") from error
            self._living.add(client)
            return client

    def _look_at_certificate(self) -> None:
        """Warn once a day that the certificate should have been renewed."""
        file = self.settings.properties.get("ssl.certificate.location")
        if file is None or self._monotonic() < self._next_warning:
            return
        validity, now = validity_of(Path(str(file))), datetime.now(UTC)
        if validity is not None and validity.is_nearly_over(now):
            self._next_warning = self._monotonic() + DAY
            log.warning("kafka: the client certificate ends soon", file=str(file), ends=validity.ends.isoformat())

    def _log_in_with(self, found: KafkaSettings) -> None:
        login, before = _login(found), _login(self.settings)
        if login == before:
            self._not_taken.pop("login", None)
        if not login or not before or login in (before, self._not_taken.get("login")):
            return
        new = self.settings.model_copy(update={"properties": {**self.settings.properties, **login}})
        try:
            try_clients(_without_certificates(new))
        except SettingsError as error:
            self._not_taken_over("login", login, str(error))
            return
        with self._lock:
            self.settings = new
            living = list(self._living)
        self._causes.goes_by(self.settings)
        for client in living:
            with suppress(RuntimeError):  # it is closed
                client.set_sasl_credentials(*login.values())
        log.info("kafka: every client logs in with the new password from now on", user=login["sasl.username"])

    def _compare(self, found: KafkaSettings) -> None:
        """Stop for what no client takes while it lives, if clients could be made with it."""
        fixed = _fixed(found)
        if fixed in (self._fixed, self._not_taken.get("fixed")) or self.outdated:
            return
        changed = [name for name in {**self._fixed, **fixed} if self._fixed.get(name) != fixed.get(name)]
        try:
            try_clients(found)
        except SettingsError as error:
            self._not_taken_over("fixed", fixed, str(error))
            return
        self.outdated = ", ".join(changed)
        log.warning("kafka: a certificate or a secret has changed: stopping in order", changed=changed)

    def _not_taken_over(self, part: str, what: object, why: str) -> None:
        if what == self._not_taken.get(part):
            return
        self._not_taken[part] = what
        log.warning("kafka: what has changed in the files is not taken over", error=why)


def _without_certificates(settings: KafkaSettings) -> KafkaSettings:
    """To try a password by itself: what a certificate lacks in this moment must not keep it back."""
    others = {name: value for name, value in settings.properties.items() if not name.startswith("ssl.")}
    return settings.model_copy(update={"properties": others})


def _login(settings: KafkaSettings) -> dict[str, str]:
    """The user and the password, in this order; empty if one of them is missing."""
    found = {name: str(settings.properties[name]) for name in _LOGIN if name in settings.properties}
    return found if len(found) == len(_LOGIN) else {}


def _fixed(settings: KafkaSettings) -> Mapping[str, str]:
    """What clients log in with and do not take while they live: by property, what tells one state from another."""
    found = {name: value for name, value in settings.properties.items() if is_secret(name) and name not in _LOGIN}
    for name in _FILES:
        if name in settings.properties:
            found[name] = _state_of(Path(str(settings.properties[name])))
    return {name: str(value) for name, value in found.items()}


def _state_of(path: Path) -> str:
    try:
        return f"{path} {sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:  # a folder of CAs, or a file that is just being replaced
        return f"{path} {error.strerror}"
