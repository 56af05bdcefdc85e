"""The files of the API's secrets: what is a change, what is none and is said, and that nothing secret is ever said."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from consumer.hiding import IN_USE, hide
from consumer.settings import ApiSettings, load
from consumer.xcover.secret_files import INTERVAL, SecretFiles


@pytest.fixture(autouse=True)
def _forgets() -> Iterator[None]:
    yield
    IN_USE.forget()


class Watched:
    """Files that a start has read, and looks at them a second apart."""

    def __init__(self, folder: Path, **contents: str) -> None:
        self.folder = folder
        for name, content in contents.items():
            self.write(name, content)
        environ = {f"OPT_OUT_API__{name.upper()}_FILE": str(folder / name) for name in contents}
        if "key" not in contents and "secret" in contents:
            environ["OPT_OUT_API__KEY"] = "the-key"
        self.loaded = load(None, environ)
        self.files = SecretFiles(self.loaded.files, self.loaded.settings.api)
        self.now = 0.0

    def write(self, name: str, content: str | bytes) -> None:
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def look(self) -> ApiSettings | None:
        self.now += INTERVAL
        return self.files.look(self.now)

    def said(self) -> list[dict[str, Any]]:
        """The lines of the next look, which finds nothing to take over."""
        with structlog.testing.capture_logs() as logs:
            assert self.look() is None
        return list(logs)


def secret_of(found: ApiSettings | None) -> str:
    assert found is not None
    assert found.secret is not None
    return found.secret.get_secret_value()


def test_a_new_secret_is_told_once_and_hidden_from_then_on(tmp_path: Path) -> None:
    watched = Watched(tmp_path, secret="the-old-one\n")
    assert watched.look() is None
    watched.write("secret", "the-new-one\r\n")
    assert secret_of(watched.look()) == "the-new-one"
    assert hide("the-new-one and the-old-one") == "*** and ***"
    assert watched.look() is None


def test_it_is_looked_at_once_a_second(tmp_path: Path) -> None:
    watched = Watched(tmp_path, secret="old")
    assert watched.look() is None
    watched.write("secret", "new")
    assert watched.files.look(watched.now + INTERVAL - 0.01) is None
    assert secret_of(watched.files.look(watched.now + INTERVAL)) == "new"


def test_what_changed_between_the_start_and_the_first_look_is_told(tmp_path: Path) -> None:
    watched = Watched(tmp_path, secret="old")
    watched.write("secret", "new")
    assert secret_of(watched.look()) == "new"


def test_a_link_above_the_file_may_be_swapped_as_kubernetes_does(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(f"secret-{name}")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "secret").symlink_to("..data/secret")
    loaded = load(None, {"OPT_OUT_API__KEY": "k", "OPT_OUT_API__SECRET_FILE": str(tmp_path / "secret")})
    files = SecretFiles(loaded.files, loaded.settings.api)
    assert files.look(1.0) is None
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", tmp_path / "..data")
    assert secret_of(files.look(2.0)) == "secret-two"


@pytest.mark.parametrize(
    "content",
    ["", " \n", "se\u00a0cret-x", b"\xff\xfesecret-x", '"secret-x"'],
    ids=["empty", "blanks", "unseen", "UTF-16", "quotes"],
)
def test_what_cannot_be_meant_is_no_change_and_is_said_once_without_it(tmp_path: Path, content: str | bytes) -> None:
    watched = Watched(tmp_path, secret="old-secret")
    assert watched.look() is None
    watched.write("secret", content)
    (line,) = watched.said()
    assert line["event"].startswith("new credentials not taken over")
    assert "api.secret" in line["error"]
    assert "secret-x" not in line["error"]
    assert watched.said() == []
    watched.write("secret", "new-secret")
    assert secret_of(watched.look()) == "new-secret"


def test_a_file_that_is_gone_is_no_change_and_the_same_one_again_is_none_either(tmp_path: Path) -> None:
    watched = Watched(tmp_path, secret="old")
    (tmp_path / "secret").unlink()
    (line,) = watched.said()
    assert "No such file" in line["error"]
    assert str(tmp_path / "secret") in line["error"]
    watched.write("secret", "old")
    assert watched.said() == []


def test_a_key_and_a_secret_in_two_files_are_read_as_a_pair_each_time(tmp_path: Path) -> None:
    watched = Watched(tmp_path, key="old-key", secret="old-secret")
    watched.write("key", "new-key")
    half = watched.look()
    assert half is not None
    assert (half.key, secret_of(half)) == ("new-key", "old-secret")
    watched.write("secret", "new-secret")
    whole = watched.look()
    assert whole is not None
    assert (whole.key, secret_of(whole)) == ("new-key", "new-secret")


def test_credentials_of_partners_are_read_as_at_a_start(tmp_path: Path) -> None:
    watched = Watched(tmp_path, credentials=json.dumps({"P": {"key": "k", "secret": "old-secret"}}))
    watched.write(
        "credentials", json.dumps({"P": {"key": "k", "secret": "new-secret"}, "Q": {"key": "q", "secret": "s2"}})
    )
    found = watched.look()
    assert found is not None
    assert {code: one.secret.get_secret_value() for code, one in found.credentials.items()} == {
        "P": "new-secret",
        "Q": "s2",
    }
    assert hide("it is new-secret") == "it is ***"


@pytest.mark.parametrize(
    "content", ['{"P": {"key": "k", "secret": "hush-hush', '{"P": {"key": "k"}}', '["hush-hush"]', "{}x"]
)
def test_half_a_file_of_credentials_is_no_change(tmp_path: Path, content: str) -> None:
    watched = Watched(tmp_path, credentials=json.dumps({"P": {"key": "k", "secret": "old-secret"}}))
    watched.write("credentials", content)
    (line,) = watched.said()
    assert "api.credentials" in line["error"]
    assert "hush-hush" not in line["error"]


def test_a_key_that_fits_no_header_is_refused_as_at_a_start(tmp_path: Path) -> None:
    watched = Watched(tmp_path, key="old-key", secret="s1")
    watched.write("key", "a key")
    (line,) = watched.said()
    assert "api.key" in line["error"]
    assert "a key" not in line["error"]


def test_what_a_later_source_gives_is_of_no_file(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    (tmp_path / "secret").write_text("from-the-file")
    config.write_text(f'[api]\nkey = "k"\nsecret_file = "{tmp_path / "secret"}"\n')
    assert load(config, {}).files == {"api.secret": tmp_path / "secret"}
    assert load(config, {"OPT_OUT_API__SECRET": "given"}).files == {}
