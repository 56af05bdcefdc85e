"""`opt-out topics`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ..output import OutputFormat, show
from .options import Config, loaded

if TYPE_CHECKING:
    from ..settings import Settings

# ruff: noqa: PLC0415 - see the room


def topics(
    config: Config = None,
    check: Annotated[bool, typer.Option("--check", help="Only check; create nothing.")] = False,
    create_inputs: Annotated[bool, typer.Option("--create-inputs", help="Create missing input topics too.")] = False,
    partitions: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Partitions of input topics that are created.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Register our schemas at avro.registry_url, too.")
    ] = False,
    output: OutputFormat = "table",
) -> None:
    """Create the outcome and dead-letter topics if missing, and check that all four topics fit together.

    The inputs must have equal partition counts and must not be compacted;
    the outputs need as many partitions. --register registers the schema of the
    outcomes, and those of the inputs that are read by a registry's ids and not
    mapped, each in the subject TOPIC-value.

    Example:

        opt-out topics --config opt-out.toml
        opt-out topics --create-inputs --partitions 12
        opt-out topics --register
        opt-out topics --check --output json
    """
    if create_inputs and partitions is None:
        raise typer.BadParameter(
            "say how many partitions they are to have", param_hint="--create-inputs without --partitions"
        )
    if check and (create_inputs or register):
        option = "--create-inputs" if create_inputs else "--register"
        raise typer.BadParameter("--check creates nothing; leave one of them out", param_hint=option)
    from ..logs import hide_in_default_log

    settings = loaded(config).settings
    hide_in_default_log()
    from ..checks.topics import document, inspect_topics
    from ..kafka.causes import Causes
    from ..kafka.clients import Clients
    from ..kafka.topics import create_topics

    kafka, causes = settings.kafka, Causes(settings.kafka, logs=False)
    with causes.explained():
        admin = causes.attend(Clients(kafka, causes).admin())
        created = frozenset() if check else create_topics(admin, kafka, inputs=create_inputs, partitions=partitions)
        report = inspect_topics(admin, settings, created)
    if register:
        report = replace(report, notes=(*report.notes, *_registered(settings)))
    show(document(report), output)


def _registered(settings: Settings) -> list[str]:
    from ..codecs.registered import register_ours
    from ..codecs.registry_client import Registry

    with closing(Registry(settings.avro)) as registry:
        return [
            f"{one.subject}: {one.schema} has the id {one.schema_id}{', registered now' * one.is_new}"
            for one in register_ours(registry, settings)
        ]
