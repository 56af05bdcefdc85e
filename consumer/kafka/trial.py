"""Whether librdkafka takes the configuration of each client of the service: tried before anything else is done.

What librdkafka accepts as a single property it may refuse for one kind of client, or beside another property, and says
so only to who makes such a client. So each kind is made once, with all that it is going to have but the brokers: none
is contacted.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from ..settings import KafkaSettings
from ..settings.load import refusal
from ..settings.model import both_names
from .config import (
    SMALL_FETCHES,
    admin_config,
    consumer_config,
    in_order,
    producer_config,
    record_reader_config,
)
from .refusals import hide_secrets
from .tokens import check_token

_SILENT = logging.Logger("trial")
_SILENT.addHandler(logging.NullHandler())

_ASKING = frozenset({"bootstrap.servers", "oauth_cb"})
_TOKENS = "sasl.oauthbearer.token.endpoint.url"
_MAKER = re.compile(r"^Failed to create (consumer|producer|admin client): ")


def _member(settings: KafkaSettings) -> None:
    config = consumer_config(settings, on_error=lambda _: None)
    for more in ({}, SMALL_FETCHES):  # as it reads, and as it samples keys at the start
        Consumer(_apart(config | dict(more))).close()


KINDS: Mapping[str, Callable[[KafkaSettings], object]] = {
    "the consumer in the group": _member,
    "the reader of single records": lambda settings: Consumer(_apart(record_reader_config(settings))).close(),
    "the producer": lambda settings: Producer(in_order(_apart(producer_config(settings)))),
    "the admin client": lambda settings: AdminClient(_apart(admin_config(settings))),
}
"""Each kind of client that the service makes, and how one is made for trial."""


def try_clients(settings: KafkaSettings) -> None:
    """Make each kind of client once.

    Raises:
        SettingsError: librdkafka refuses one; what it says, which properties that is about, and which clients. Or
            there is nothing to make the tokens with that it is to have.
    """
    check_token(settings.token)
    refused: dict[str, list[str]] = {}
    for client, make in KINDS.items():
        if (words := _refused(make, settings)) is not None:
            refused.setdefault(words, []).append(client)
    if refused:
        raise refusal([_explained(settings, words, clients) for words, clients in refused.items()])


def _apart(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a client that knows no broker, asks nobody for a token, and says nothing."""
    apart = {name: value for name, value in config.items() if name not in _ASKING} | {"logger": _SILENT}
    if apart.get(_TOKENS):
        # It would be asked at once, by each client, and an endpoint that hangs would hold up the end of each.
        apart[_TOKENS] = "none://"
    return apart


def _refused(make: Callable[[KafkaSettings], object], settings: KafkaSettings) -> str | None:
    """What librdkafka, or its binding, has against it."""
    try:
        make(settings)
    except (KafkaException, TypeError, ValueError) as error:
        cause = error.args[0]
        text = cause.str() if hasattr(cause, "str") else str(error)
        return _MAKER.sub("", text).strip()
    return None


def _explained(settings: KafkaSettings, words: str, clients: list[str]) -> str:
    about = [name for name in settings.properties if _names(words, name)]
    about = about or list(_culprits(settings, words, clients[0]))
    words = hide_secrets(words, settings.properties)
    by = "every client" if len(clients) == len(KINDS) else " and ".join(clients)
    return (
        f"{both_names('kafka.properties')} (its value is not shown), property {', '.join(about)}: {words} "
        f"(refused by {by})"
    )


def _names(words: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}(?!\.?\w)", words) is not None


def _culprits(settings: KafkaSettings, words: str, client: str) -> Iterator[str]:
    """Where the words name none that was given: the properties without any of which they are not said."""
    for name in settings.properties:
        others = {other: value for other, value in settings.properties.items() if other != name}
        if _refused(KINDS[client], settings.model_copy(update={"properties": others})) != words:
            yield name
