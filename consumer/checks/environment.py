"""What the settings and the environment say, beyond what is refused when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from ..settings import Settings
from ..settings.outside import OutsideVariable
from .check import Check

SETTINGS, ENVIRONMENT = "settings", "environment"
"""Of the checks."""


def judge_settings(settings: Settings) -> Iterator[Check]:
    """The settings, once they were read: whatever is wrong by itself was refused then."""
    api, delivery = settings.api, settings.delivery
    yield Check(SETTINGS, "ok", "every value is what it must be, and the Kafka client takes its properties")
    if api.auth == "none":
        yield Check(
            SETTINGS, "warning", "api.auth is none, so no call is signed", "set it to signature, unless a proxy signs"
        )
    if urlsplit(api.base_url).scheme == "http" and api.allow_plain_http:
        yield Check(
            SETTINGS,
            "warning",
            f"the key and the signatures go to {api.base_url} in plain text (api.allow_plain_http)",
            "use https://, unless what stands between encrypts",
        )
    secret = (settings.avro.registry_password or settings.avro.registry_token) is not None
    if secret and settings.avro.registry_allow_plain_http and "http://" in (settings.avro.registry_url or ""):
        yield Check(
            SETTINGS,
            "warning",
            "what we show to the schema registry goes there in plain text (avro.registry_allow_plain_http)",
            "use https://, unless what stands between encrypts",
        )
    if delivery.not_found_limit == 0:
        yield Check(
            SETTINGS,
            "warning",
            "delivery.not_found_limit is 0, so each 404 is believed, those of a wrong route too",
            "leave it at its default, except while 404s are accepted on purpose",
        )
    for name in ("checkout_silence", "unmatched_limit"):
        if not getattr(settings.join, name):
            yield Check(
                SETTINGS,
                "warning",
                f"join.{name} is 0, so this guard never holds decisions back",
                "leave it at its default: what it guards against cannot be taken back",
            )


def judge_environment(variables: Sequence[OutsideVariable]) -> Iterator[Check]:
    """The variables that are set and are no settings of ours."""
    for one in variables:
        does = f"{one.name}={one.value}: {one.effect}"
        if one.name == "SSLKEYLOGFILE":
            yield Check(ENVIRONMENT, "warning", does, "unset it, unless somebody is looking for a fault right now")
        else:
            yield Check(ENVIRONMENT, "ok", does)
    if not variables:
        yield Check(ENVIRONMENT, "ok", "no variable changes the way to the API")
