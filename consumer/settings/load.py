"""One frozen, validated settings object, from the environment, a TOML file, and files that hold secrets.

A variable `OPT_OUT_<GROUP>__<NAME>` wins over `<name>` in the TOML file's table `[<group>]`. A secret may also be
given as the path of a file, by `OPT_OUT_<GROUP>__<NAME>_FILE` or `<name>_file`. An empty variable counts as not set.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ..errors import SettingsError
from ..hiding import IN_USE, hide, passwords_in, secrets_in
from .groups import (
    ApiSettings,
    AvroSettings,
    DeadLetterSettings,
    DeliverySettings,
    JoinSettings,
    LogSettings,
    ServerSettings,
)
from .kafka import KafkaSettings, secrets_of_properties
from .outside import OutsideVariable, outside_variables
from .text import BLANKS, MARK, decoded, in_quotes, parsed, plain, strings_in, unseen
from .types import format_duration, read_object

PREFIX = "OPT_OUT_"

SECRETS = frozenset(
    {"kafka.properties", "avro.registry_password", "api.key", "api.secret", "api.credentials", "api.proxy"}
)
"""Settings whose value is never shown, and which may be given as a file. `kafka.properties` and `api.proxy` may hold a
password; the rest of theirs is shown."""

_OF_LINES = frozenset({"kafka.properties", "api.credentials", "api.metadata_keys"})
"""Settings that are JSON, or may be."""
_OURS = re.compile(rf"\W*{PREFIX}", re.IGNORECASE)
"""A name that is ours, whatever stands before it: a file of variables with a byte order mark spoils its first one."""


class Settings(BaseSettings):
    """All settings. Built directly it reads nothing from outside; see `load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        # JSON is read by the fields that take it, so that a mistake in it is listed among the others.
        enable_decoding=False,
    )

    kafka: KafkaSettings = KafkaSettings()
    avro: AvroSettings = AvroSettings()
    join: JoinSettings = JoinSettings()
    api: ApiSettings = ApiSettings()
    delivery: DeliverySettings = DeliverySettings()
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: the sources are read by `load`, which says of all of them what is wrong."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each value that is not a default came from, by its name such as `join.window`; and the
    variables that change how the API is reached and are none of ours."""

    settings: Settings
    origins: Mapping[str, str]
    outside: tuple[OutsideVariable, ...] = ()


def load_settings(
    config: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    for_kafka: bool = False,
    for_api: bool = False,
) -> Settings:
    """As `load`, for those who need not know where a value came from."""
    return load(config, environ, for_kafka=for_kafka, for_api=for_api).settings


def load(
    config: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    for_kafka: bool = False,
    for_api: bool = False,
) -> Loaded:
    """Read and check all settings.

    Args:
        config: a TOML file, if there is one.
        environ: instead of the process's environment.
        for_kafka: what a connection to Kafka needs must be there too.
        for_api: what a call to the API needs must be there too.

    Raises:
        SettingsError: lists every setting that is wrong: its names, what was given unless that is secret, what is
            wrong about it and what would be right.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    # The later ones win.
    if config is not None:
        _take(_from_toml(config, problems), f"file {config}", values, origins, problems)
    _take(_from_environment(environ, problems), "environment", values, origins, problems)
    # One character by itself is in every text, and no secret.
    IN_USE.learn(value for value in _secrets(values, environ) if len(value) > 1)
    settings: Settings | None = None
    wrong: set[str] = set()
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            wrong.add(".".join(str(part) for part in detail["loc"][:2]))
            problems.append(_explain(detail, values))
    problems += _missing(values, wrong, for_kafka=for_kafka, for_api=for_api)
    outside = tuple(outside_variables(settings.api, environ)) if settings is not None else ()
    problems += [
        f"{variable.name} in the environment is {_quoted(variable.value)}: it {variable.effect}"
        for variable in outside
        if variable.is_wrong
    ]
    if problems or settings is None:
        raise refusal(problems)
    return Loaded(settings, origins, outside)


def refusal(problems: Sequence[str]) -> SettingsError:
    """The error that lists them, a line each."""
    count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
    return SettingsError(hide(f"{count} wrong:\n" + "\n".join(f"  {problem}" for problem in problems)))


def _secrets(values: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]) -> Iterator[str]:
    """What of the settings, and of the variables that name a proxy, must be in no text, be it right or wrong."""
    for group, table in values.items():
        for key, value in table.items():
            name = f"{group}.{key}"
            if name == "kafka.properties":
                yield from secrets_of_properties(value)
            elif name in SECRETS:
                yield from secrets_in(_read(value))
            elif name == "kafka.bootstrap_servers" and isinstance(value, str):
                for server in value.split(","):
                    yield from passwords_in(server)
            elif isinstance(value, str) and ("://" in value or key.endswith("_url")):
                yield from passwords_in(value)
    for variable, url in environ.items():
        if variable.lower().endswith("_proxy"):
            yield from passwords_in(url)


def _read(value: object) -> object:
    """What a text holds that may be JSON, and is a secret by itself if it is not."""
    try:
        return read_object(value)
    except ValueError:
        return value


def names() -> Iterator[tuple[str, str]]:
    """(group, name) of every setting, in the order they are shown."""
    for group, field in Settings.model_fields.items():
        assert field.annotation is not None  # noqa: S101 - each group is a model
        for name in field.annotation.model_fields:
            yield group, name


def _variable(name: str) -> str:
    return PREFIX + name.upper().replace(".", "__", 1)


def both_names(name: str) -> str:
    """What a setting is called in the environment and in a TOML file."""
    return f"{_variable(name)} ({name} in a TOML file)"


def _known() -> list[str]:
    known = [f"{group}.{name}" for group, name in names()]
    return known + [f"{name}_file" for name in known if name in SECRETS]


def _from_toml(config: Path, problems: list[str]) -> dict[str, Any]:
    try:
        text = decoded(config.read_bytes()).replace("\r\n", "\n")
        tables = parsed(text)
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"the file {config} given by --config cannot be read: {error}")
        return {}
    known = _known()
    flat: dict[str, Any] = {}
    for group, table in tables.items():
        if not isinstance(table, dict):
            problems.append(f"{group} in {config} is not in a table{_nearest(group, known)}")
            continue
        for key, value in table.items():
            if (name := f"{group}.{key}") in known:
                flat[name] = value
                problems += [f"{name} in {config}{mistake}" for mistake in _mistakes_in(name, value, text)]
            else:
                problems.append(f"{name} in {config} is not a setting{_nearest(name, known)}")
    return flat


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    known = {_variable(name): name for name in _known()}
    given = {
        variable: text for variable, text in environ.items() if _OURS.match(variable) and text.strip(MARK + "\r\n")
    }
    for variable, name in known.items():
        if variable in given:
            try:
                given[variable] = plain(given[variable], lines=name in _OF_LINES)
            except ValueError as error:
                problems.append(f"{both_names(name)} in the environment {error}")
    problems += [
        f"{_seen(variable)} in the environment is not a setting{_nearest(variable.upper(), list(known))}"
        for variable in given
        if variable not in known
    ]
    files = {name: given[variable] for variable, name in known.items() if variable in given and _is_file(name)}
    source = EnvSettingsSource(Settings)
    source.env_vars = {
        variable.lower(): given[variable] for variable, name in known.items() if variable in given and name not in files
    }
    nested: dict[str, dict[str, str]] = source()
    return files | {f"{group}.{key}": text for group, table in nested.items() for key, text in table.items()}


def _mistakes_in(name: str, value: object, text: str) -> Iterator[str]:
    """What is wrong with the texts of a setting as it stands in the file, by their place in it."""
    allowed = BLANKS if name in _OF_LINES else " "
    for place, inner in strings_in(value):
        where = f" ({place})" if place else ""
        if (found := unseen(inner.strip(BLANKS), allowed=allowed, within=text)) is not None:
            yield f"{where} holds {found} of it; take it out, or write it as an escape if it is meant"
        # A password of Kafka's is chosen by people: it may be anything.
        elif name != "kafka.properties" and (quotes := in_quotes(inner, within=text)) is not None:
            yield f"{where} is in quotes ({quotes}) within its quotes; leave them out"


def _seen(variable: str) -> str:
    found = unseen(variable)
    return variable if found is None else f"{variable!r}, which holds {found},"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else "; `opt-out settings` lists those there are"


def _is_path(given: str) -> bool:
    """Whether it is nothing else: base64 has no dots, a token no slashes, and few secrets begin with one of several."""
    return "/" in given and ("." in given or (given.startswith("/") and given.count("/") > 1))


def _is_file(name: str) -> bool:
    return name.removesuffix("_file") in SECRETS and name.endswith("_file")


def _take(
    flat: Mapping[str, Any],
    origin: str,
    values: dict[str, dict[str, Any]],
    origins: dict[str, str],
    problems: list[str],
) -> None:
    """Lay one source over those before it, reading the files it points to."""
    for name, given in flat.items():
        value, setting, whence = given, name, origin
        if _is_file(name):
            setting = name.removesuffix("_file")
            if setting in flat:
                problems.append(f"{both_names(setting)} and {both_names(name)} are both given; keep one")
            try:
                content = Path(given).read_bytes()
            except (OSError, ValueError, TypeError) as error:
                if isinstance(given, str) and not _is_path(given):
                    IN_USE.learn([given])  # it may be the secret itself
                problems.append(
                    f"{both_names(name)} is {_quoted(given)}, which cannot be read: {error}; name a readable file"
                )
                continue
            try:
                value = plain(decoded(content), lines=setting in _OF_LINES)
            except ValueError as error:
                problems.append(f"{both_names(name)} is {_quoted(given)}, which {error}")
                continue
            whence = f"file {given}"
        group, key = setting.split(".", 1)
        values.setdefault(group, {})[key] = value
        origins[setting] = whence


def _explain(detail: ErrorDetails, values: Mapping[str, Mapping[str, Any]]) -> str:
    name = ".".join(str(part) for part in detail["loc"][:2])
    group, _, key = name.partition(".")
    within = ".".join(str(part) for part in detail["loc"][2:])
    context = detail.get("ctx", {})
    if detail["type"] == "value_error":
        text = str(context["error"])
    elif detail["type"] == "string_pattern_mismatch":
        text = "must be a topic name: 1 to 249 letters, digits, dots, underscores and hyphens"
    else:
        text = detail["msg"].replace("Input should", "should").replace("Field required", "is missing")
    if within:
        text = f"{within}: {text}"
    if key not in values.get(group, {}):
        default = detail["input"]
        shown = format_duration(default) if isinstance(default, timedelta) else repr(default)
        given = "is not set" if default is None else f"is {shown} by default"
    elif name in SECRETS:
        given = "(its value is not shown)"
    else:
        given = f"is {_quoted(values[group][key])}"
    return f"{both_names(name)} {given}: {text}"


def _quoted(value: object) -> str:
    """What was given, for a message: no longer than a line or two."""
    try:
        text = repr(value)
    except (ValueError, RecursionError) as error:
        return f"something that cannot be shown ({error})"
    text = hide(text)  # before it is cut: half of a secret is a leak as well
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def _missing(
    values: Mapping[str, Mapping[str, Any]], wrong: set[str], *, for_kafka: bool, for_api: bool
) -> Iterator[str]:
    if for_kafka and not values.get("kafka", {}).get("bootstrap_servers"):
        yield f"{both_names('kafka.bootstrap_servers')} is not set: give the brokers as host:port, comma-separated"
    api = values.get("api", {})
    if (
        for_api
        and api.get("auth", "signature") == "signature"
        and not wrong & {"api.key", "api.secret", "api.credentials"}
        and str(api.get("credentials", "")).strip() in ("", "{}")
        and not (api.get("key") and api.get("secret"))
    ):
        key, secret, credentials = (both_names(f"api.{name}") for name in ("key", "secret", "credentials"))
        yield (
            f"{key} and {secret} are not set, nor is {credentials}: calls cannot be signed; give the key and the "
            "secret that the insurer handed out, or set api.auth to none"
        )
