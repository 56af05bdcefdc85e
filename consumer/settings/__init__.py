"""The settings: one frozen, validated object from the environment, a TOML file, and files that hold secrets."""

from __future__ import annotations

from .groups import (
    ApiSettings,
    AvroSettings,
    DeadLetterSettings,
    DeliverySettings,
    JoinSettings,
    LogSettings,
    PartnerCredentials,
    ServerSettings,
)
from .kafka import KafkaSettings
from .load import Loaded, Settings, load, load_settings

__all__ = [
    "ApiSettings",
    "AvroSettings",
    "DeadLetterSettings",
    "DeliverySettings",
    "JoinSettings",
    "KafkaSettings",
    "Loaded",
    "LogSettings",
    "PartnerCredentials",
    "ServerSettings",
    "Settings",
    "load",
    "load_settings",
]
