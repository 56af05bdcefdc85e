"""The settings: one frozen, validated object from the environment, a TOML file, and files that hold secrets."""

from __future__ import annotations

from .avro import AvroSettings
from .groups import (
    ApiSettings,
    DeadLetterSettings,
    DeliverySettings,
    JoinSettings,
    LogSettings,
    PartnerCredentials,
    ServerSettings,
    TraceSettings,
)
from .inputs import CheckoutInputSettings, InputSettings, InputsSettings, OfferInputSettings
from .kafka import KafkaSettings
from .load import Loaded, load, load_settings, read_kafka
from .model import Settings

__all__ = [
    "ApiSettings",
    "AvroSettings",
    "CheckoutInputSettings",
    "DeadLetterSettings",
    "DeliverySettings",
    "InputSettings",
    "InputsSettings",
    "JoinSettings",
    "KafkaSettings",
    "Loaded",
    "LogSettings",
    "OfferInputSettings",
    "PartnerCredentials",
    "ServerSettings",
    "Settings",
    "TraceSettings",
    "load",
    "load_settings",
    "read_kafka",
]
