"""Our own schemas at the registry: found by whoever writes outcomes, registered by a person's command alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..errors import StartError
from ..settings import Settings
from .registry_client import Registry, RegistryError
from .schemas import CHECKOUT_COMPLETED, OFFER_OUTCOME, OFFER_PRESENTED, schema_text


class Registration(NamedTuple):
    """One of our schemas, at the registry.

    Attributes:
        is_new: it was not there before.
    """

    subject: str
    schema: str
    schema_id: int
    is_new: bool


def subject_of(topic: str) -> str:
    """What the schemas of a topic's values are filed under, unless a serializer is told otherwise."""
    return f"{topic}-value"


def outcome_schema_id(registry: Registry, topic: str) -> int:
    """The id of our outcomes' schema, as it was registered for this topic.

    Raises:
        StartError: it was not, or the registry does not tell.
    """
    subject = subject_of(topic)
    try:
        found = registry.find(subject, schema_text(OFFER_OUTCOME))
    except RegistryError as error:
        raise StartError(
            f"by avro.outcome_format outcomes are written with the id of their schema, and {error.trouble.value} "
            f"({error})"
        ) from error
    if found is None:
        raise StartError(
            f"by avro.outcome_format outcomes are written with the id of their schema, and the registry has none for "
            f"it in the subject {subject}: run `opt-out topics --register`"
        )
    return found


def register_ours(registry: Registry, settings: Settings) -> Iterator[Registration]:
    """Register the schema of our outcomes, and ours of the inputs that are read by a registry's ids and not mapped.

    Raises:
        StartError: the registry does not take one.
    """
    kafka, inputs = settings.kafka, settings.input
    wanted = [(kafka.outcome_topic, OFFER_OUTCOME)]
    for given, topic, schema in (
        (inputs.offers, kafka.offer_topic, OFFER_PRESENTED),
        (inputs.checkouts, kafka.checkout_topic, CHECKOUT_COMPLETED),
    ):
        if settings.has_ids(given) and not given.maps:
            wanted.append((topic, schema))
    for topic, schema in wanted:
        subject, text = subject_of(topic), schema_text(schema)
        try:
            before = registry.find(subject, text)
            schema_id = registry.register(subject, text) if before is None else before
        except RegistryError as error:
            raise StartError(
                f"the schema {schema} is not registered in the subject {subject}: {error.trouble.value} ({error})"
            ) from error
        yield Registration(subject, schema, schema_id, before is None)
