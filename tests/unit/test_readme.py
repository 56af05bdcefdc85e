"""What the README, the manual and the page about the tests name is there: settings, examples, commands, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
from support.documents import DOCUMENTS, ROOT, TEXT, examples

from consumer.cli import app
from consumer.core.checkpoint import METADATA_LIMIT, OfferCheckpoint
from consumer.manual import headings
from consumer.settings import Settings, load_settings
from consumer.settings.model import SECRETS, names
from consumer.settings.release_file import read

README = (ROOT / "README.md").read_text(encoding="utf-8")
SETTINGS = {f"{group}.{name}" for group, name in names()}


def prose(path: Path) -> str:
    """The text of a document, less its blocks of code."""
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def names_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_readme_takes_ten_minutes() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("path", DOCUMENTS, ids=names_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", prose(path))
    missing = []
    for link in links:
        target, _, anchor = link.partition("#")
        assert ":" not in target, f"{link}: everything that is needed stands in this tree"
        file = (path.parent / target).resolve() if target else path
        anchors = (
            {heading.anchor for heading in headings(file.read_text(encoding="utf-8"))} if file.is_file() else set()
        )
        if not file.is_file() or (anchor and anchor not in anchors):
            missing.append(link)
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=names_of)
def test_no_two_headings_of_a_document_are_called_alike(path: Path) -> None:
    anchors = [heading.anchor for heading in headings(path.read_text(encoding="utf-8"))]
    assert len(anchors) == len(set(anchors))


def test_every_setting_named_in_the_text_exists() -> None:
    named = set(re.findall(rf"`((?:{'|'.join(Settings.model_fields)})\.\w+)[ `]", TEXT))
    files = {path.name for path in ROOT.rglob("consumer/**/*.py")}
    assert len(named) > 30
    known = SETTINGS | {f"{name}_file" for name in SECRETS} | files
    assert named - known == set()


def test_every_variable_named_in_the_text_exists() -> None:
    known = {f"OPT_OUT_{name.upper().replace('.', '__')}" for name in SETTINGS | {f"{n}_file" for n in SECRETS}}
    named = set(re.findall(r"OPT_OUT_[A-Z]\w+", TEXT))
    assert named
    assert named <= known


def test_the_toml_example_starts_the_service(tmp_path: Path) -> None:
    (example,) = [text for text in examples("toml") if "[kafka]" in text and "[api]" in text]
    config = tmp_path / "opt-out.toml"
    password = tmp_path / "password"
    password.write_text("hush")
    config.write_text(example.replace("/run/secrets/kafka-password", str(password)), encoding="utf-8")
    settings = load_settings(config, {}, for_kafka=True, for_api=True)
    assert settings.api.credentials.keys() == {"ACME"}
    assert settings.kafka.properties["sasl.password"] == "hush"


def test_the_example_of_a_release_file_lets_an_offer_go() -> None:
    (example,) = [text for text in examples("toml") if "[[release]]" in text]
    assert list(read(example.encode())) == [("ACME", "o-4711")]


def test_the_example_that_reads_the_metadata_names_what_there_is() -> None:
    (example,) = [text for text in examples("python") if "OfferCheckpoint" in text]
    imports = "\n".join(line for line in example.splitlines() if line.startswith("from "))
    found: dict[str, object] = {}
    exec(imports, found)
    assert found["OfferCheckpoint"] is OfferCheckpoint
    assert callable(OfferCheckpoint.decode)


def test_every_command_and_make_target_named_in_the_text_exists() -> None:
    commands = set(re.findall(r"(?:`|bin/)opt-out ([a-z][a-z-]*)", TEXT))
    targets = set(re.findall(r"(?:`|^|thorough )make ([a-z]+)", TEXT, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    there = set(typer.main.get_group(app).list_commands(None))  # type: ignore[arg-type]
    assert commands == there
    assert {"demo", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_every_path_that_the_page_of_the_nets_names_is_there() -> None:
    page = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|consumer)/[\w./-]+)`", page))
    assert len(named) > 10
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_the_readme_lists_every_command() -> None:
    rows = re.findall(r"^\| `opt-out ([a-z-]+)` \|", README, re.MULTILINE)
    assert sorted(rows) == sorted(typer.main.get_group(app).list_commands(None))  # type: ignore[arg-type]


def test_every_line_of_the_log_that_a_table_of_failures_names_is_written_by_the_code() -> None:
    page = (ROOT / "consumer" / "manual" / "failure-modes.md").read_text(encoding="utf-8")
    # The last column; there, what is not a line of the log is a field of one.
    named = {
        name
        for row in re.findall(r"^\|.*\|(.*?)\|$", page, re.MULTILINE)
        for name in re.findall(r"`([a-zA-Z _]+)`", row)
    }
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "consumer").rglob("*.py"))
    assert len(named) > 15
    assert {name for name in named if f'"{name}' not in code and f"{name}=" not in code} == set()


def test_a_thousand_unsettled_offers_one_in_five_thousand_fit_the_metadata() -> None:
    assert "1,000 offers a partition, even scattered one in 5,000" in " ".join(TEXT.split())
    committed = 10**10
    unsettled = frozenset(range(committed, committed + 1_000 * 5_000, 5_000))
    rules = (30 * 60_000, 60_000, 120 * 60_000, True)
    end = committed + 10**8
    checkpoint = OfferCheckpoint(rules, 1_000, 1_790_000_000_000, end, end, unsettled=unsettled)
    assert len(checkpoint.encode(committed)) <= METADATA_LIMIT


def test_the_way_of_an_offer_names_files_and_methods_that_exist() -> None:
    page = (ROOT / "consumer" / "manual" / "way-of-an-offer.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", page))
    assert len(files) > 20
    assert {name for name in files if not (ROOT / "consumer" / name).is_file()} == set()
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "consumer").rglob("*.py"))
    for name in set(re.findall(r"`(?:[A-Z]\w+\.)?([a-z_]+)`", page)) | set(re.findall(r"`([A-Z][a-z]\w+)", page)):
        assert re.search(rf"(def|class) {name}\b", code), name


def test_the_map_of_the_source_names_every_room() -> None:
    block = README.partition("## The source")[2].partition("```")[2].partition("```")[0]
    rooms = {path.parent.name for path in (ROOT / "consumer").glob("*/*.py")}
    assert rooms <= set(re.findall(r"(\w+)/ ", block))
