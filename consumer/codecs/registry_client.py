"""Asks a schema registry, by confluent-kafka's own client; what it answers, or why it does not, in our words."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from ..errors import DecodeError, OptOutError, SettingsError
from ..hiding import hide
from ..settings import AvroSettings
from ..settings.model import both_names
from ..settings.network import without_password
from .bounded_answer import AnswerBoundError, bound_answers
from .codec import UNDECODABLE
from .framing import SchemaId
from .written import WrittenSchema, parse_texts

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

TIMEOUT = 10.0
"""Seconds that the registry has for an answer."""

MOST_SCHEMA_BYTES = 1_000_000
"""Bytes of a schema with all that it refers to. Ours have 1,500; parsing takes a hundred times that in memory."""

MOST_REFERENCES = 100

_Place: TypeAlias = tuple[str, int]
"""Subject and version of a schema."""

_KINDS = {"JSON": "a JSON schema", "PROTOBUF": "a Protobuf schema"}


class Trouble(Enum):
    """Why a schema is not known yet, in words, with what to do."""

    UNREACHABLE = "the registry does not answer: see that it runs and that avro.registry_url is right"
    REFUSED = (
        "the registry refuses us: see that avro.registry_user and avro.registry_password, avro.registry_token or the "
        "client's certificate are right, and may read schemas"
    )
    UNKNOWN = (
        "the registry does not know this id: see that avro.registry_url is the registry of those who write, and that "
        "nobody has deleted the schema"
    )
    INCOMPATIBLE = (
        "the registry takes no schema there that is not compatible with those before: see what it says, and whose "
        "subject that is"
    )
    FAULTY = (
        "what answers gives no schema: see what it says, and that avro.registry_url names a registry by Confluent's API"
    )

    @property
    def what(self) -> str:
        """What is the matter."""
        return self.value.partition(": ")[0]

    @property
    def remedy(self) -> str:
        """What to do."""
        return self.value.partition(": ")[2]


class RegistryError(OptOutError):
    """The registry has not told what it was asked for. It may, if it is asked again."""

    def __init__(self, trouble: Trouble, message: str) -> None:
        super().__init__(hide(message)[:500])
        self.trouble = trouble


class _LongAnswerError(RegistryError):
    """The answer is longer than is read, and begins as a registry's does."""


class Registry:
    """The registry that the settings name.

    Raises:
        SettingsError: the client's extra packages are not installed, or a file that it needs cannot be used.
    """

    def __init__(self, settings: AvroSettings) -> None:
        self._client = _client(settings)

    def schema(self, schema_id: SchemaId) -> WrittenSchema:
        """The schema of an id, with all that it refers to.

        Raises:
            DecodeError: it is none that records can be read by; asking again would not help.
            RegistryError: see there.
        """
        texts: dict[_Place, str] = {}
        try:
            found = self._ask(
                lambda: (
                    self._client.get_schema_by_guid(str(schema_id))
                    if isinstance(schema_id, UUID)
                    else self._client.get_schema(schema_id)
                )
            )
            self._collect(found, texts, within=())
        except _LongAnswerError as error:
            raise DecodeError(UNDECODABLE, f"cannot be read: {error}") from None
        *references, text = texts.values()
        return parse_texts(text, references)

    def find(self, subject: str, text: str) -> int | None:
        """The id of a schema, as it is registered in a subject; None: it is not.

        Raises:
            RegistryError: see there.
        """
        try:
            return int(self._ask(lambda: self._client.lookup_schema(subject, _avro(text)).schema_id))
        except RegistryError as error:
            if error.trouble is Trouble.UNKNOWN:
                return None
            raise

    def see_that_it_answers(self) -> None:
        """Ask which kinds of schemas it takes: who may ask anything may ask that, and it takes no right on a subject.

        Raises:
            RegistryError: it does not answer, or does not take our credentials.
        """
        found = self._ask(self._client.get_schema_types)
        if not isinstance(found, list):
            raise RegistryError(Trouble.FAULTY, f"its answer is no list of kinds but {str(found)[:200]}")

    def versions(self, subject: str) -> int:
        """How many versions a subject has.

        Raises:
            RegistryError: see there.
        """
        try:
            return len(self._ask(partial(self._client.get_versions, subject)))
        except RegistryError as error:
            if error.trouble is Trouble.UNKNOWN:
                return 0
            raise

    def takes(self, subject: str, text: str) -> bool:
        """Whether a schema is compatible with the last version of a subject. Registers nothing.

        Raises:
            RegistryError: see there.
        """
        return bool(self._ask(lambda: self._client.test_compatibility(subject, _avro(text))))

    def register(self, subject: str, text: str) -> int:
        """Register a schema in a subject. Returns its id.

        Raises:
            RegistryError: see there. It may also be one that the subject's compatibility forbids.
        """
        return int(self._ask(lambda: self._client.register_schema(subject, _avro(text))))

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    # --- inside

    def _collect(self, found: Schema, texts: dict[_Place, str], within: tuple[_Place, ...]) -> None:
        """The texts of the schemas that it refers to, each behind those that it refers to itself, and its own."""
        kind = found.schema_type or "AVRO"
        if kind != "AVRO":
            raise DecodeError(
                UNDECODABLE,
                f"is {_KINDS.get(kind, kind)} and no Avro, which is all that is read by a registry's id. Have it "
                "written as Avro; or if its values are JSON without any id, set input.offers.format or "
                "input.checkouts.format to json",
            )
        if not isinstance(found.schema_str, str):
            raise RegistryError(Trouble.FAULTY, "its answer has no schema in it")
        for reference in found.references or ():
            place = reference.subject or "", reference.version or 0
            if place in texts:
                continue
            if place in within or len(within) + len(texts) > MOST_REFERENCES:
                raise DecodeError(UNDECODABLE, "refers to too many other schemas, or to itself")
            version = self._ask(partial(self._client.get_version, *place, deleted=True))
            self._collect(version.schema, texts, (*within, place))
        texts[within[-1] if within else ("", 0)] = found.schema_str
        if (size := sum(map(len, texts.values()))) > MOST_SCHEMA_BYTES:
            raise DecodeError(UNDECODABLE, f"has {size} characters, and {MOST_SCHEMA_BYTES} is the most that is taken")

    def _ask(self, question: Callable[[], Any]) -> Any:
        from confluent_kafka.schema_registry import SchemaRegistryError  # noqa: PLC0415 - slow to load

        try:
            return question()
        except SchemaRegistryError as error:
            status = error.http_status_code
            if status in {401, 403}:
                raise RegistryError(Trouble.REFUSED, str(error)) from None
            if status == 404 and error.error_code in _NOT_FOUND:
                raise RegistryError(Trouble.UNKNOWN, str(error)) from None
            if status == 409:
                raise RegistryError(Trouble.INCOMPATIBLE, str(error)) from None
            if status in {408, 429} or status >= 500:
                raise RegistryError(Trouble.UNREACHABLE, str(error)) from None
            raise RegistryError(Trouble.FAULTY, str(error)) from None
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            # What answers is no registry: the client takes any JSON for its own.
            raise RegistryError(Trouble.FAULTY, f"its answer is none of a registry: {error!r}") from None
        except AnswerBoundError as error:
            # What is no JSON object is of something between, such as a page, and may be gone tomorrow.
            kind = _LongAnswerError if error.is_long and error.is_object else RegistryError
            raise kind(Trouble.FAULTY, str(error)) from None
        except Exception as error:
            # Of httpx, or of the sockets and TLS below it.
            raise RegistryError(Trouble.UNREACHABLE, f"{type(error).__name__}: {error}") from None


