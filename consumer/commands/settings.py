"""`opt-out settings`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..output import Document, OutputFormat, show
from .options import Config, loaded, loaded_for_a_run

# ruff: noqa: PLC0415 - see the room


def settings(
    config: Config = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether `run` would start with them: exits 0 or 2.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the TOML file instead; needs no settings.")
    ] = False,
    output: OutputFormat = "table",
) -> None:
    """Show every setting in force, with secrets hidden, and where its value came from.

    Checks the values as `run` does, but asks for nothing that only `run` needs.
    --check asks for that too, and refuses what `run` would refuse. No broker
    and no API is asked.

    Example:

        opt-out settings --config opt-out.toml
        opt-out settings --config opt-out.toml --check
        opt-out settings --schema > opt-out.schema.json
    """
    if check and schema:
        raise typer.BadParameter("--schema checks nothing; leave one of them out", param_hint="--check")
    if schema:
        import json

        from ..settings.schema import toml_schema

        typer.echo(json.dumps(toml_schema(), indent=2))
        return
    if check:
        from ..settings.release_file import read_release_file

        release_file = loaded_for_a_run(config).settings.delivery.release_file
        if release_file is not None:
            read_release_file(release_file)
        show(Document({}, {"ok": True}, ["ok: `run` takes these settings"]), output)
        return
    from ..settings.table import document

    show(document(loaded(config, for_kafka=False)), output)
