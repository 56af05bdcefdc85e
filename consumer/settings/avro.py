"""The settings of the group `avro`: how values are framed, and the schema registry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from .network import check_authorities, check_own_certificate
from .types import Group


class AvroSettings(Group):
    """How values are framed, and the schema registry."""

    format: Literal["plain", "registry"] = Field(
        default="plain", description="The inputs: plain Avro, or with a schema registry's id."
    )
    registry_url: str | None = Field(
        default=None, description="The schema registry; several of the same, comma-separated, are tried in turn."
    )
    registry_password: SecretStr | None = Field(
        default=None, min_length=1, description="Password at the registry, by basic authentication."
    )
    registry_user: str | None = Field(
        default=None, min_length=1, description="User name at the registry, by basic authentication."
    )
    registry_token: SecretStr | None = Field(
        default=None, min_length=1, description="Bearer token for the registry, instead of a user and a password."
    )
    registry_ca_file: Path | None = Field(
        default=None,
        description="PEM file that the registry's certificate is held against. Not set: SSL_CERT_FILE, SSL_CERT_DIR, "
        "or the certificates that certifi has.",
    )
    registry_client_key: Path | None = Field(
        default=None, description="PEM file of registry_client_certificate's key, if that is in a file of its own."
    )
    registry_client_certificate: Path | None = Field(
        default=None, description="PEM file of the certificate that we show to the registry, and its key."
    )
    outcome_format: Literal["plain", "registry"] = Field(
        default="plain", description="The outcomes: plain Avro, or with the id that the registry has for our schema."
    )

    @field_validator("registry_url")
    @classmethod
    def _are_urls(cls, given: str | None) -> str | None:
        for url in () if given is None else given.split(","):
            _check_url(url.strip())
        return given

    @field_validator("registry_user")
    @classmethod
    def _user_and_password(cls, user: str | None, info: ValidationInfo) -> str | None:
        if "registry_password" in info.data and (user is None) != (info.data["registry_password"] is None):
            raise ValueError("avro.registry_user and avro.registry_password belong together: give both or neither")
        if user is not None and ":" in user:
            raise ValueError("must have no colon: basic authentication ends the user's name at the first one")
        return user

    @field_validator("registry_token")
    @classmethod
    def _token_or_user(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if token is None:
            return None
        if info.data.get("registry_user") is not None:
            raise ValueError("excludes avro.registry_user: a request has one authorization. Leave one of the two out")
        if not re.fullmatch(r"[!-~]+", token.get_secret_value()):
            raise ValueError("must be printable ASCII characters with no blanks: it goes into a header")
        return token

    @field_validator("registry_ca_file")
    @classmethod
    def _has_authorities(cls, given: Path | None) -> Path | None:
        if given is not None:
            check_authorities(given)
        return given

    @field_validator("registry_client_certificate")
    @classmethod
    def _has_its_key(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        check_own_certificate(given, info, "avro.registry_client_key")
        return given


def _check_url(given: str) -> None:
    right = "must be an http or https URL such as https://registry:8081, or several of them, comma-separated"
    try:
        url = urlsplit(given)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise ValueError(f"{right} ({error})") from None
    if "@" in url.netloc:
        raise ValueError(f"{right}, with no user name in it; see avro.registry_user and avro.registry_password")
    if url.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\x7f]", given):
        raise ValueError(right)
    if "?" in given or "#" in given:
        raise ValueError(f"{right}, with no query and no fragment")
