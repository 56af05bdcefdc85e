"""The settings of the group `avro`: how values are framed, and the schema registry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from .network import check_authorities, check_own_certificate, check_url, refuse_plain_text
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
    registry_allow_plain_http: bool = Field(
        default=False, description="Whether a password or a token may go to an http:// URL of another machine."
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
        right = "must be an http or https URL such as https://registry:8081, or several of them, comma-separated"
        for url in _urls(given):
            check_url(url, right, "avro.registry_user and avro.registry_password")
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

    @field_validator("registry_allow_plain_http")
    @classmethod
    def _no_password_in_plain_text(cls, allowed: bool, info: ValidationInfo) -> bool:
        given = [name for name in ("registry_password", "registry_token") if info.data.get(name) is not None]
        for url in _urls(info.data.get("registry_url")) if given and not allowed else ():
            refuse_plain_text(url, f"avro.{given[0]}", "avro.registry_url", "avro.registry_allow_plain_http")
        return allowed

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


def _urls(given: str | None) -> list[str]:
    return [] if given is None else [url.strip() for url in given.split(",")]
