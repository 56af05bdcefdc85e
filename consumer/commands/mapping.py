"""`opt-out map`."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from ..output import OutputFormat, show
from .options import Config, loaded

# ruff: noqa: PLC0415 - see the room


def map_records(
    config: Config = None,
    sample: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="How many of the newest records of each topic.")
    ] = 20,
    output: OutputFormat = "table",
) -> None:
    """Show what the newest records of both inputs are, and what becomes of each.

    Reads them by the format and the mapping that the settings say, as `run`
    would, but joins no group, commits nothing and calls nobody. Exits 0 if all
    can be read, 1 if one cannot.

    Example:

        opt-out map --config opt-out.toml --sample 5
        opt-out map --output json
    """
    from ..logs import hide_in_default_log

    settings = loaded(config).settings
    hide_in_default_log()
    from ..checks.mapped import document
    from ..checks.sample import newest_judged
    from ..codecs.inputs import codec_of
    from ..core.watermark import Side
    from ..kafka.causes import Causes
    from ..kafka.clients import Clients

    kafka, causes = settings.kafka, Causes(settings.kafka, logs=False)
    topics = {Side.OFFERS: kafka.offer_topic, Side.CHECKOUTS: kafka.checkout_topic}
    with (
        causes.explained(),
        closing(codec_of(settings, at_once=True)) as codec,
        closing(Clients(kafka, causes).record_reader()) as consumer,
    ):
        samples = {side: (topic, newest_judged(consumer, topic, side, codec, sample)) for side, topic in topics.items()}
    show(document(samples), output)
    unread = any((sampled.error or sampled.waits) is not None for _, records in samples.values() for sampled in records)
    raise typer.Exit(1 if unread else 0)
