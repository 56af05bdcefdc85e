"""The settings, group by group: names, defaults, and what each value must be.

Every value is checked even if others are wrong, so that one start lists all mistakes. A check between two settings
sits at the later one; it is left out if the earlier one is wrong already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from .duration import format_duration, parse_duration

SECRETS = frozenset({"kafka.properties", "avro.registry_password", "api.key", "api.secret", "api.credentials"})
"""Settings whose value is never shown, and which may be given as a file. `kafka.properties` may hold a password."""


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta():
        raise ValueError("must be longer than 0")
    return duration


def _lower(text: object) -> object:
    return text.lower() if isinstance(text, str) else text


Duration: TypeAlias = Annotated[timedelta, BeforeValidator(parse_duration)]
PositiveDuration: TypeAlias = Annotated[Duration, AfterValidator(_positive)]
Topic: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


class Group(BaseModel):
    """What all groups have in common."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        # A default can be wrong as well: window = 3h makes the default lookback too short.
        validate_default=True,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )


REFUSED_PROPERTIES: Mapping[str, str] = {
    "enable.auto.commit": "offsets are committed only once opt-outs are settled",
    "auto.commit.enable": "offsets are committed only once opt-outs are settled",
    "enable.auto.offset.store": "offsets are committed only once opt-outs are settled",
    "offset.store.method": "what is committed must be where the whole group finds it",
    "auto.offset.reset": "a silent reset would lose opt-outs; see kafka.start_from",
    "partition.assignment.strategy": "both topics' partition p must go to one member, which 'range' alone ensures",
    "isolation.level": "an aborted checkout never happened: only committed records are read",
    "enable.partition.eof": "the watermark of a quiet topic rests on it",
    "group.protocol": "set kafka.group_protocol",
    "group.remote.assignor": "both topics' partition p must go to one member, which 'range' alone ensures",
    "group.id": "set kafka.group_id",
    "group.instance.id": "set kafka.group_instance_id",
    "bootstrap.servers": "set kafka.bootstrap_servers",
    "metadata.broker.list": "set kafka.bootstrap_servers",
    "default.topic.config": "it would carry settings past these checks; write them directly",
    "acks": "an outcome counts once all in-sync replicas have it",
    "request.required.acks": "an outcome counts once all in-sync replicas have it",
    "enable.idempotence": "a retried write must not stand twice in a topic",
    "transactional.id": "outcomes are not written in transactions, and such a producer could write nothing",
}
"""librdkafka settings that would break a promise or contradict a setting of ours, and why."""


class KafkaSettings(Group):
    """The cluster, the group and the topics."""

    bootstrap_servers: str = Field(default="", description="Brokers to ask first: host:port, comma-separated.")
    group_id: str = Field(default="offer-opt-out", min_length=1, description="Consumer group of the deployment.")
    offer_topic: Topic = Field(default="offer.presented", description="Input: offers presented.")
    checkout_topic: Topic = Field(default="checkout.completed", description="Input: checkouts completed.")
    outcome_topic: Topic = Field(default="offer.outcome", description="Output: the fate of each offer.")
    dead_letter_topic: Topic = Field(default="opt-out.dead-letter", description="Output: input that could not be used.")
    start_from: Literal["earliest", "latest"] | AwareDatetime = Field(
        default="earliest", description="Where a new group starts: earliest, latest or a time with its zone."
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic", description="How the group shares partitions."
    )
    group_instance_id: str | None = Field(default=None, description="A fixed member name, for static membership.")
    properties: dict[str, str | int | float | bool] = Field(
        repr=False, default_factory=dict, description="More librdkafka settings, as JSON or a TOML table."
    )
    commit_interval: PositiveDuration = Field(default=timedelta(seconds=5), description="Time between two commits.")
    revoke_timeout: Duration = Field(
        default=timedelta(seconds=10), description="Time for calls in flight to end when partitions are taken away."
    )

    @field_validator("checkout_topic", "outcome_topic", "dead_letter_topic")
    @classmethod
    def _topics_differ(cls, topic: str, info: ValidationInfo) -> str:
        for other in ("offer_topic", "checkout_topic", "outcome_topic"):
            if other != info.field_name and info.data.get(other) == topic:
                raise ValueError(f"is the same topic as kafka.{other}; each needs one of its own")
        return topic

    @field_validator("start_from", mode="before")
    @classmethod
    def _start(cls, given: object) -> object:
        if given in ("earliest", "latest"):
            return given
        try:
            moment = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise ValueError("must be earliest, latest, or a time with its zone such as 2026-11-01T00:00:00Z")
        return moment

    @field_validator("group_protocol")
    @classmethod
    def _classic_only(cls, protocol: str) -> str:
        if protocol != "classic":
            raise ValueError("is not built yet in this version; use classic")
        return protocol

    @field_validator("properties", mode="before")
    @classmethod
    def _read_properties(cls, given: object) -> object:
        table = _json_object(given)
        return dict(_flat(table)) if isinstance(table, Mapping) else table

    @field_validator("properties")
    @classmethod
    def _harmless(cls, properties: dict[str, Any]) -> dict[str, Any]:
        wrong = [f"{name} is refused: {REFUSED_PROPERTIES[name]}" for name in properties if name in REFUSED_PROPERTIES]
        if wrong:
            raise ValueError("; ".join(wrong))
        return properties

    @field_validator("revoke_timeout")
    @classmethod
    def _within_poll_interval(cls, timeout: timedelta, info: ValidationInfo) -> timedelta:
        most = timedelta(milliseconds=float(info.data.get("properties", {}).get("max.poll.interval.ms", 300_000)))
        if timeout >= most:
            raise ValueError(
                f"must be shorter than max.poll.interval.ms ({format_duration(most)}), after which the group "
                "gives the partitions away without a commit"
            )
        return timeout


