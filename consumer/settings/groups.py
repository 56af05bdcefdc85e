"""The settings of all groups but `kafka`, `avro` and `input`: names, defaults, and what each value must be.

Every value is checked even if others are wrong, so that one start lists all mistakes. A check between two settings
sits at the later one; it is left out if the earlier one is wrong already.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from .network import check_authorities, check_own_certificate, check_url, read_proxy, refuse_plain_text
from .types import Duration, Group, PositiveDuration, format_duration, read_json, read_object


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


def _in_a_header(key: str) -> str:
    if not re.fullmatch(r"[!#-\[\]-~]+", key):
        raise ValueError(
            "must be printable ASCII characters, with no blanks, quotes and backslashes: it goes into headers"
        )
    return key


NO_PROXY_AT_ALL = "none"
"""The value of `api.proxy` that leaves out what the environment says."""

ApiKey: TypeAlias = Annotated[str, Field(min_length=1), AfterValidator(_in_a_header)]


class JoinSettings(Group):
    """When an offer counts as not bought. Event time throughout."""

    window: PositiveDuration = Field(
        default=timedelta(minutes=30), description="How long after a presentation a checkout may decide it."
    )
    checkout_grace: Duration = Field(
        default=timedelta(seconds=60), description="How long after the deciding checkout a purchase still counts."
    )
    lateness: PositiveDuration = Field(
        default=timedelta(minutes=5),
        description="How late an event may arrive: at least the producers' delivery time-out and clock skew.",
    )
    lookback: PositiveDuration = Field(
        default=timedelta(hours=2),
        description="How far before a presentation a purchase counts, and behind its record an event is believed.",
    )
    abandoned: Literal["opt-out", "ignore"] = Field(
        default="opt-out", description="What to do with an offer whose session never checked out."
    )
    max_skew: Duration = Field(
        default=timedelta(minutes=5), description="How far ahead of its record or the clock an event may be dated."
    )
    checkout_silence: Duration = Field(
        default=timedelta(minutes=30),
        description="Offers without any checkout for so long stop the decisions; 0 = never.",
    )
    unmatched_limit: int = Field(
        default=50,
        ge=0,
        description="So many purchased ids in a row naming no offer, or misdated checkouts, stop decisions; 0 = never.",
    )
    idle_after: PositiveDuration = Field(
        default=timedelta(seconds=5),
        description="Without a record for so long, the broker is asked for the topic's end.",
    )

    @field_validator("checkout_grace")
    @classmethod
    def _grace_within_window(cls, grace: timedelta, info: ValidationInfo) -> timedelta:
        window = info.data.get("window")
        if window is not None and grace > window:
            raise ValueError(f"must be at most join.window, which is {format_duration(window)}")
        return grace

    @field_validator("lookback")
    @classmethod
    def _lookback_over_window(cls, lookback: timedelta, info: ValidationInfo) -> timedelta:
        window = info.data.get("window")
        if window is not None and lookback < window:
            raise ValueError(f"must be at least join.window, which is {format_duration(window)}")
        return lookback


class PartnerCredentials(Group):
    """What the calls of one partner are signed with."""

    key: ApiKey = Field(repr=False, description="The partner's API key.")
    secret: SecretStr = Field(min_length=1, description="The secret that belongs to it.")


class ApiSettings(Group):
    """The partner API: where it is, and how a call is made."""

    base_url: str = Field(default="https://api.xcover.com/x", description="The API, prefix included.")
    path: str = Field(
        default="/partners/{partner_code}/offers/{offer_id}/opt_out/", description="The call's path below base_url."
    )
    auth: Literal["signature", "none"] = Field(default="signature", description="Sign each call, or not at all.")
    key: ApiKey | None = Field(default=None, repr=False, description="API key of partners not in credentials.")
    secret: SecretStr | None = Field(default=None, min_length=1, description="The secret that belongs to key.")
    credentials: dict[str, PartnerCredentials] = Field(
        default_factory=dict, description='Per partner code: {"CODE": {"key": …, "secret": …}}.'
    )
    allow_plain_http: bool = Field(
        default=False, description="Whether signed calls may go to an http:// URL of another machine."
    )
    proxy: SecretStr | None = Field(
        default=None,
        min_length=1,
        description="The HTTP proxy to the API, http://[user:password@]host:port; none = straight. "
        "Not set: as https_proxy, http_proxy, all_proxy and no_proxy say.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file that the API's certificate is held against. Not set: SSL_CERT_FILE, SSL_CERT_DIR, "
        "or the certificates that certifi has.",
    )
    client_key: Path | None = Field(
        default=None, description="PEM file of client_certificate's key, if that is in a file of its own."
    )
    client_certificate: Path | None = Field(
        default=None, description="PEM file of the certificate that we show, and its key."
    )
    connect_timeout: PositiveDuration = Field(default=timedelta(seconds=5), description="Time to connect.")
    timeout: PositiveDuration = Field(default=timedelta(seconds=10), description="Time for a whole call.")
    use_date: bool = Field(default=True, description="Whether our clock is held against the Date of the API's answers.")
    body: Literal["metadata", "empty"] = Field(default="metadata", description="Send partner_metadata, or {}.")
    metadata_keys: tuple[str, ...] = Field(
        default=(), description="Keys of an offer's metadata that may go to the insurer: comma-separated or a list."
    )

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, given: str) -> str:
        right = "must be an http or https URL such as https://api.xcover.com/x"
        check_url(given, right, "api.key and api.secret")
        return given.rstrip("/")

    @field_validator("path")
    @classmethod
    def _has_places(cls, given: str) -> str:
        places = re.findall(r"[{}]|\{\w*\}", re.sub(r"\{(partner_code|offer_id)\}", "", given))
        if not given.startswith("/") or "{partner_code}" not in given or "{offer_id}" not in given or places:
            raise ValueError("must begin with / and contain {partner_code} and {offer_id}, and no other braces")
        if re.search(r"[?#\s\x00-\x1f\x7f]", given):
            raise ValueError("must have no query, no fragment, no blanks and no control characters")
        return given

    @field_validator("secret")
    @classmethod
    def _key_and_secret(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "key" in info.data and (secret is None) != (info.data["key"] is None):
            raise ValueError("api.key and api.secret belong together: give both or neither")
        return secret

    @field_validator("credentials", mode="before")
    @classmethod
    def _read_credentials(cls, given: object) -> object:
        return read_object(given)

    @field_validator("allow_plain_http")
    @classmethod
    def _no_key_in_plain_text(cls, allowed: bool, info: ValidationInfo) -> bool:
        has_key = info.data.get("key") is not None or bool(info.data.get("credentials"))
        signed = info.data.get("auth") == "signature" and has_key
        if signed and not allowed:
            url, what = info.data.get("base_url", ""), "the key and the signature of each call"
            refuse_plain_text(url, what, "api.base_url", "api.allow_plain_http")
        return allowed

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, given: SecretStr | None) -> SecretStr | None:
        if given is not None and given.get_secret_value() != NO_PROXY_AT_ALL:
            read_proxy(given.get_secret_value())
        return given

    @field_validator("ca_file")
    @classmethod
    def _has_authorities(cls, given: Path | None) -> Path | None:
        if given is not None:
            check_authorities(given)
        return given

    @field_validator("client_certificate")
    @classmethod
    def _has_its_key(cls, given: Path | None, info: ValidationInfo) -> Path | None:
        check_own_certificate(given, info, "api.client_key")
        return given

    @field_validator("metadata_keys", mode="before")
    @classmethod
    def _read_keys(cls, given: object) -> object:
        if isinstance(given, str):
            if given.lstrip().startswith("["):
                return tuple(read_json(given, 'a list such as a,b or ["a", "b"]'))
            return tuple(key.strip() for key in given.split(",") if key.strip())
        return given

    @field_validator("metadata_keys")
    @classmethod
    def _reason_is_ours(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if "reason" in keys:
            raise ValueError("must not contain reason: the call gives its own")
        return tuple(dict.fromkeys(keys))


class DeliverySettings(Group):
    """How many calls, how fast, and what becomes of those that are refused."""

    concurrency: int = Field(default=64, ge=1, le=10_000, description="Calls at a time.")
    rate_limit: float = Field(
        default=10,
        ge=0,
        allow_inf_nan=False,
        description="Calls a second per credential, whole deployment; 0 = no limit.",
    )
    max_unsettled: int = Field(
        default=1_000_000,
        ge=1,
        description="So many offers decided and unsettled pause reading; fewer where half of the memory holds fewer.",
    )
    rejected: Literal["hold", "dead-letter"] = Field(default="hold", description="What to do with a refused request.")
    not_found_limit: int = Field(
        default=20,
        ge=0,
        description="So many 404s of a partner in a row look like a wrong URL; 0 = accept them at once.",
    )
    release_file: Path | None = Field(
        default=None, description="TOML file of offers an operator lets go, with who and why."
    )
    shutdown_timeout: Duration = Field(
        default=timedelta(seconds=25),
        description="Time for a stop, four fifths of it for calls in flight; then the process ends whatever hangs.",
    )


class DeadLetterSettings(Group):
    """When so much input is unusable that the input itself must be wrong."""

    max_run: int = Field(default=100, ge=0, description="Unusable records in a row that are still borne.")
    max_ratio: float = Field(
        default=0.1, ge=0, le=1, description="Part of the last 1,000 records that may be unusable."
    )
    late_run: int = Field(
        default=100,
        ge=0,
        description=(
            "More late or implausible offers in 1,000 are kept back until you act, as are 20 in 40; 0 = none are."
        ),
    )


class ServerSettings(Group):
    """Where the health endpoints and the status page answer, and what they show."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address that the endpoints listen at.")
    port: int = Field(default=8080, ge=0, le=65_535, description="Their port; 0 = none.")
    show_ids: bool = Field(
        default=False,
        description="Whether the status page shows ids of offers and sessions, and texts that may quote them.",
    )


class LogSettings(Group):
    """What is logged, and how it looks."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="The least level that is logged; each call is at debug."
    )
    format: Literal["json", "console"] = Field(default="json", description="For machines, or for a terminal.")


class TraceSettings(Group):
    """Whether calls carry on the W3C trace of the records that presented their offers; see the page traces."""

    enabled: bool = Field(
        default=False,
        description="Whether a call carries on its record's `traceparent`, and its log lines have the trace id.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="Base URL of an OTLP receiver over HTTP, such as http://localhost:4318, which gets a span of each "
        "request of a traced call (needs `offer-opt-out[otel]`). Not set: no spans.",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_endpoint(cls, given: str | None, info: ValidationInfo) -> str | None:
        if given is None:
            return None
        right = "must be the base URL of an OTLP receiver over HTTP, such as http://localhost:4318"
        check_url(given, right, "OTEL_EXPORTER_OTLP_HEADERS")
        if info.data.get("enabled") is False:
            raise ValueError("needs trace.enabled: set that to true, or leave this out")
        return given.rstrip("/")
