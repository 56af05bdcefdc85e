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
from pydantic_settings import EnvSettingsSource

from ..errors import SettingsError
from ..hiding import IN_USE, hide, passwords_in, secrets_in
from .kafka import KafkaSettings, secrets_of_properties
from .model import PREFIX, SECRETS, Settings, both_names, known_names, variable_of
from .outside import OutsideVariable, outside_variables
from .text import BLANKS, MARK, decoded, in_quotes, parsed, plain, strings_in, unseen
from .types import format_duration, read_object

_OF_LINES = frozenset(
    {"kafka.properties", "api.credentials", "api.metadata_keys", "input.offers.fields", "input.checkouts.fields"}
)
"""Settings that are JSON, or may be."""
_OURS = re.compile(rf"\W*{PREFIX}", re.IGNORECASE)
"""A name that is ours, whatever stands before it: a file of variables with a byte order mark spoils its first one."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each value that is not a default came from, by its name such as `join.window`; the variables
    that change how the API is reached and are none of ours; and the files that hold a secret, by its name."""

    settings: Settings
    origins: Mapping[str, str]
    outside: tuple[OutsideVariable, ...]
    files: Mapping[str, Path]


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
    values, origins, files = _gathered(config, environ, problems)
    settings: Settings | None = None
    wrong: set[str] = set()
    try:
        settings = Settings.model_validate(_nested(values))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            wrong.add(_place(detail)[0])
            problems.append(_explain(detail, values))
    if settings is not None:
        problems += _contradictions(settings)
    problems += _missing(values, wrong, for_kafka=for_kafka, for_api=for_api)
    outside = tuple(outside_variables(settings.api, environ)) if settings is not None else ()
    problems += [
        f"{variable.name} in the environment is {_quoted(variable.value)}: it {variable.effect}"
        for variable in outside
        if variable.is_wrong
    ]
    if problems or settings is None:
        raise refusal(problems)
    return Loaded(settings, origins, outside, files)


def read_kafka(config: Path | None, environ: Mapping[str, str] | None = None) -> KafkaSettings:
    """The settings of Kafka as the sources have them now, for a service that runs: files may have changed.

    Raises:
        SettingsError: as `load`, of this group alone.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    values, _, _ = _gathered(config, environ, problems)
    try:
        if not problems:
            return KafkaSettings.model_validate(values.get("kafka", {}))
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems += [_explain({**detail, "loc": ("kafka", *detail["loc"])}, values) for detail in details]
    raise refusal(problems)


def _gathered(
    config: Path | None, environ: Mapping[str, str], problems: list[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str], dict[str, Path]]:
    """What the sources give, by group and name; where each value came from; and the files that hold a secret, by its
    name. What is secret of it is known then."""
    values: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    files: dict[str, Path] = {}
    # The later ones win.
    if config is not None:
        _take(_from_toml(config, problems), f"file {config}", values, origins, files, problems)
    _take(_from_environment(environ, problems), "environment", values, origins, files, problems)
    # One character by itself is in every text, and no secret.
    IN_USE.learn(value for value in _secrets(values, environ) if len(value) > 1)
    return values, origins, files


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
    for variable, given in environ.items():
        if variable.lower().endswith("_proxy"):
            yield from passwords_in(given)
        elif variable in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):  # what kafka.token signs with
            yield given


def _read(value: object) -> object:
    """What a text holds that may be JSON, and is a secret by itself if it is not."""
    try:
        return read_object(value)
    except ValueError:
        return value


def _from_toml(config: Path, problems: list[str]) -> dict[str, Any]:
    try:
        text = decoded(config.read_bytes()).replace("\r\n", "\n")
        tables = parsed(text)
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"the file {config} given by --config cannot be read: {error}")
        return {}
    known = known_names()
    flat: dict[str, Any] = {}
    for group, table in tables.items():
        if not isinstance(table, dict):
            problems.append(f"{group} in {config} is not in a table{_nearest(group, known)}")
            continue
        for name, value in _flat(group, table, known):
            if name in known:
                flat[name] = value
                problems += [f"{name} in {config}{mistake}" for mistake in _mistakes_in(name, value, text)]
            else:
                problems.append(f"{name} in {config} is not a setting{_nearest(name, known)}")
    return flat


def _flat(group: str, table: Mapping[str, Any], known: list[str]) -> Iterator[tuple[str, Any]]:
    """The settings in a table by their whole names, and what is none."""
    for key, value in table.items():
        name = f"{group}.{key}"
        if isinstance(value, dict) and any(other.startswith(f"{name}.") for other in known):
            yield from _flat(name, value, known)
        else:
            yield name, value


def _nested(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Groups by their path as groups within groups."""
    nested: dict[str, Any] = {}
    for path, table in values.items():
        within = nested
        *outer, group = path.split(".")
        for name in outer:
            within = within.setdefault(name, {})
        within[group] = dict(table)
    return nested


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    known = {variable_of(name): name for name in known_names()}
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
    nested: dict[str, dict[str, Any]] = source()
    return files | {
        name: text for group, table in nested.items() for name, text in _flat(group, table, list(known.values()))
    }


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
    files: dict[str, Path],
    problems: list[str],
) -> None:
    """Lay one source over those before it, reading the files it points to."""
    for name, given in flat.items():
        value, setting, whence = given, name, origin
        files.pop(name, None)
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
                value = secret_in(setting, content)
            except ValueError as error:
                problems.append(f"{both_names(name)} is {_quoted(given)}, which {error}")
                continue
            whence = f"file {given}"
            files[setting] = Path(given)
        group, key = setting.rsplit(".", 1)
        values.setdefault(group, {})[key] = value
        origins[setting] = whence


def _place(detail: ErrorDetails) -> tuple[str, str]:
    """The setting that is wrong, and where in it."""
    parts, known = [str(part) for part in detail["loc"]], known_names()
    length = next((end for end in range(2, len(parts)) if ".".join(parts[:end]) in known), len(parts))
    return ".".join(parts[:length]), ".".join(parts[length:])


def secret_in(setting: str, content: bytes) -> str:
    """The secret that a file holds.

    Raises:
        ValueError: there is something in it that cannot be meant; says what and where, not the secret.
    """
    return plain(decoded(content), lines=setting in _OF_LINES)


def _explain(detail: ErrorDetails, values: Mapping[str, Mapping[str, Any]]) -> str:
    name, within = _place(detail)
    group, _, key = name.rpartition(".")
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


def _contradictions(settings: Settings) -> Iterator[str]:
    """What is wrong between two groups."""
    if settings.avro.registry_url is None and (asking := settings.needs_registry) is not None:
        yield f"{both_names('avro.registry_url')} is not set, and {asking} is registry: give the registry's URL"
    for side, given in (("offers", settings.input.offers), ("checkouts", settings.input.checkouts)):
        if given.maps and given.format == "avro" and settings.avro.format == "plain":
            names = ", ".join(
                f"input.{side}.{name}" for name in ("fields", "when", "time", "each") if name in given.model_fields_set
            )
            yield (
                f"{names}: plain Avro says nothing of its schema, so it is read by ours, and nothing is mapped. Set "
                f"{both_names(f'input.{side}.format')} to json or registry, or leave {names} out"
            )


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
