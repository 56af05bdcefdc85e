"""Properties that are given as files, what is secret of them, and a login by tokens. The rest is in test_load.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consumer.errors import SettingsError
from consumer.hiding import hide
from consumer.settings import load, read_kafka
from consumer.settings.table import rows


def config(tmp_path: Path, **properties: str) -> Path:
    file = tmp_path / "opt-out.toml"
    lines = [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in properties.items()]
    file.write_text("\n".join(["[kafka.properties]", *lines]), encoding="utf-8")
    return file


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("hush-hush\n", encoding="utf-8")
    return file


def test_a_property_is_read_from_the_file_that_its_name_with_file_names(tmp_path: Path, password: Path) -> None:
    found = load(config(tmp_path, **{"sasl.password_file": str(password), "client.id": "me"}), {})
    assert found.settings.kafka.properties == {"sasl.password": "hush-hush", "client.id": "me"}
    shown = next(row.value for row in rows(found) if row.name == "kafka.properties")
    assert shown == "client.id=me, sasl.password=(hidden)"
    assert hide(f"hush-hush of {password}") == f"*** of {password}", "the content is secret, and not where it stands"


def test_it_may_be_given_in_the_environment_too(password: Path) -> None:
    variable = {"OPT_OUT_KAFKA__PROPERTIES": json.dumps({"sasl.password_file": str(password)})}
    assert load(None, variable).settings.kafka.properties == {"sasl.password": "hush-hush"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sasl.password_file": "/no/such.file"}, "sasl.password_file names a file that cannot be read"),
        ({"sasl.password_file": "hush-hush", "sasl.password": "x"}, "sasl.password and sasl.password_file are both"),
        ({"sasl.password_file": "\0"}, "cannot be read"),
        ({"enable.auto.commit_file": "FILE"}, "enable.auto.commit is refused"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(
    tmp_path: Path, password: Path, given: dict[str, str], words: str
) -> None:
    given = {name: value.replace("FILE", str(password)) for name, value in given.items()}
    with pytest.raises(SettingsError) as caught:
        load(config(tmp_path, **given), {})
    assert words in str(caught.value)
    assert "hush-hush" not in str(caught.value)


def test_a_file_in_another_encoding_is_refused_without_its_content(tmp_path: Path, password: Path) -> None:
    password.write_bytes("hush-hush".encode("utf-16"))
    with pytest.raises(SettingsError, match=r"sasl\.password_file names a file which is in UTF-16"):
        load(config(tmp_path, **{"sasl.password_file": str(password)}), {})


def test_a_secret_that_is_given_as_the_name_of_its_file_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(config(tmp_path, **{"sasl.password_file": "hush-hush"}), {})
    assert "hush-hush" not in str(caught.value)


def test_the_settings_of_kafka_are_read_again_by_themselves(tmp_path: Path, password: Path) -> None:
    file = config(tmp_path, **{"sasl.password_file": str(password)})
    file.write_text(file.read_text() + "\n[join]\nwindow = 'wrong'\n")
    password.write_text("changed")
    assert read_kafka(file, {}).properties == {"sasl.password": "changed"}, "what is wrong elsewhere does not matter"
    assert hide("it is changed") == "it is ***"
    password.unlink()
    with pytest.raises(SettingsError, match=r"OPT_OUT_KAFKA__PROPERTIES \(kafka\.properties in a TOML file\).*_file"):
        read_kafka(file, {})
    file.write_text("[kafka")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_kafka(file, {})


def test_a_token_sets_how_to_log_in(tmp_path: Path) -> None:
    variables = {"OPT_OUT_KAFKA__TOKEN": "aws-msk-iam"}
    assert load(config(tmp_path, **{"client.id": "me"}), variables).settings.kafka.properties == {
        "client.id": "me",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
    }
    for name in ("security.protocol", "sasl.mechanism", "sasl.password"):
        with pytest.raises(SettingsError, match=rf"{name} is refused with kafka\.token = aws-msk-iam"):
            load(config(tmp_path, **{name: "x"}), variables)
    with pytest.raises(SettingsError, match=r"kafka\.token"):
        load(None, {"OPT_OUT_KAFKA__TOKEN": "gcp"})


def test_without_a_token_nobody_gives_tokens_but_an_issuer(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"needs sasl\.oauthbearer\.method oidc, or kafka\.token"):
        load(config(tmp_path, **{"sasl.mechanism": "OAUTHBEARER"}), {})
