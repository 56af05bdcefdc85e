"""`opt-out explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..output import OutputFormat, show
from .options import Config, loaded

# ruff: noqa: PLC0415 - see the room


def explain(
    offer_id: Annotated[str, typer.Argument(metavar="OFFER_ID", help="The offer, as the partner knows it.")],
    config: Config = None,
    partner: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only this partner's offer.", show_default=False)
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only this session: its partition alone is read.", show_default=False),
    ] = None,
    output: OutputFormat = "table",
) -> None:
    """Tell the life of one offer, and why it was called or not.

    A time line of each time it was shown, each checkout of its session, when
    it was due, and each outcome, with the record that says so. Below it, in
    sentences: how the rules judge it, and what it waits for now. Without
    --session all outcomes are searched for it, then the offers' topic.

    Joins no group, commits nothing and writes nothing to Kafka. Customers'
    ids are shown. Exits 1 if there is no such offer, and says where it looked.

    Example:

        opt-out explain 1b5c…-TRAVEL --partner ACME
        opt-out explain 1b5c…-TRAVEL --session 77e0… --output json
    """
    for given in (offer_id, partner, session):
        if given is not None and not _is_text(given):
            raise typer.BadParameter(f"{given!r} is no text in UTF-8, and ids are.")
    from ..logs import hide_in_default_log

    settings = loaded(config).settings
    hide_in_default_log()
    from ..evidence.explaining import document, explain_offer
    from ..kafka.causes import Causes

    causes = Causes(settings.kafka, logs=False)
    with causes.explained():
        found = explain_offer(settings, causes, offer_id, partner, session)
    if not found.lives:
        of = "".join(f" {word} {value}" for word, value in (("of", partner), ("in session", session)) if value)
        typer.echo(f"opt-out: no offer {offer_id}{of} was found.", err=True)
        for line in found.read:
            typer.echo(line, err=True)
        raise typer.Exit(1)
    show(document(found), output)


def _is_text(given: str) -> bool:
    """Bytes of an argument that are no UTF-8 stand in it as halves of characters."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True