class AvroSettings(Group):
    """How values are framed."""

    format: Literal["plain", "registry"] = Field(
        default="plain", description="Plain Avro, or with a schema registry's id."
    )
    registry_url: str | None = Field(default=None, description="The schema registry.")
    registry_user: str | None = Field(default=None, description="User name at the registry.")
    registry_password: SecretStr | None = Field(default=None, description="Password at the registry.")

    @field_validator("format")
    @classmethod
    def _plain_only(cls, given: str) -> str:
        if given != "plain":
            raise ValueError("is not built yet in this version; use plain")
        return given


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
        default=timedelta(hours=2), description="How far before a presentation a purchase still counts."
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
        default=50, ge=0, description="So many purchased ids in a row naming no offer stop the decisions; 0 = never."
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

    key: str = Field(min_length=1, repr=False)
    secret: SecretStr = Field(min_length=1)


class ApiSettings(Group):
    """The partner API: where it is, and how a call is made."""

    base_url: str = Field(default="https://api.xcover.com/x", description="The API, prefix included.")
    path: str = Field(
        default="/partners/{partner_code}/offers/{offer_id}/opt_out/", description="The call's path below base_url."
    )
    auth: Literal["signature", "none"] = Field(default="signature", description="Sign each call, or not at all.")
    key: str | None = Field(
        default=None, min_length=1, repr=False, description="API key of partners not in credentials."
    )
    secret: SecretStr | None = Field(default=None, min_length=1, description="The secret that belongs to key.")
    credentials: dict[str, PartnerCredentials] = Field(
        default_factory=dict, description='Per partner code: {"CODE": {"key": …, "secret": …}}.'
    )
    connect_timeout: PositiveDuration = Field(default=timedelta(seconds=5), description="Time to connect.")
    timeout: PositiveDuration = Field(default=timedelta(seconds=10), description="Time for a whole call.")
    body: Literal["metadata", "empty"] = Field(default="metadata", description="Send partner_metadata, or {}.")
    metadata_keys: tuple[str, ...] = Field(
        default=(), description="Keys of an offer's metadata that may go to the insurer: comma-separated or a list."
    )

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, given: str) -> str:
        right = "must be an http or https URL such as https://api.xcover.com/x"
        try:
            url = urlsplit(given)
            host, _ = url.hostname, url.port
        except ValueError as error:
            raise ValueError(f"{right} ({error})") from None
        if url.scheme not in ("http", "https") or not host or re.search(r"\s", given):
            raise ValueError(right)
        if "?" in given or "#" in given:
            raise ValueError(f"{right}, with no query and no fragment")
        if "@" in url.netloc:
            raise ValueError(f"{right}, with no user name in it; see api.key and api.secret")
        return given.rstrip("/")

    @field_validator("path")
    @classmethod
    def _has_places(cls, given: str) -> str:
        places = re.findall(r"[{}]|\{\w*\}", re.sub(r"\{(partner_code|offer_id)\}", "", given))
        if not given.startswith("/") or "{partner_code}" not in given or "{offer_id}" not in given or places:
            raise ValueError("must begin with / and contain {partner_code} and {offer_id}, and no other braces")
        if re.search(r"[?#\s]", given):
            raise ValueError("must have no query, no fragment and no blanks")
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
        return _json_object(given)

    @field_validator("metadata_keys", mode="before")
    @classmethod
    def _read_keys(cls, given: object) -> object:
        if isinstance(given, str):
            if given.lstrip().startswith("["):
                return tuple(_json(given, 'a list such as a,b or ["a", "b"]'))
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
        default=1_000_000, ge=1, description="So many offers decided and unsettled pause reading."
    )
    rejected: Literal["hold", "dead-letter"] = Field(default="hold", description="What to do with a refused request.")
    not_found_limit: int = Field(
        default=20,
        ge=0,
        description="So many 404s of a partner in a row look like a wrong URL; 0 = accept them at once.",
    )
    release_file: Path | None = Field(default=None, description="Offers an operator lets go.")
    shutdown_timeout: Duration = Field(default=timedelta(seconds=25), description="Time for calls in flight at a stop.")

    @field_validator("release_file")
    @classmethod
    def _not_yet(cls, given: Path | None) -> Path | None:
        if given is not None:
            raise ValueError("is not built yet in this version; leave it out")
        return given


class DeadLetterSettings(Group):
    """When so much input is unusable that the input itself must be wrong."""

    max_run: int = Field(default=100, ge=0, description="Unusable records in a row that are still borne.")
    max_ratio: float = Field(
        default=0.1, ge=0, le=1, description="Part of the last 1,000 records that may be unusable."
    )


class LogSettings(Group):
    """What is logged, and how it looks."""

    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="The least level that is logged; each call is at debug."
    )
    format: Literal["json", "console"] = Field(default="json", description="For machines, or for a terminal.")


def _json(text: str, right: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        # The error's text gives a position and never the text itself, which may be secret.
        raise ValueError(f"not JSON ({error}); write {right}") from None


def _json_object(given: object) -> object:
    """Text from the environment as JSON; a table from a TOML file as it is."""
    if not isinstance(given, str):
        return given
    value = _json(given, 'an object such as {"name": …}')
    if not isinstance(value, dict):
        raise ValueError('must be a JSON object such as {"name": …}')
    return value


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Unquoted dotted names in TOML are tables within tables; librdkafka wants the dotted names back."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
