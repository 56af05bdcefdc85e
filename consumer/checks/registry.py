"""The schema registry: whether it answers, knows what is read, and has what outcomes are written with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..codecs.framing import SchemaId, unframe
from ..codecs.registered import subject_of
from ..codecs.registry_client import Registry, RegistryError
from ..codecs.schemas import OFFER_OUTCOME, load_schema, schema_text
from ..errors import DecodeError
from ..kafka.record import Record
from .check import Check

NAME, SCHEMAS, OUTCOMES = "registry", "schemas", "outcomes"
"""Of the checks."""

MOST_IDS = 20
"""Ids of one input that are asked for, the most frequent ones: each is a request."""

_REGISTER = "run `opt-out topics --register`"


def judge_answer(url: str, error: RegistryError | None) -> Check:
    """Whether the registry answers and takes our credentials; `error`: why not."""
    return Check(NAME, "ok", f"{url} answers, and lets us in") if error is None else untold(NAME, url, error)


def untold(name: str, of: str, error: RegistryError) -> Check:
    """That the registry does not tell something. `of`: of what, in words."""
    return Check(name, "error", f"{of}: {error.trouble.what} ({error})", error.trouble.remedy)


def ids_of(records: Sequence[Record]) -> Counter[SchemaId]:
    """How many of these records were written with each id. Those without any are told of where records are read."""
    found: Counter[SchemaId] = Counter()
    for record in records:
        if record.value is None:
            continue
        try:
            found[unframe(record.value, lambda record=record: record.headers)[0]] += 1  # type: ignore[misc]
        except DecodeError:
            continue
    return found


def unknown_of(registry: Registry, ids: Iterable[SchemaId]) -> dict[SchemaId, RegistryError]:
    """Those of these ids that the registry does not tell the schema of, and why."""
    unknown: dict[SchemaId, RegistryError] = {}
    for schema_id in ids:
        try:
            registry.schema(schema_id)
        except RegistryError as error:
            unknown[schema_id] = error
        except DecodeError:
            pass  # it is known, and no record can be read by it: that is told of where records are read
    return unknown


def judge_ids(topic: str, counts: Mapping[SchemaId, int], unknown: Mapping[SchemaId, RegistryError]) -> Iterator[Check]:
    """Whether the registry knows the ids of the newest records.

    Args:
        counts: how many records have each id.
        unknown: why an id is not known.
    """
    for schema_id, error in unknown.items():
        yield Check(
            SCHEMAS,
            "error",
            f"{counts[schema_id]} of the newest records of {topic} have the schema id {schema_id}, and "
            f"{error.trouble.what}: they would wait, and their partition behind them ({error})",
            error.trouble.remedy,
        )
    if known := [schema_id for schema_id in counts if schema_id not in unknown]:
        named = ", ".join(f"{schema_id} ({counts[schema_id]} records)" for schema_id in known)
        yield Check(SCHEMAS, "ok", f"the registry knows the schemas of the newest records of {topic}: {named}")


def plain_outcomes() -> Check:
    """That outcomes are written by the schema that we carry.

    Raises:
        StartError: it is not there.
    """
    schema = load_schema(OFFER_OUTCOME)
    return Check(
        OUTCOMES,
        "ok",
        f"outcomes are written in plain Avro, by {schema['namespace']}.{schema['name']} as this version carries it",
    )


def judge_outcomes(registry: Registry, topic: str) -> Check:
    """Whether the registry has the schema of our outcomes, as `run` looks it up."""
    try:
        return _judge_outcomes(registry, topic)
    except RegistryError as error:
        return untold(OUTCOMES, f"the subject {subject_of(topic)}", error)


def _judge_outcomes(registry: Registry, topic: str) -> Check:
    subject, text = subject_of(topic), schema_text(OFFER_OUTCOME)
    found = registry.find(subject, text)
    if found is not None:
        return Check(OUTCOMES, "ok", f"outcomes are written with the schema id {found}, ours in the subject {subject}")
    count = registry.versions(subject)
    if not count:
        return Check(
            OUTCOMES,
            "error",
            f"the registry has no subject {subject}, so that outcomes cannot be written by avro.outcome_format",
            _REGISTER,
        )
    others = f"the subject {subject} has {count} version{'s' * (count > 1)}, and none is the schema of our outcomes"
    if registry.takes(subject, text):
        return Check(OUTCOMES, "error", f"{others}, which is compatible with the last", _REGISTER)
    return Check(
        OUTCOMES,
        "error",
        f"{others}, nor is ours compatible with the last: somebody else writes to this topic",
        "give the outcomes a topic of their own (kafka.outcome_topic), or see who registered that; then "
        "`opt-out topics --register`",
    )
