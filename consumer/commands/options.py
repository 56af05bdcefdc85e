"""What several commands have in common: the option for the file of settings, and how the settings are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from ..settings import Loaded

# ruff: noqa: PLC0415 - see the room

Config: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="TOML file with settings; the environment wins over it."),
]


def loaded(config: Path | None, *, for_kafka: bool = True, for_api: bool = False) -> Loaded:
    """The settings of a command, once each client of Kafka that it may make was made for trial.

    Raises:
        SettingsError: they are wrong.
    """
    from ..kafka.trial import try_clients
    from ..settings import load

    found = load(config, for_kafka=for_kafka, for_api=for_api)
    try_clients(found.settings.kafka)
    return found


def loaded_for_a_run(config: Path | None) -> Loaded:
    """The settings as `run` takes them, once the registry's client was made for trial, too, if one is asked.

    Raises:
        SettingsError: they are wrong, or what that client reads of the environment by itself.
    """
    found = loaded(config, for_api=True)
    if found.settings.needs_registry is not None:
        from ..codecs.registry_client import try_registry

        try_registry(found.settings.avro)
    return found
