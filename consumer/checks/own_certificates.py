"""The certificates that we show, to brokers, the API and the registry: whether they are good, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ..kafka.certificate import Validity, validity_in, validity_of
from ..settings import Settings
from .check import Check

NAME = "own certificates"
"""Of the checks."""


def judge_own_certificates(settings: Settings, now: datetime) -> Iterator[Check]:
    """One check for each certificate that a setting names."""
    for name, file in _files(settings):
        yield _judge(f"{file} ({name})", validity_of(file), now)
    properties = settings.kafka.properties
    if pem := properties.get("ssl.certificate.pem"):
        yield _judge("what is in kafka.properties (ssl.certificate.pem)", validity_in(str(pem)), now)
    if store := properties.get("ssl.keystore.location"):
        yield Check(
            NAME,
            "warning",
            f"when the certificate in {store} (ssl.keystore.location) ends is not looked at",
            "look at it by openssl pkcs12 -nokeys, or use ssl.certificate.location and ssl.key.location",
        )


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    if file := settings.kafka.properties.get("ssl.certificate.location"):
        yield "ssl.certificate.location", Path(str(file))
    if settings.api.client_certificate is not None:
        yield "api.client_certificate", settings.api.client_certificate
    if settings.avro.registry_client_certificate is not None:
        yield "avro.registry_client_certificate", settings.avro.registry_client_certificate


def _judge(what: str, validity: Validity | None, now: datetime) -> Check:
    if validity is None:
        return Check(
            NAME,
            "warning",
            f"when the certificate in {what} ends is not known: none can be read there",
            "see that it is PEM (-----BEGIN CERTIFICATE-----), with our own certificate first",
        )
    begins, ends = validity.begins.date().isoformat(), validity.ends.date().isoformat()
    if now >= validity.ends:
        return Check(NAME, "error", f"the certificate in {what} has ended on {ends}: nobody lets it in", "renew it")
    if now < validity.begins:
        return Check(
            NAME,
            "error",
            f"the certificate in {what} is good from {begins} on, and by the clock of this machine that is to come",
            "have the clock set right, or use the certificate that is good now",
        )
    days = (validity.ends - now).days
    found = f"the certificate in {what} ends on {ends}, in {days} days"
    if validity.is_nearly_over(now):
        return Check(NAME, "warning", f"{found}, the last twentieth of its life", "have it renewed")
    return Check(NAME, "ok", found)
