"""The command line: its commands, their help, the exit codes and the first words of a refusal. Scripts run it."""

from __future__ import annotations

import re

import pytest
from golden.nets import DATA, hold, hold_json, is_writing, opt_out, read_json

COMMAND = re.compile(r"^│ ([a-z][a-z-]*)  ", re.MULTILINE)

WRONG: dict[str, tuple[list[str], dict[str, str]]] = {
    "no command": ([], {}),
    "unknown command": (["nonsense"], {}),
    "unknown option": (["run", "--nonsense"], {}),
    "run with nothing set": (["run"], {}),
    "run with two wrong settings": (["run"], {"JOIN__WINDOW": "soon", "API__AUTH": "none"}),
    "topics with nothing set": (["topics"], {}),
    "topics --partitions 0": (["topics", "--partitions", "0"], {}),
    "topics --create-inputs alone": (["topics", "--create-inputs"], {}),
    "topics --check --create-inputs": (["topics", "--check", "--create-inputs", "--partitions", "4"], {}),
    "settings, no such file": (["settings", "--config", "no-such-file.toml"], {}),
    "settings, unknown name": (["settings"], {"JOIN__WINDOWS": "1h"}),
    "settings, unknown group": (["settings"], {"JOINS__WINDOW": "1h"}),
    "settings, grace over window": (["settings"], {"JOIN__CHECKOUT_GRACE": "1h"}),
    "settings, lookback below window": (["settings"], {"JOIN__LOOKBACK": "1m"}),
    "settings, a property that breaks a promise": (
        ["settings"],
        {"KAFKA__PROPERTIES": '{"enable.auto.commit": true}'},
    ),
    "settings, a key without a secret": (["settings"], {"API__KEY": "k"}),
    "settings, all well": (["settings"], {"JOIN__WINDOW": "1h"}),
    "settings --check with nothing set": (["settings", "--check"], {}),
    "settings --check, all well": (
        ["settings", "--check"],
        {"KAFKA__BOOTSTRAP_SERVERS": "kafka:9092", "API__AUTH": "none"},
    ),
    "settings --check --schema": (["settings", "--check", "--schema"], {}),
    "settings --output, no such form": (["settings", "--output", "xml"], {}),
    "dead-letters with nothing set": (["dead-letters"], {}),
    "dead-letters --newest -1": (["dead-letters", "--newest", "-1"], {}),
    "dead-letters --newest 1 show": (["dead-letters", "--newest", "1", "show", "3:812"], {}),
    "dead-letters show, no place": (["dead-letters", "show", "812"], {}),
    "dead-letters resubmit, nothing chosen": (["dead-letters", "resubmit"], {}),
    "dead-letters resubmit, where nobody can be asked": (["dead-letters", "resubmit", "--all"], {}),
    "emulate-api --port 99999": (["emulate-api", "--port", "99999"], {}),
    "emulate-api, no such scenario": (["emulate-api", "--scenario", "nonsense"], {}),
    "emulate-api, an address of nobody": (["emulate-api", "--host", "192.0.2.1", "--port", "8081"], {}),
    "report without a range": (["report"], {}),
    "report, from behind to": (["report", "--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"], {}),
    "report --output parquet without a file": (
        ["report", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z", "--output", "parquet"],
        {},
    ),
    "export of half a day": (["export", "--from", "2026-01-01T12:00:00Z", "--to", "2026-01-02T00:00:00Z", "d"], {}),
    "help": (["--help"], {}),
    "version": (["--version"], {}),
}


def commands() -> list[str]:
    """As `opt-out --help` lists them: what stands in the box behind that of the options."""
    listed = opt_out("--help").stdout
    _, _, box = listed.partition("─ Commands ─")
    return COMMAND.findall(box)


def test_the_commands_and_their_help_of_one_line() -> None:
    hold("help/opt-out.txt", _help("--help"))


def test_a_help_file_stands_for_each_command() -> None:
    """A command that was added or taken away shows here; the help of those that stay is held by the next test."""
    found = commands()
    assert found
    if is_writing():
        for name in found:
            hold(f"help/{name}.txt", _help(name, "--help"))
    hold("commands.txt", "".join(f"{name}\n" for name in found))
    assert {path.stem for path in (DATA / "help").glob("*.txt")} == {"opt-out", *found}


@pytest.mark.parametrize("name", (DATA / "commands.txt").read_text(encoding="utf-8").split())
def test_the_help_of_each_command(name: str) -> None:
    hold(f"help/{name}.txt", _help(name, "--help"))


@pytest.mark.parametrize("name", ["show", "resubmit"])
def test_the_help_of_what_is_below_dead_letters(name: str) -> None:
    hold(f"help/dead-letters/{name}.txt", _help("dead-letters", name, "--help"))


def test_the_version_is_told_in_one_line() -> None:
    done = opt_out("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"opt-out \d+\.\d+\.\d+\n", done.stdout)


def test_every_row_of_the_exit_codes_is_there() -> None:
    if is_writing():
        hold_json("exit-codes.json", {row: _exit(row) for row in WRONG})
    assert list(read_json("exit-codes.json")) == list(WRONG)


@pytest.mark.parametrize("row", WRONG)
def test_exit_codes_and_first_words(row: str) -> None:
    if is_writing():
        pytest.skip("written by the test before")
    hold_json("exit-codes.json", read_json("exit-codes.json") | {row: _exit(row)})


def _exit(row: str) -> dict[str, object]:
    """The exit code, and the first line that says something, with the one that names the first wrong setting."""
    arguments, settings = WRONG[row]
    done = opt_out(*arguments, **{f"OPT_OUT_{name}": value for name, value in settings.items()})
    assert "Traceback" not in done.stderr
    told = "stderr" if done.stderr.strip() else "stdout"
    lines = [line.strip("│ ").rstrip() for line in getattr(done, told).splitlines()]
    # Of usage errors the message stands in a box, behind the lines on usage.
    said = [line for line in lines if line and not line.startswith(("╭", "╰", "Usage:", "Try '"))]
    first = said[:2] if said[0].endswith(":") else said[:1]
    plain = [re.sub(r"^opt-out \d+\.\d+\.\d+$", "opt-out VERSION", line) for line in first]
    return {"code": done.returncode, told: plain}


def _help(*arguments: str) -> str:
    done = opt_out(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())
