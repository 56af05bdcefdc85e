"""The command line: `opt-out <command>`. Thin: each command loads what it needs, then hands over.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal

import typer

from . import __version__
from .commands.backfill import backfill
from .commands.dead_letters import dead_letters
from .commands.doctor import doctor
from .commands.explain import explain
from .commands.export import export
from .commands.mapping import map_records
from .commands.options import Config, loaded_for_a_run
from .commands.positions import positions
from .commands.reconcile import reconcile
from .commands.report import report
from .commands.settings import settings
from .commands.topics import topics
from .errors import OptOutError, SettingsError
from .hiding import hide
from .output import is_terminal
from .runbook import command_for, entry_of_error

# What a command needs is imported in it: `--help` must not wait for Kafka's and the web server's libraries.
# ruff: noqa: PLC0415

# Typer asks which shell is running, unless it is told not to. A shell that is named counts in the build of an image,
# in a pipe, and in another shell, too.
os.environ["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"

app = typer.Typer(
    name="opt-out",
    help="Tells the insurer of every offer that was presented and not bought.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


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

    found = loaded_for_a_run(config)
    configure_logs(found.settings.log)
    from .runtime.run import run as run_service
    from .settings import read_kafka

    raise typer.Exit(run_service(found, partial(read_kafka, config)))


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Another seed plays other shopping sessions.")] = 1,
    written: Annotated[
        Literal["avro", "registry", "json"],
        typer.Option("--format", help="What the customers write, and the service reads by its settings."),
    ] = "avro",
    keep: Annotated[bool, typer.Option("--keep", help="Go on until Ctrl-C, to be looked at.")] = False,
    api_down: Annotated[
        bool, typer.Option("--api-down", help="As --keep; after 20 s the API answers 503 to every call.")
    ] = False,
    forbid: Annotated[
        str | None,
        typer.Option(metavar="PARTNER", help="As --keep; after 20 s the API answers 403 to the calls of this partner."),
    ] = None,
    silence_checkouts: Annotated[
        bool, typer.Option("--silence-checkouts", help="As --keep; after 20 s no checkout is written any more.")
    ] = False,
) -> None:
    """See the whole thing work in under a minute, with nothing but this program.

    Starts an embedded broker, an emulated API and a generator of shopping
    sessions, runs the real consumer against them, kills it in the middle,
    starts it again, and checks that every offer met its one fate.

    With --format json customers write JSON of another shape, which is mapped;
    with --format registry Avro with the ids of a schema registry, for which a
    stand-in answers.

    It prints the address of the service's status page. With --keep customers
    go on, and nothing is killed or checked: look at the page, and at what a
    fault does to it.

    Example:

        opt-out demo
        opt-out demo --format json
        opt-out demo --forbid ACME
    """
    from .demo import demo as play
    from .demo.faults import Faults

    if forbid is not None and not re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", forbid):
        raise typer.BadParameter("give a partner code of letters, digits, _ . and -", param_hint="--forbid")
    faults = Faults(api_down, forbid, silence_checkouts)
    keep = keep or faults != Faults()
    raise typer.Exit(play.run(seed=seed, format_name=written, faults=faults if keep else None))


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


app.command()(backfill)
app.command()(topics)
app.command()(positions)
app.command()(settings)
app.command("map")(map_records)
app.command()(doctor)
app.add_typer(dead_letters, name="dead-letters")
app.command()(report)
app.command()(reconcile)
app.command()(explain)
app.command()(export)


@app.command()
def manual(
    page: Annotated[
        str | None,
        typer.Argument(metavar="PAGE", help="A page, or one part of it: PAGE#HEADING.", show_default=False),
    ] = None,
    alerts: Annotated[bool, typer.Option("--alerts", help="Print the alert rules for Prometheus.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Print the dashboard for Grafana.")] = False,
) -> None:
    """Show the manual of this version: the list of its pages, or one page.

    Each warning of the log names the part of the runbook that tells what
    to do about it, and so does each alert.

    Example:

        opt-out manual
        opt-out manual operations
        opt-out manual runbook#credentials-refused
        opt-out manual --alerts > opt-out-alerts.yml
        opt-out manual --dashboard > opt-out-dashboard.json
    """
    from .manual import ALERTS, DASHBOARD, pages, read_file, text_of

    if [page is not None, alerts, dashboard].count(True) > 1:
        raise typer.BadParameter("ask for one thing: PAGE, --alerts or --dashboard")
    if alerts or dashboard:
        typer.echo(read_file(ALERTS if alerts else DASHBOARD), nl=False)
        return
    if page is None:
        there = pages()
        width = max(len(name) for name, _ in there)
        typer.echo("\n".join(f"{name:<{width}}  {summary}" for name, summary in there))
        return
    try:
        text = text_of(page)
    except LookupError as error:
        raise typer.BadParameter(error.args[0], param_hint="PAGE") from None
    if not is_terminal():
        typer.echo(text, nl=False)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    # A link is shown as what to give to this command; one within the page does not say which page it is.
    within = f"]({page.partition('#')[0]}#"
    Console().print(Markdown(text.replace("](#", within), hyperlinks=False))
