"""`opt-out dead-letters`, and below it `show` and `resubmit`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import typer

from ..output import Column, Document, OutputFormat, TableShown, is_terminal, show
from .options import Config, loaded

if TYPE_CHECKING:
    from ..codecs.codec import Codec
    from ..dead_letters.originals import Originals
    from ..dead_letters.prospects import Prospects
    from ..dead_letters.resubmission import LetterTally, Resubmission, Selection
    from ..dead_letters.topic import DeadLetterTopic
    from ..kafka.clients import Clients
    from ..settings import Settings

# ruff: noqa: PLC0415 - see the room

dead_letters = typer.Typer(rich_markup_mode="rich", no_args_is_help=False)

Reasons: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--reason", metavar="REASON", help="Only those of this reason; may be repeated.", show_default=False),
]
From: TypeAlias = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Only those written at this time or later.", show_default=False),
]
To: TypeAlias = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Only those written before this time.", show_default=False)
]

LEFT_OUT = 3
"""The exit code where some of what was meant was left out."""


@dead_letters.callback(invoke_without_command=True)
def list_letters(
    context: typer.Context,
    config: Config = None,
    since: From = None,
    until: To = None,
    reason: Reasons = None,
    newest: Annotated[
        int, typer.Option(min=0, max=100_000, metavar="N", help="How many of the newest are listed one by one.")
    ] = 10,
    output: OutputFormat = "table",
) -> None:
    """List what was dead-lettered, show one, and re-submit records to the topic that they are from.

    Without a command below, dead letters are counted by their reason, the
    topic and the partition that they are from, with the first and the last
    time; and the newest are listed. That only reads, joins no group and
    commits nothing, so it may be done while the service runs.

    Example:

        opt-out dead-letters --config opt-out.toml
        opt-out dead-letters --reason undecodable --from 2026-11-01T00:00:00Z --newest 100
        opt-out dead-letters show 3:812
        opt-out dead-letters resubmit --reason undecodable --dry-run
    """
    if context.invoked_subcommand is not None:
        if given := _given(context):
            command = context.invoked_subcommand
            raise typer.BadParameter(f"options go behind the command: {command} ...", param_hint=", ".join(given))
        return
    with _opened(config) as at:
        from ..dead_letters.listing import listing

        show(listing(at.topic, _selection(reason, since, until), newest), output)


@dead_letters.command("show")
def show_letter(
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="Where it stands in the dead-letter topic.")],
    config: Config = None,
    output: OutputFormat = "table",
) -> None:
    """Show one dead letter: why it is one, its headers, and the record that it holds.

    The record is shown as these settings decode it, else as text or as a hex
    dump. What was too large to be dead-lettered is read where it stood first,
    if it is still there. What would become of it now is said, too.

    Example:

        opt-out dead-letters show 3:812
        opt-out dead-letters show 3:812 --output json | jq -r .value.base64 | base64 -d
    """
    partition, offset = _place(place, "PARTITION:OFFSET")
    with _opened(config) as at, at.judging() as (originals, prospects, codec):
        from ..dead_letters.showing import ShownLetter, find_letter

        letter, notes = find_letter(at.topic, partition, offset)
        shown = ShownLetter(letter, notes, originals, codec, prospects, at.settings.kafka)
        show(shown.for_people() if output == "table" else shown.for_programs(), output)


@dead_letters.command()
def resubmit(
    every: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    reason: Reasons = None,
    offset: Annotated[
        list[str] | None,
        typer.Option(
            "--offset",
            metavar="PARTITION:OFFSET",
            help="The one that stands there in the dead-letter topic; may be repeated.",
            show_default=False,
        ),
    ] = None,
    since: From = None,
    until: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done; writes nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed where there is no terminal.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was re-submitted already.")] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also what would only be dead-lettered again by these settings.")
    ] = False,
    config: Config = None,
    output: OutputFormat = "table",
) -> None:
    """Write records to the topic and partition that they are from once more, each once.

    They have the key, value, headers and timestamp that they had, and the
    header opt-out.resubmitted-from, which names the dead letter. What was
    re-submitted before is left out, and so is what would be dead-lettered
    again: it still cannot be read, or is late by now. See the page
    dead-letters of the manual for what it means to the insurer.

    It counts and asks before it writes. Exits 3 if something was left out that
    was not re-submitted before. It takes the rights to write the input topics
    and the dead-letter topic, which the service has not.

    Example:

        opt-out dead-letters resubmit --reason undecodable --dry-run
        opt-out dead-letters resubmit --reason undecodable --from 2026-11-01T00:00:00Z
        opt-out dead-letters resubmit --offset 3:812 --offset 3:815 --yes
    """
    chosen = [name for name, given in (("--all", every), ("--reason", reason), ("--offset", offset)) if given]
    if len(chosen) != 1:
        told = "one of them: " + " and ".join(chosen) if chosen else "which dead letters are meant"
        raise typer.BadParameter(f"say {told}", param_hint="--all, --reason or --offset")
    if not (dry_run or yes or _can_ask(output)):
        raise typer.BadParameter(
            "there is no terminal to ask in: say --yes, or --dry-run to see what would be done", param_hint="--yes"
        )
    places = frozenset(_place(one, "--offset") for one in offset or ())
    selection = _selection(reason, since, until)._replace(places=places)
    with _opened(config) as at, at.judging() as (originals, prospects, _):
        from ..dead_letters.resubmission import DONE, Resubmission

        kafka = at.settings.kafka
        run = Resubmission(at.topic, originals, prospects, kafka, selection, again=again, anyway=anyway)
        tally = run.plan()
        wanted = tally.of(DONE)
        if wanted and not dry_run:
            if not yes:
                show(_document(tally, written=False), output)
                typer.confirm(f"Re-submit {wanted} {'record' if wanted == 1 else 'records'}?", abort=True)
            tally = _carried_out(run, at.clients, kafka.group_id)
        show(_document(tally, written=not dry_run), output)
    raise typer.Exit(LEFT_OUT if tally.examples else 0)


# --- inside


class _Opened(NamedTuple):
    """What every command here reads by."""

    settings: Settings
    clients: Clients
    topic: DeadLetterTopic

    @contextmanager
    def judging(self) -> Iterator[tuple[Originals, Prospects, Codec]]:
        """What tells of a record what it is and what would become of it."""
        from ..codecs.inputs import codec_of
        from ..dead_letters.originals import Originals
        from ..dead_letters.prospects import Prospects
        from ..dead_letters.topic import partitions_of
        from ..runtime.tasks import rules_of

        with closing(codec_of(self.settings, at_once=True)) as codec, closing(self.clients.record_reader()) as consumer:
            partitions = cache(partial(partitions_of, consumer))
            prospects = Prospects(codec, rules_of(self.settings.join), self.settings.kafka, time.time, partitions)
            yield Originals(consumer), prospects, codec


@contextmanager
def _opened(config: Config) -> Iterator[_Opened]:
    from ..logs import hide_in_default_log

    settings = loaded(config).settings
    hide_in_default_log()
    from ..dead_letters.topic import DeadLetterTopic
    from ..kafka.causes import Causes
    from ..kafka.clients import Clients

    causes = Causes(settings.kafka, logs=False)
    clients = Clients(settings.kafka, causes)
    with causes.explained(), closing(clients.log_reader()) as consumer:
        admin = causes.attend(clients.admin())
        yield _Opened(settings, clients, DeadLetterTopic(consumer, admin, settings.kafka.dead_letter_topic))


def _carried_out(run: Resubmission, clients: Clients, group: str) -> LetterTally:
    from ..dead_letters.resubmission import transactional_id
    from ..kafka.transactions import Transactions

    name = transactional_id(group)
    return run.carry_out(Transactions(clients.transactional(name), name))


def _document(tally: LetterTally, *, written: bool) -> Document:
    from ..dead_letters.resubmission import ALREADY, DONE
    from ..kafka.letter import named

    words = {
        DONE: "re-submitted" if written else "to be re-submitted",
        ALREADY: "re-submitted before",
        **{obstacle.key: f"left out: {obstacle.key.replace('_', ' ')}" for obstacle in tally.examples},
    }
    columns = (Column("fate"), Column("words", "dead letters"), Column("topic", "from"), Column("count", "count", True))
    rows = [
        [key, words[key], topic, count]
        for key, (topic, count) in sorted(
            ((key, (topic, count)) for (key, topic), count in tally.counts.items()),
            key=lambda row: (list(words).index(row[0]), row[1]),
        )
    ]
    notes = [
        f"{tally.of(obstacle.key)} left out, since {obstacle.words}: such as {named(place)}, where {why}"
        for obstacle, (place, why) in tally.examples.items()
    ]
    if any(obstacle.may_be_overruled for obstacle in tally.examples):
        notes.append("--anyway re-submits them as well, but for those of which that is not possible.")
    if not tally.counts:
        notes.append("No dead letter of these is there.")
    elif not tally.of(DONE):
        notes.append("Nothing is to be re-submitted." if not written else "Nothing was re-submitted.")
    facts = {"written": written, "resubmitted": tally.of(DONE)}
    if not rows:
        return Document({}, {"dead_letters": [], **facts}, notes)
    return Document({"dead_letters": TableShown("What becomes of the dead letters", columns, rows)}, facts, notes)


def _given(context: typer.Context) -> list[str]:
    """The options that stand before a command below, where they would be overheard."""
    found = [(one.opts[0], context.get_parameter_source(one.name or "")) for one in context.command.params]
    return [option for option, source in found if source is not None and source.name == "COMMANDLINE"]


def _selection(reasons: list[str] | None, since: str | None, until: str | None) -> Selection:
    from ..dead_letters.resubmission import Selection

    begin, end = _moment(since, "--from"), _moment(until, "--to")
    if begin is not None and end is not None and begin >= end:
        raise typer.BadParameter("must be later than --from", param_hint="--to")
    return Selection(frozenset(reasons or ()), since=begin, until=end)


def _moment(text: str | None, option: str) -> int | None:
    from ..settings.kafka import read_moment

    if text is None:
        return None
    moment = read_moment(text)
    if moment is None:
        raise typer.BadParameter("must be a time with its zone such as 2026-11-01T00:00:00Z", param_hint=option)
    return int(moment.timestamp() * 1000)


def _place(text: str, option: str) -> tuple[int, int]:
    partition, colon, offset = text.partition(":")
    if not (colon and partition.isdecimal() and offset.isdecimal() and len(text) < 30):
        raise typer.BadParameter(f"{text!r} must be PARTITION:OFFSET, such as 3:812", param_hint=option)
    return int(partition), int(offset)


def _can_ask(output: str) -> bool:
    return output == "table" and is_terminal() and sys.stdin is not None and sys.stdin.isatty()
