"""How tests find a schema registry: Apicurio's, fetched by Maven and run by Java, as their Kafka is."""

from __future__ import annotations

from .apicurio import ApicurioRegistry

__all__ = ["ApicurioRegistry"]
