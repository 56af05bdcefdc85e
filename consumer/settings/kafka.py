"""The settings of the group `kafka`, and which librdkafka settings they do not let through."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AwareDatetime, Field, ValidationInfo, field_validator

from .text import decoded, plain, strings_in
from .types import Duration, Group, PositiveDuration, format_duration, read_object

Topic: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]

_ORDER = "of one offer the outcomes must stand in the order of its calls, which takes one request at a time"

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
    "batch.size": "a broker refuses a batch that is too large as a whole, and what is good in it with it",
    "delivery.report.only.error": "what relies on a write is committed once the write is acknowledged",
    "transactional.id": "outcomes are not written in transactions, and such a producer could write nothing",
    "max.in.flight": _ORDER,
    "max.in.flight.requests.per.connection": _ORDER,
    "test.mock.num.brokers": "each client would talk to a cluster of its own making",
    "enabled_events": "what a write depends on, and what went wrong, would no longer be told",
    "logger": "it is no setting of librdkafka's, and takes a program's object",
    "error_cb": "it is no setting of librdkafka's, and takes a program's function",
}
"""librdkafka settings that would break a promise or contradict a setting of ours, and why."""


CLASSIC_PROPERTIES: Mapping[str, str] = {
    "session.timeout.ms": "the brokers set it (group.consumer.session.timeout.ms)",
    "heartbeat.interval.ms": "the brokers set it (group.consumer.heartbeat.interval.ms)",
    "group.protocol.type": "it belongs to the classic protocol",
}
"""librdkafka settings that it takes on the classic group protocol only, and what to do instead."""


TOKEN_LOGIN: Mapping[str, str] = {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}
"""What `kafka.token` sets of librdkafka's settings."""


_BROKER = re.compile(
    r"((plaintext|ssl|sasl_plaintext|sasl_ssl)://)?(\[[0-9a-f:.%]+\]|[^\s:/@\[\]]+)(:(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE,
)
_SECRET = re.compile(r"password|passphrase|secret|jaas|\.pem$|oauthbearer\.config$|token$", re.IGNORECASE)
"""librdkafka settings whose value must be in no text. Where a file lies is none."""
_FILE = "_file"
"""Behind the name of a property: its value stands in a file."""


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
    token: Literal["aws-msk-iam"] | None = Field(
        default=None, description="Who gives tokens to log in with: aws-msk-iam (needs `offer-opt-out[aws]`)."
    )
    properties: dict[str, str | int | float | bool] = Field(
        repr=False, default_factory=dict, description="More librdkafka settings, as JSON or a TOML table."
    )
    commit_interval: PositiveDuration = Field(default=timedelta(seconds=5), description="Time between two commits.")
    revoke_timeout: Duration = Field(
        default=timedelta(seconds=10), description="Time for calls in flight to end when partitions are taken away."
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _name_brokers(cls, servers: str) -> str:
        # librdkafka takes a port of which it can read nothing for 0, and 99999 for 34463.
        for server in filter(None, (part.strip() for part in servers.split(","))):
            found = _BROKER.fullmatch(server)
            if found is None or not 1 <= int(found["port"] or 9092) <= 65_535:
                raise ValueError(f"names brokers as host:port, comma-separated, and {server!r} is none")
        return servers

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
        moment = read_moment(given)
        if moment is None:
            raise ValueError("must be earliest, latest, or a time with its zone such as 2026-11-01T00:00:00Z")
        return moment

    @field_validator("properties", mode="before")
    @classmethod
    def _read_properties(cls, given: object) -> object:
        table = read_object(given)
        try:
            return dict(_with_files(dict(_flat(table)))) if isinstance(table, Mapping) else table
        except RecursionError:
            raise ValueError("its tables are nested too deep") from None

    @field_validator("properties")
    @classmethod
    def _harmless(cls, properties: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        wrong = [f"{name} is refused: {REFUSED_PROPERTIES[name]}" for name in properties if name in REFUSED_PROPERTIES]
        if info.data.get("group_protocol") == "consumer":
            wrong += [
                f"{name} is refused with kafka.group_protocol = consumer: {CLASSIC_PROPERTIES[name]}"
                for name in properties
                if name in CLASSIC_PROPERTIES
            ]
        token = info.data.get("token")
        if token is not None:
            wrong += [
                f"{name} is refused with kafka.token = {token}, which sets how to log in"
                for name in properties
                if name == "security.protocol" or name.startswith("sasl.")
            ]
        elif _has_nobody_to_give_tokens(properties):
            wrong.append(
                "sasl.mechanism OAUTHBEARER needs sasl.oauthbearer.method oidc, or kafka.token in its place: nobody "
                "else gives it tokens"
            )
        if wrong:
            raise ValueError("; ".join(wrong))
        _poll_interval(properties)
        return properties if token is None else {**properties, **TOKEN_LOGIN}

    @field_validator("revoke_timeout")
    @classmethod
    def _within_poll_interval(cls, timeout: timedelta, info: ValidationInfo) -> timedelta:
        most = _poll_interval(info.data.get("properties", {}))
        if timeout >= most:
            raise ValueError(
                f"must be shorter than max.poll.interval.ms ({format_duration(most)}), after which the group "
                "gives the partitions away without a commit"
            )
        return timeout


def secrets_of_properties(given: object) -> Iterator[str]:
    """The values of those properties that are secret; every text in what cannot be read."""
    try:
        table = read_object(given)
        properties = dict(_flat(table)) if isinstance(table, Mapping) else {}
    except (ValueError, RecursionError):
        yield from (text for _, text in strings_in(given))
        return
    for name, value in properties.items():
        if not is_secret(name) or isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        if not name.endswith(_FILE):
            yield str(value)
            continue
        try:
            yield _content(name, value)
        except ValueError:
            if "/" not in str(value):
                yield str(value)  # it may be the secret itself


def is_secret(name: str) -> bool:
    """Whether the value of this property must be in no text."""
    return _SECRET.search(name.removesuffix(_FILE)) is not None


def read_moment(given: object) -> datetime | None:
    """A time with its zone, as ISO 8601 has it; None if it is none."""
    try:
        moment = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _has_nobody_to_give_tokens(properties: Mapping[str, Any]) -> bool:
    """The client would wait for one, and say nothing."""
    given = {name: str(value).lower() for name, value in properties.items()}
    return (
        "oauthbearer" in (given.get("sasl.mechanism"), given.get("sasl.mechanisms"))
        and given.get("sasl.oauthbearer.method") != "oidc"
        and given.get("enable.sasl.oauthbearer.unsecure.jwt") != "true"
    )


def _with_files(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each property by its own name, be it given as a value or, with `_file` behind its name, as a file of it."""
    for given, value in properties.items():
        name = given.removesuffix(_FILE)
        if name != given and name in properties:
            raise ValueError(f"{name} and {given} are both given; keep one")
        yield name, value if name == given else _content(given, value)


def _content(name: str, file: object) -> str:
    try:
        data = Path(str(file)).read_bytes()
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} names a file that cannot be read: {error}; name a readable file") from None
    try:
        return plain(decoded(data))
    except ValueError as error:
        raise ValueError(f"{name} names a file which {error}") from None


def _poll_interval(properties: Mapping[str, Any]) -> timedelta:
    given = properties.get("max.poll.interval.ms", 300_000)
    try:
        return timedelta(milliseconds=float(given))
    except (ValueError, OverflowError):
        raise ValueError("max.poll.interval.ms must be a number of milliseconds") from None


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Unquoted dotted names in TOML are tables within tables; librdkafka wants the dotted names back."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
