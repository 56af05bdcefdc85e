"""The settings of the registry: what is refused, and that its secrets are in no text."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import certificates

from consumer.errors import SettingsError
from consumer.settings import Settings, load_settings
from consumer.settings.load import load
from consumer.settings.table import rows

URL = {"OPT_OUT_AVRO__REGISTRY_URL": "https://registry:8081"}


def settings(**variables: str) -> Settings:
    return load_settings(None, URL | {f"OPT_OUT_{name}": text for name, text in variables.items()})


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(None, {f"OPT_OUT_{name}": text for name, text in environ.items()})
    return str(caught.value)


@pytest.mark.parametrize("name", ["AVRO__FORMAT", "AVRO__OUTCOME_FORMAT", "INPUT__OFFERS__FORMAT"])
def test_a_url_is_needed_where_a_registry_is_asked(name: str) -> None:
    assert f"AVRO__REGISTRY_URL (avro.registry_url in a TOML file) is not set, and {_of(name)} is registry" in refused(
        {name: "registry"}
    )
    assert settings(**{name: "registry"}).needs_registry == _of(name)
    assert settings().needs_registry is None


def _of(name: str) -> str:
    return name.lower().replace("__", ".")


def test_an_input_may_be_told_apart_from_the_other_one() -> None:
    found = settings(AVRO__FORMAT="registry", INPUT__OFFERS__FORMAT="json")
    assert not found.has_ids(found.input.offers)
    assert found.has_ids(found.input.checkouts)
    assert settings(INPUT__CHECKOUTS__FORMAT="registry").needs_registry == "input.checkouts.format"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("registry:8081", "must be an http or https URL"),
        ("ftp://registry", "must be an http or https URL"),
        ("http://a, registry", "must be an http or https URL"),
        ("http://a,", "must be an http or https URL"),
        ("http://", "must be an http or https URL"),
        ("http://a:port", "must be an http or https URL"),
        ("http://a b", "must be an http or https URL"),
        ("http://a?x=1", "no query"),
        ("http://me:hush-hush@a", "no user name in it"),
    ],
)
def test_a_wrong_url_is_refused_and_no_password_of_it_is_shown(url: str, words: str) -> None:
    message = refused({"AVRO__REGISTRY_URL": url})
    assert words in message
    assert "hush-hush" not in message


def test_several_urls_are_taken() -> None:
    assert load_settings(None, {"OPT_OUT_AVRO__REGISTRY_URL": "http://a:1/x, https://b"}).avro.registry_url is not None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AVRO__REGISTRY_USER": "me"}, "belong together"),
        ({"AVRO__REGISTRY_PASSWORD": "hush-hush"}, "belong together"),
        ({"AVRO__REGISTRY_USER": "a:b", "AVRO__REGISTRY_PASSWORD": "hush-hush"}, "no colon"),
        (
            {"AVRO__REGISTRY_USER": "me", "AVRO__REGISTRY_PASSWORD": "p", "AVRO__REGISTRY_TOKEN": "hush-hush"},
            "excludes avro.registry_user",
        ),
        ({"AVRO__REGISTRY_TOKEN": "hush-hush \u00e4"}, "printable ASCII"),
        ({"AVRO__REGISTRY_CA_FILE": "/none.pem"}, "cannot be read"),
        ({"AVRO__REGISTRY_CLIENT_CERTIFICATE": "/none.pem"}, "cannot be read"),
        ({"AVRO__REGISTRY_CLIENT_KEY": "/none.pem"}, "is of no use without it"),
        ({"AVRO__OUTCOME_FORMAT": "framed"}, "'plain' or 'registry'"),
        ({"AVRO__REGISTRY_ALLOW_PLAIN_HTTP": "perhaps"}, "AVRO__REGISTRY_ALLOW_PLAIN_HTTP"),
    ],
)
def test_what_does_not_fit_is_refused(environ: dict[str, str], words: str) -> None:
    message = refused(environ)
    assert words in message
    assert "hush-hush" not in message


@pytest.mark.parametrize(
    "secret", [{"REGISTRY_USER": "me", "REGISTRY_PASSWORD": "hush-hush"}, {"REGISTRY_TOKEN": "hush-hush"}]
)
def test_what_is_secret_goes_to_another_machine_by_tls_unless_it_is_said_to_be_safe(secret: dict[str, str]) -> None:
    given = {f"AVRO__{name}": text for name, text in secret.items()}
    for url in ("http://registry:8081", "https://registry:8081, http://other:8081"):
        message = refused({"AVRO__REGISTRY_URL": url, **given})
        assert "in plain text, since avro.registry_url begins with http://" in message
        assert f"avro.{list(secret)[-1].lower()} would go to {'other' if ',' in url else 'registry'}" in message
        assert "avro.registry_allow_plain_http to true" in message
        assert "hush-hush" not in message
        settings(AVRO__REGISTRY_URL=url, AVRO__REGISTRY_ALLOW_PLAIN_HTTP="true", **given)
        assert settings(AVRO__REGISTRY_URL=url).avro.registry_url == url, "nothing is secret"
    for url in ("http://127.0.0.1:8081", "http://localhost", "http://[::1]:1", "https://registry"):
        settings(AVRO__REGISTRY_URL=url, **given)


def test_certificates_are_tried(tmp_path: Path) -> None:
    for name in ("AUTHORITY", "CLIENT", "CLIENT_KEY", "SERVER_KEY"):
        (tmp_path / name).write_text(getattr(certificates, name))
    found = settings(
        AVRO__REGISTRY_CA_FILE=str(tmp_path / "AUTHORITY"),
        AVRO__REGISTRY_CLIENT_CERTIFICATE=str(tmp_path / "CLIENT"),
        AVRO__REGISTRY_CLIENT_KEY=str(tmp_path / "CLIENT_KEY"),
    )
    assert found.avro.registry_client_certificate == tmp_path / "CLIENT"
    message = refused(
        {
            "AVRO__REGISTRY_CLIENT_CERTIFICATE": str(tmp_path / "CLIENT"),
            "AVRO__REGISTRY_CLIENT_KEY": str(tmp_path / "SERVER_KEY"),
        }
    )
    assert "do not belong together" in message


def test_secrets_are_hidden_and_may_be_files(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hush-hush\n")
    loaded = load(None, URL | {"OPT_OUT_AVRO__REGISTRY_TOKEN_FILE": str(file)})
    assert loaded.settings.avro.registry_token is not None
    assert loaded.settings.avro.registry_token.get_secret_value() == "hush-hush"
    shown = {row.name: row.value for row in rows(loaded)}
    assert shown["avro.registry_token"] == "(hidden)"
    assert "hush-hush" not in repr(loaded)
