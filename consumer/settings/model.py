"""All settings as one model, and what each of them is called."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from .avro import AvroSettings
from .groups import (
    ApiSettings,
    DeadLetterSettings,
    DeliverySettings,
    JoinSettings,
    LogSettings,
    ServerSettings,
    TraceSettings,
)
from .inputs import InputSettings, InputsSettings
from .kafka import KafkaSettings
from .types import Group

PREFIX = "OPT_OUT_"

SECRETS = frozenset(
    {
        "kafka.properties",
        "avro.registry_password",
        "avro.registry_token",
        "api.key",
        "api.secret",
        "api.credentials",
        "api.proxy",
    }
)
"""Settings whose value is never shown, and which may be given as a file. `kafka.properties` and `api.proxy` may hold a
password; the rest of theirs is shown."""


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
    input: InputsSettings = InputsSettings()
    join: JoinSettings = JoinSettings()
    api: ApiSettings = ApiSettings()
    delivery: DeliverySettings = DeliverySettings()
    dead_letter: DeadLetterSettings = DeadLetterSettings()
    server: ServerSettings = ServerSettings()
    log: LogSettings = LogSettings()
    trace: TraceSettings = TraceSettings()

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

    def has_ids(self, given: InputSettings) -> bool:
        """Whether the records of this input have a schema registry's ids."""
        return given.format == "registry" or (given.format == "avro" and self.avro.format == "registry")

    @property
    def needs_registry(self) -> str | None:
        """A setting by which the schema registry is asked; None: none is."""
        if self.avro.outcome_format == "registry":
            return "avro.outcome_format"
        for side, given in (("offers", self.input.offers), ("checkouts", self.input.checkouts)):
            if self.has_ids(given):
                return f"input.{side}.format" if given.format == "registry" else "avro.format"
        return None


def names() -> Iterator[tuple[str, str]]:
    """(group, name) of every setting, in the order they are shown. A group may be within another: `input.offers`."""
    for group, model in groups(Settings):
        for name in model.model_fields:
            yield group, name


def groups(model: type[BaseModel], within: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The models that hold settings, by their path, such as `join` or `input.offers`."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            inner = list(groups(field.annotation, f"{within}{name}."))
            yield from inner or [(within + name, field.annotation)]


def variable_of(name: str) -> str:
    """What a setting is called in the environment."""
    return PREFIX + name.upper().replace(".", "__")


def both_names(name: str) -> str:
    """What a setting is called in the environment and in a TOML file."""
    return f"{variable_of(name)} ({name} in a TOML file)"


def known_names() -> list[str]:
    """Every name that a source may give: the settings, and the files that hold secrets."""
    known = [f"{group}.{name}" for group, name in names()]
    return known + [f"{name}_file" for name in known if name in SECRETS]
