"""The command line: `opt-out <command>`. Thin: each command loads what it needs, then hands over.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

from . import __version__
from .errors import OptOutError, SettingsError
from .hiding import hide
from .runbook import command_for, entry_of_error

if TYPE_CHECKING:
    from rich.console import Console

    from .settings import Settings

# What a command needs is imported in it: `--help` must not wait for Kafka's and the web server's libraries.
# ruff: noqa: PLC0415

app = typer.Typer(
    name="opt-out",
    help="Tells the insurer of every offer that was presented and not bought.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="TOML file with settings; the environment wins over it."),
]


def program() -> None:
    """`opt-out`: run the command line, and end the process without the interpreter's own end.

    That would let the libraries clean up while other threads are still at work in them: a start that failed while the
    delivery was loading its certificates ended by signal 11 about one time in twelve, instead of exit code 1. All that
    has to be closed or said is by then.
    """
    hide_in_last_words()
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # a bug: its traceback is said
        sys.excepthook(*sys.exc_info())
        code = 1
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as it is where whoever started this closed it
            with suppress(OSError):  # nobody reads it any more
                stream.flush()
    os._exit(code)


def main() -> None:
    """Run the command line. What goes wrong is said in words on standard error, without a traceback.

    Raises:
        SystemExit: always, with the exit code.
    """
    try:
        app()
    except OptOutError as error:
        print(hide(f"opt-out: {error}"), file=sys.stderr)  # noqa: T201 - the command's own words
        print(f"opt-out: see `{command_for(entry_of_error(error))}`", file=sys.stderr)  # noqa: T201 - as above
        sys.exit(2 if isinstance(error, SettingsError) else 1)


def hide_in_last_words() -> None:
    """No secret in what goes to standard error past the log: a traceback, or a line of a library without a log."""

    def say(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if sys.stderr is not None:
            print(hide("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)  # noqa: T201

    sys.excepthook = say
    threading.excepthook = lambda args: say(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: say(args.exc_type, args.exc_value, args.exc_traceback)
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_HidingFormatter())


class _HidingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return hide(super().format(record))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"opt-out {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def run(config: Config = None) -> None:
    """Run the deployment: join offers with checkouts and make the calls, until SIGTERM.

    Any number of instances share the work as members of one consumer group.
    SIGTERM lets the calls in flight end, commits, leaves the group, exits 0.
    `opt-out settings` lists the settings.

    Example:

        export OPT_OUT_KAFKA__BOOTSTRAP_SERVERS=kafka:9092
        export OPT_OUT_API__KEY=… OPT_OUT_API__SECRET_FILE=/run/secrets/api
        opt-out run
    """
    from .logs import configure_logs

    settings = _settings(config, for_api=True)
    configure_logs(settings.log)
    from .runtime.run import run as run_service

    raise typer.Exit(run_service(settings))


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Another seed plays other shopping sessions.")] = 1,
) -> None:
    """See the whole thing work in under a minute, with nothing but this program.

    Starts an embedded broker, an emulated API and a generator of shopping
    sessions, runs the real consumer against them, kills it in the middle,
    starts it again, and checks that every offer met its one fate.

    Example:

        opt-out demo
    """
    from .demo import demo as play

    raise typer.Exit(play.run(seed=seed))


@app.command("emulate-api")
def emulate_api(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8081,
    scenario: Annotated[
        str, typer.Option(help="What to answer: mixed, a status code, hang, or shares such as 404=3,500=4,hang=1.")
    ] = "mixed",
    seed: Annotated[int, typer.Option(help="Which offers meet which answer.")] = 0,
    key: Annotated[str | None, typer.Option(help="API key that is accepted; by default the demo's.")] = None,
    secret: Annotated[str | None, typer.Option(help="Secret that signatures are checked with.")] = None,
    prefix: Annotated[str, typer.Option(help="Prefix of the path, as in api.base_url.")] = "/x",
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where calls are logged, one JSON a line; else standard output.")
    ] = None,
) -> None:
    """Run the API emulator alone: real HTTP, checks signatures, answers by a scenario, logs each call.

    Example:

        opt-out emulate-api --scenario 429 --port 8081
        OPT_OUT_API__BASE_URL=http://127.0.0.1:8081/x opt-out run
    """
    from .emulator import emulator
    from .emulator.scenario import ScenarioError

    try:
        emulator.serve(
            host=host,
            port=port,
            scenario=scenario,
            seed=seed,
            key=key or emulator.DEMO_KEY,
            secret=secret or emulator.DEMO_SECRET,
            prefix=prefix,
            log=log,
        )
    except ScenarioError as error:
        raise typer.BadParameter(str(error), param_hint="--scenario") from error
    except OSError as error:
        raise OptOutError(f"the emulator cannot listen at {host}:{port}: {error}. Choose another --port.") from error


@app.command()
def topics(
    config: Config = None,
    check: Annotated[bool, typer.Option("--check", help="Only check; create nothing.")] = False,
    create_inputs: Annotated[bool, typer.Option("--create-inputs", help="Create missing input topics too.")] = False,
    partitions: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Partitions of input topics that are created.")
    ] = None,
) -> None:
    """Create the outcome and dead-letter topics if missing, and check that all four topics fit together.

    The inputs must have equal partition counts and must not be compacted;
    the outputs need as many partitions.

    Example:

        opt-out topics --config opt-out.toml
        opt-out topics --create-inputs --partitions 12
    """
    if create_inputs and partitions is None:
        raise typer.BadParameter(
            "say how many partitions they are to have", param_hint="--create-inputs without --partitions"
        )
    if check and create_inputs:
        raise typer.BadParameter("--check creates nothing; leave one of them out", param_hint="--create-inputs")
    from .logs import hide_in_default_log

    settings = _settings(config)
    hide_in_default_log()
    from confluent_kafka.admin import AdminClient

    from .checks.topics import inspect_topics, table
    from .kafka.causes import Causes
    from .kafka.config import admin_config
    from .kafka.topics import create_topics

    kafka, causes = settings.kafka, Causes(settings.kafka, logs=False)
    admin = causes.attend(AdminClient(admin_config(kafka, causes)))
    with causes.explained():
        created = frozenset() if check else create_topics(admin, kafka, inputs=create_inputs, partitions=partitions)
        report = inspect_topics(admin, settings, created)
    _console().print(table(report))
    for note in report.notes:
        typer.echo(f"note: {note}")


@app.command()
def positions(
    config: Config = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Say yes to what is there, so that a start goes on; says what that costs.")
    ] = False,
    reset_to: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Go back to the offers of this time; never forward.", show_default=False),
    ] = None,
) -> None:
    """Show in words what the group has committed, and whether a start would go on from it.

    Exits 0 if it would, 1 if it would be refused. That only reads, and may be
    done while the service runs. To change positions, stop all instances first.

    --accept keeps what is known and gives up the rest: offers are called once
    more, or dead-lettered as late where their checkouts may be gone.
    --reset-to reads the offers from TIME on again, and calls those not bought
    once more; their checkouts are read from before that.

    Example:

        opt-out positions --config opt-out.toml
        opt-out positions --accept
        opt-out positions --reset-to 2026-11-01T00:00:00Z
    """
    if accept and reset_to is not None:
        raise typer.BadParameter("--accept says yes to what is there; leave one of them out", param_hint="--reset-to")
    from .logs import hide_in_default_log
    from .settings.kafka import read_moment

    moment = None if reset_to is None else read_moment(reset_to)
    if reset_to is not None and moment is None:
        raise typer.BadParameter("must be a time with its zone such as 2026-11-01T00:00:00Z", param_hint="--reset-to")
    settings = _settings(config)
    hide_in_default_log()
    from .checks.positions import PositionsCommand, changes_table
    from .kafka.causes import Causes
    from .runtime.tasks import rules_of

    causes = Causes(settings.kafka, logs=False)
    with causes.explained(), closing(PositionsCommand(settings, rules_of(settings.join), causes)) as command:
        if accept or moment is not None:
            changes = command.accept() if moment is None else command.reset_to(int(moment.timestamp() * 1000))
            if changes:
                _console().print(changes_table(changes))
            typer.echo("a start goes on from these" if changes else "nothing is in doubt: nothing was changed")
            return
        report = command.show()
    _console().print(report.table)
    typer.echo("\n".join(report.lines))
    typer.echo(report.refused or "a start would go on from here")
    raise typer.Exit(1 if report.refused else 0)


@app.command("settings")
def show_settings(config: Config = None) -> None:
    """Show every setting in force, with secrets hidden, and where its value came from.

    Checks the values as `run` does, but asks for nothing that only `run` needs.

    Example:

        opt-out settings --config opt-out.toml
    """
    from .kafka.trial import try_clients
    from .settings import load
    from .settings.table import outside_table, table

    loaded = load(config)
    try_clients(loaded.settings.kafka)
    _console().print(table(loaded))
    if (outside := outside_table(loaded)) is not None:
        _console().print(outside)


@app.command()
def manual(
    page: Annotated[
        str | None,
        typer.Argument(metavar="PAGE", help="A page, or one part of it: PAGE#HEADING.", show_default=False),
    ] = None,
) -> None:
    """Show the manual of this version: the list of its pages, or one page.

    Each warning of the log names the part of the runbook that tells what
    to do about it.

    Example:

        opt-out manual
        opt-out manual operations
        opt-out manual runbook#credentials-refused
    """
    from .manual import pages, text_of

    if page is None:
        there = pages()
        width = max(len(name) for name, _ in there)
        typer.echo("\n".join(f"{name:<{width}}  {summary}" for name, summary in there))
        return
    try:
        text = text_of(page)
    except LookupError as error:
        raise typer.BadParameter(error.args[0], param_hint="PAGE") from None
    if not sys.stdout.isatty():
        typer.echo(text, nl=False)
        return
    from rich.markdown import Markdown

    # A link is shown as what to give to this command; one within the page does not say which page it is.
    within = f"]({page.partition('#')[0]}#"
    _console().print(Markdown(text.replace("](#", within), hyperlinks=False))


def _settings(config: Path | None, *, for_api: bool = False) -> Settings:
    """The settings of a command that needs Kafka, once each client that it may make was made for trial."""
    from .kafka.trial import try_clients
    from .settings import load_settings

    settings = load_settings(config, for_kafka=True, for_api=for_api)
    try_clients(settings.kafka)
    return settings


def _console() -> Console:
    from rich.console import Console

    # Piped into a file or grep, a table must not be cut to 80 columns.
    return Console() if sys.stdout.isatty() else Console(width=180)
