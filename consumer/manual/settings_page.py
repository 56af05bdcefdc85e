"""Writes the page `settings` from the settings themselves, for `make manual`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ..settings import Settings
from ..settings.kafka import CLASSIC_PROPERTIES, REFUSED_PROPERTIES
from ..settings.model import SECRETS, groups
from ..settings.types import format_duration

PAGE = Path(__file__).with_name("settings.md")

_INTRODUCTION = """\
# Settings

This page lists every setting with its default. It is written from the code; `opt-out settings` shows what is in force
and where each value comes from.

- A setting is a variable of the environment, `OPT_OUT_<GROUP>__<NAME>`, or a line of a TOML file that is given by
  `--config`. `join.window` is `OPT_OUT_JOIN__WINDOW`, or `window` in the table `[join]`. The environment wins over the
  file. [Operations](operations.md#configure-it) has an example.
- `input.offers.format` is `OPT_OUT_INPUT__OFFERS__FORMAT`, or `format` in the table `[input.offers]`.
- A duration is written as `500ms`, `30s`, `5m` or `2h`.
- A secret may also be given as a file, by `..._FILE`. These settings are secrets: {secrets}. So may each property in
  `kafka.properties`, by its name with `_file` behind it.
- A wrong or unknown setting stops the start with exit code 2. The message names the setting, what is wrong with it and
  what would be right.
- `kafka.group_protocol = consumer` (KIP-848) needs brokers of Kafka 4.0 or newer.
- A [schema registry](operations.md#schema-registry) needs the extra packages of `offer-opt-out[registry]`.
"""

_PROPERTIES = """
## What kafka.properties refuses

`kafka.properties` passes any librdkafka setting on, except those that would break a promise or contradict another
setting:

| librdkafka setting | why it is refused |
|---|---|
{refused}
With `kafka.group_protocol = consumer` these are refused as well:

| librdkafka setting | why it is refused |
|---|---|
{classic}"""


def render() -> str:
    """The page as Markdown."""
    secrets = ", ".join(f"`{name}`" for name in sorted(SECRETS))
    parts = [_INTRODUCTION.format(secrets=secrets)]
    for group, model in groups(Settings):
        rows = "".join(_row(f"{group}.{name}", setting) for name, setting in model.model_fields.items())
        parts.append(f"\n## {group}\n\n{model.__doc__}\n\n| setting | default | what it is |\n|---|---|---|\n{rows}")
    parts.append(_PROPERTIES.format(refused=_reasons(REFUSED_PROPERTIES), classic=_reasons(CLASSIC_PROPERTIES)))
    return "".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(), encoding="utf-8")


def _row(name: str, setting: FieldInfo) -> str:
    meaning = " ".join([setting.description or "", *_allowed(setting)])
    return f"| `{name}` | {_shown(setting.get_default(call_default_factory=True))} | {meaning} |\n"


def _allowed(setting: FieldInfo) -> Iterator[str]:
    """Which values there are, where the type says so in a few words."""
    if get_origin(setting.annotation) is Literal:
        yield f"One of {', '.join(f'`{value}`' for value in get_args(setting.annotation))}."
    least = _bound(setting, "ge")
    most = _bound(setting, "le")
    if most is not None:
        yield f"From {least} to {most:,}."
    elif least:
        yield f"At least {least:,}."


def _bound(setting: FieldInfo, name: str) -> float | None:
    return next((getattr(found, name) for found in setting.metadata if hasattr(found, name)), None)


def _shown(default: object) -> str:
    if default in (None, "", (), {}):
        return "none"
    return f"`{format_duration(default) if isinstance(default, timedelta) else default}`"


def _reasons(properties: Mapping[str, str]) -> str:
    return "".join(f"| `{name}` | {why} |\n" for name, why in properties.items())


if __name__ == "__main__":
    main()
