"""The command line: help, exit codes, and errors as words and not as tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.run_command import opt_out

from consumer import __version__, cli
from consumer.errors import OptOutError, SettingsError, StartError
from consumer.runbook import command_for, entry_of_error

COMMANDS = ["run", "demo", "emulate-api", "topics", "positions", "map", "doctor", "settings", "manual", "dead-letters"]


def test_the_version_is_printed() -> None:
    done = opt_out("--version")
    assert (done.returncode, done.stdout) == (0, f"opt-out {__version__}\n")


def test_the_help_lists_every_command() -> None:
    done = opt_out("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", [*COMMANDS, "dead-letters show", "dead-letters resubmit"])
def test_the_help_of_each_command_has_an_example(command: str) -> None:
    done = opt_out(*command.split(), "--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout
    assert f"opt-out {command}" in done.stdout


def test_help_loads_neither_kafka_nor_a_web_server() -> None:
    code = (
        "import sys\nfrom consumer import cli\nsys.argv = ['opt-out', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('confluent_kafka', 'uvicorn', 'httpx', 'pydantic') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"


THREADS_IN_A_LIBRARY = """
import atexit, ssl, sys, threading, time
import certifi

def load():
    while True:
        ssl.create_default_context(cafile=certifi.where())

for _ in range(4):
    threading.Thread(target=load, daemon=True).start()
atexit.register(print, "the interpreter's own end")
time.sleep(0.2)
"""
"""The interpreter's own end frees what the threads are loading: it ends by signal 11 more often than not."""


@pytest.mark.parametrize(
    ("ends", "code", "says"),
    [
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit()", 0, ""),
        ("raise StartError('said')", 1, "opt-out: said"),
        ("raise RuntimeError('a bug')", 1, "RuntimeError: a bug"),
        ("print('written')", 0, ""),
    ],
)
def test_a_thread_that_is_at_work_in_a_library_does_not_crash_the_end(ends: str, code: int, says: str) -> None:
    script = THREADS_IN_A_LIBRARY + (
        "from consumer import cli\nfrom consumer.errors import StartError\n"
        f"def app():\n    {ends}\ncli.app = app\ncli.program()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert done.stdout == ("written\n" if "written" in ends else "")


@pytest.mark.parametrize(
    ("arguments", "code"), [("manual >&-", 0), ("manual 2>&-", 0), ("manual nonsense >&-", 2), ("run >&-", 2)]
)
def test_a_stream_that_was_closed_at_the_start_changes_no_exit_code(arguments: str, code: int) -> None:
    """Python has None for such a stream."""
    command = f"{sys.executable} -m consumer {arguments}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["topics", "--partitions", "0"],
        ["topics", "--create-inputs"],
        ["topics", "--check", "--create-inputs", "--partitions", "4"],
        ["emulate-api", "--port", "99999"],
        ["manual", "nonsense"],
        ["dead-letters", "show", "812"],
        ["dead-letters", "resubmit"],
        ["dead-letters", "resubmit", "--all"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    done = opt_out(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_wrong_settings_exit_2_and_say_which_without_a_traceback() -> None:
    done = opt_out("run", OPT_OUT_JOIN__WINDOW="soon", OPT_OUT_API__AUTH="none")
    assert done.returncode == 2
    assert "2 settings are wrong" in done.stderr
    assert "OPT_OUT_JOIN__WINDOW (join.window in a TOML file) is 'soon'" in done.stderr
    assert "OPT_OUT_KAFKA__BOOTSTRAP_SERVERS" in done.stderr
    assert done.stderr.endswith("opt-out: see `opt-out manual runbook#settings-are-wrong`\n")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_url_with_a_password_is_refused_without_it() -> None:
    done = opt_out("settings", OPT_OUT_API__BASE_URL="https://user:s3cret@api.xcover.com/x")
    assert done.returncode == 2
    assert "https://***@api.xcover.com/x" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


LAST_WORDS = """
import logging, threading
from consumer import cli, hiding
hiding.IN_USE.learn(["the+s3cret"])
def fail():
    raise ValueError("http://user:s3cret@proxy and the%2Bs3cret")
def main():
    logging.getLogger("librdkafka.reader").warning("no log is set up: the+s3cret")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    class Broken:
        def __del__(self):
            fail()
    Broken()
    fail()
cli.main = main
cli.program()
"""


def test_what_goes_past_the_log_has_no_secret_either(tmp_path: Path) -> None:
    """Run from a file whose lines a traceback does not find: what it says of the source is not what is tested."""
    program = "import sys\nexec(compile(sys.stdin.read(), 'gone', 'exec'))"
    done = subprocess.run(
        [sys.executable, "-c", program], input=LAST_WORDS, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("ValueError: http://***@proxy and ***") == 3
    assert "no log is set up: ***" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_topics_needs_brokers_but_no_credentials() -> None:
    done = opt_out("topics")
    assert done.returncode == 2
    assert "OPT_OUT_KAFKA__BOOTSTRAP_SERVERS" in done.stderr
    assert "API" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_can_be_had_for_a_shell_that_is_named_wherever_that_is(shell: str) -> None:
    done = opt_out("--show-completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_COMPLETE" in done.stdout


def test_the_completion_of_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """As the script asks for it, by the program that is installed, whose last words would be lost if it ended early."""
    program = Path(sys.executable).with_name("opt-out")
    for words, found in [("opt-out pos", ["positions"]), ("opt-out settings --sch", ["--schema"])]:
        asked = {"_OPT_OUT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = subprocess.run([program], capture_output=True, text=True, timeout=60, env=os.environ | asked, check=True)
        assert done.stdout.split() == found


@pytest.mark.parametrize(("error", "code"), [(SettingsError("s"), 2), (StartError("s"), 1), (OptOutError("s"), 1)])
def test_errors_of_the_project_exit_1_those_of_settings_2(
    error: OptOutError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == code
    message, runbook = capsys.readouterr().err.splitlines()
    assert message == "opt-out: s"
    assert runbook == f"opt-out: see `{command_for(entry_of_error(error))}`"
