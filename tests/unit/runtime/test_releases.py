"""The release file: what it may say, when it is read, and what a wrong one does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog

from consumer.errors import SettingsError
from consumer.runtime.releases import Releases

ENTRY = '[[release]]\npartner_code = "ACME"\noffer_id = "o-1"\nwho = "on call"\nwhy = "gone at the insurer"\n'
OTHER = ENTRY.replace("o-1", "o-2")
NOTE = "released by on call: gone at the insurer"


def file(folder: Path, text: str) -> Path:
    path = folder / "release.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_entry_names_an_offer_and_who_let_it_go_and_why(tmp_path: Path) -> None:
    assert Releases(file(tmp_path, ENTRY + OTHER)).notes == {("ACME", "o-1"): NOTE, ("ACME", "o-2"): NOTE}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "release = []\n"])
def test_an_empty_file_lets_nothing_go(tmp_path: Path, text: str) -> None:
    assert Releases(file(tmp_path, text)).notes == {}


def test_without_a_file_nothing_is_let_go() -> None:
    releases = Releases(None)
    assert (releases.notes, releases.changed(100.0)) == ({}, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ENTRY.replace('who = "on call"\n', ""), "entry 1 (ACME/o-1): who is missing"),
        (OTHER + ENTRY.replace("why", "because"), "entry 2 (ACME/o-1): why is missing"),
        (ENTRY.replace("why", "because"), "entry 1 (ACME/o-1): because is not known here"),
        (ENTRY.replace("gone at the insurer", "  "), "entry 1 (ACME/o-1): why should have at least 1 character"),
        (ENTRY.replace('"ACME"', '""'), "entry 1 (/o-1): partner_code should have at least 1 character"),
        (ENTRY.replace('"o-1"', "4711"), "entry 1 (ACME/4711): offer_id should be a valid string"),
        (ENTRY.replace('offer_id = "o-1"\n', ""), "entry 1 (ACME/?): offer_id is missing"),
        (ENTRY.replace("gone", "x" * 600), "why should have at most 500 characters"),
        (ENTRY.replace("[[release]]", "[release]"), "release is not a list: write [[release]]"),
        ("release = [1]", "entry 1: it should be a valid dictionary"),
        (ENTRY + ENTRY, "entry 2 (ACME/o-1): the offer is named twice"),
        ("[[releases]]\n", "releases is not known here"),
        ('[[release]]\npartner_code = "ACME', "it is not TOML"),
    ],
)
def test_a_wrong_file_stops_the_start_and_says_which_entry_is_wrong_and_what_is_right(
    tmp_path: Path, text: str, expected: str
) -> None:
    path = file(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        Releases(path)
    said = str(caught.value)
    for part in (expected, str(path), "OPT_OUT_DELIVERY__RELEASE_FILE", "delivery.release_file"):
        assert part in said
    assert "named twice" in said or "each [[release]] has partner_code, offer_id, who and why" in said


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    wrong = ENTRY.replace('who = "on call"', "") + OTHER.replace('why = "gone at the insurer"', "")
    with pytest.raises(SettingsError, match=r"entry 1 .*who is missing; entry 2 .*why is missing"):
        Releases(file(tmp_path, wrong))


def test_a_file_that_is_named_and_missing_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: No such file.*may be empty"):
        Releases(tmp_path / "nowhere.toml")


def test_a_file_that_is_not_text_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "release.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is in UTF-16"):
        Releases(path)
    path.write_bytes(b"\xfc")
    with pytest.raises(SettingsError, match="fc as byte 1, which is not UTF-8"):
        Releases(path)


def test_a_change_is_read_and_an_unchanged_file_is_not(tmp_path: Path) -> None:
    path = file(tmp_path, ENTRY)
    releases = Releases(path)
    assert not releases.changed(10.0)
    file(tmp_path, ENTRY + OTHER)
    assert releases.changed(11.0)
    assert ("ACME", "o-2") in releases.notes
    assert not releases.changed(12.0)


def test_the_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    releases = Releases(file(tmp_path, ""))
    assert not releases.changed(10.0)
    file(tmp_path, ENTRY)
    assert not releases.changed(10.9)
    assert releases.changed(11.0)


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path) -> None:
    path = file(tmp_path, ENTRY)
    before = path.stat()
    releases = Releases(path)
    path.write_text(OTHER, encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert releases.changed(10.0)
    assert list(releases.notes) == [("ACME", "o-2")]


def test_a_link_that_is_turned_to_another_file_is_a_change(tmp_path: Path) -> None:
    for name, text in (("one", ENTRY), ("two", OTHER)):
        (tmp_path / name).mkdir()
        file(tmp_path / name, text)
    link = tmp_path / "data"
    link.symlink_to("one")
    releases = Releases(link / "release.toml")
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(link)
    assert releases.changed(10.0)
    assert list(releases.notes) == [("ACME", "o-2")]


@pytest.mark.parametrize("wrong", ['[[release]]\npartner_code = "ACME"\n', "[[rel", None])
def test_a_file_that_becomes_wrong_or_goes_away_changes_nothing_and_is_reported_once(
    tmp_path: Path, wrong: str | None
) -> None:
    path = file(tmp_path, ENTRY)
    releases = Releases(path)
    path.unlink() if wrong is None else path.write_text(wrong, encoding="utf-8")
    with structlog.testing.capture_logs() as logs:
        assert not releases.changed(10.0)
        assert not releases.changed(20.0)
        assert [(line["log_level"], line["file"], line["entries"]) for line in logs] == [("warning", str(path), 1)]
        assert "is missing" in logs[0]["error"] or "not TOML" in logs[0]["error"] or "No such file" in logs[0]["error"]
        assert releases.notes == {("ACME", "o-1"): NOTE}
        file(tmp_path, OTHER)
        assert releases.changed(30.0), "a good file is taken over again"
    assert list(releases.notes) == [("ACME", "o-2")]