def _avro(text: str) -> Schema:
    from confluent_kafka.schema_registry import Schema  # noqa: PLC0415 - slow to load

    return Schema(text, "AVRO")


_OUTSIDE = re.compile(r"(?:https?|all|no)_proxy|SSL_CERT_(?:FILE|DIR)|SSLKEYLOGFILE", re.IGNORECASE).fullmatch

_NOT_FOUND = frozenset({40401, 40402, 40403})
"""The registry's own codes for a subject, a version and a schema that are not there. Another 404 is somebody else's."""


def try_registry(settings: AvroSettings) -> None:
    """Make the registry's client once, without asking the registry.

    Raises:
        SettingsError: see `Registry`.
    """
    Registry(settings).close()


def _outside() -> str:
    """What the client reads by itself of the environment, if anything, with what to do."""
    given = [f"{name}={without_password(value)}" for name, value in os.environ.items() if value and _OUTSIDE(name)]
    if not given:
        return ""
    return (
        f". Its client goes by these variables, too: {', '.join(sorted(given))}; correct or unset them for this service"
    )


def _client(settings: AvroSettings) -> SchemaRegistryClient:
    if settings.registry_url is None:
        raise SettingsError(f"{both_names('avro.registry_url')} is not set: give the schema registry's URL")
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - half a second, and an extra
    except ImportError as error:
        raise SettingsError(
            f"a schema registry is asked for by the settings, and its client is not installed ({error}): "
            "pip install 'offer-opt-out[registry]'"
        ) from None
    given: dict[str, Any] = {
        "url": settings.registry_url,
        # It is asked again by our own back-off, which says so.
        "max.retries": 0,
        "timeout": TIMEOUT,
        "ssl.ca.location": settings.registry_ca_file and str(settings.registry_ca_file),
        "ssl.certificate.location": settings.registry_client_certificate and str(settings.registry_client_certificate),
        "ssl.key.location": settings.registry_client_key and str(settings.registry_client_key),
    }
    if settings.registry_user is not None and settings.registry_password is not None:
        given["basic.auth.user.info"] = f"{settings.registry_user}:{settings.registry_password.get_secret_value()}"
    if settings.registry_token is not None:
        token = settings.registry_token.get_secret_value()
        # Its provider of a fixed token insists on the name of a cluster, which only one vendor's registry has.
        given["bearer.auth.credentials.source"] = "CUSTOM"
        given["bearer.auth.custom.provider.config"] = {}
        given["bearer.auth.custom.provider.function"] = lambda _: {
            "bearer.auth.token": token,
            "bearer.auth.logical.cluster": "",
        }
    try:
        client = SchemaRegistryClient({name: value for name, value in given.items() if value is not None})
    except Exception as error:
        # No server was asked. Besides OSError and ValueError it may be ImportError, or an error of httpx's own.
        raise SettingsError(
            hide(f"the schema registry cannot be asked by these settings: {error}{_outside()}")
        ) from None
    # Its own attribute, which it does not promise; the tests of bounded answers hold it.
    bound_answers(client._rest_client.session)
    return client
