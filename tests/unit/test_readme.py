"""What the README names is there: settings and their defaults, examples, commands, lines of the log, a figure."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import typer.main

from consumer.cli import app
from consumer.core.checkpoint import METADATA_LIMIT, OfferCheckpoint
from consumer.runtime.releases import read
from consumer.settings import Settings, load_settings
from consumer.settings.durations import format_duration
from consumer.settings.load import SECRETS, names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOML = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
SETTINGS = {f"{group}.{name}" for group, name in names()}


def shown(default: object) -> str:
    if default in (None, "", (), {}):
        return ""
    return f"`{format_duration(default) if isinstance(default, timedelta) else default}`"


def test_the_table_of_settings_names_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (\S*) ?\|", README, re.MULTILINE)
    expected = [
        (f"{group}.{name}", shown(setting.get_default(call_default_factory=True)))
        for group, fields in Settings.model_fields.items()
        for name, setting in fields.annotation.model_fields.items()  # type: ignore[union-attr]
    ]
    assert rows == expected


def test_every_setting_named_in_the_text_exists() -> None:
    named = set(re.findall(rf"`((?:{'|'.join(Settings.model_fields)})\.\w+)[ `]", README))
    assert len(named) > 10
    assert named <= SETTINGS


def test_every_variable_named_in_the_text_exists() -> None:
    known = {f"OPT_OUT_{name.upper().replace('.', '__')}" for name in SETTINGS | {f"{n}_file" for n in SECRETS}}
    named = set(re.findall(r"OPT_OUT_\w+", README))
    assert named
    assert named <= known


def test_the_toml_example_starts_the_service(tmp_path: Path) -> None:
    (example,) = [text for text in TOML if "[kafka]" in text]
    config = tmp_path / "opt-out.toml"
    config.write_text(example, encoding="utf-8")
    settings = load_settings(config, {}, for_kafka=True, for_api=True)
    assert settings.api.credentials.keys() == {"ACME"}


def test_the_example_of_a_release_file_lets_an_offer_go() -> None:
    (example,) = [text for text in TOML if "[[release]]" in text]
    assert list(read(example.encode())) == [("ACME", "o-4711")]


def test_every_command_and_make_target_named_in_the_text_exists() -> None:
    commands = set(re.findall(r"(?:`|bin/)opt-out ([a-z-]+)", README))
    targets = set(re.findall(r"(?:`|^|thorough )make ([a-z]+)", README, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"run", "topics", "settings"} <= commands
    assert commands <= set(typer.main.get_group(app).list_commands(None))  # type: ignore[arg-type]
    assert {"demo", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_every_line_of_the_log_that_is_explained_is_written_by_the_code() -> None:
    table = README.partition("ask for a person")[2].partition("\n## ")[0]
    lines = [line for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for line in re.findall(r"`(.+?)`", row)]
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "consumer").rglob("*.py"))
    assert len(lines) > 10
    assert [line for line in lines if f'"{line}' not in code] == []


def test_a_thousand_unsettled_offers_one_in_five_thousand_fit_the_metadata() -> None:
    assert "1,000 offers a partition, even scattered one in 5,000" in README
    committed = 10**10
    unsettled = frozenset(range(committed, committed + 1_000 * 5_000, 5_000))
    rules = (30 * 60_000, 60_000, 120 * 60_000, True)
    end = committed + 10**8
    checkpoint = OfferCheckpoint(rules, 1_000, 1_790_000_000_000, end, end, unsettled=unsettled)
    assert len(checkpoint.encode(committed)) <= METADATA_LIMIT
