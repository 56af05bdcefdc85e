"""`opt-out settings` for scripts: plain columns, JSON, a check, and the schema of the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.run_command import opt_out

from consumer.settings.schema import toml_schema

RUNS = {"OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "OPT_OUT_API__AUTH": "none"}
"""Settings that `run` takes."""

HUSH = {"OPT_OUT_API__KEY": "hush-key", "OPT_OUT_API__SECRET": "hush-secret", "https_proxy": "http://u:hush@proxy:3128"}


def test_values_and_sources_are_shown_in_plain_columns_and_secrets_hidden(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[join]\nlateness = "7m"\n')
    done = opt_out("settings", "--config", str(config), OPT_OUT_JOIN__WINDOW="1h", **HUSH)
    assert done.returncode == 0, done.stderr
    assert "hush" not in done.stdout + done.stderr
    assert not set("│┃─━") & set(done.stdout)
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert rows["join.window"].split()[1:3] == ["1h", "environment"]
    assert rows["join.lateness"].split()[1:4] == ["7m", "file", str(config)]
    assert rows["join.lookback"].split()[1:3] == ["2h", "default"]
    assert rows["api.secret"].split()[1] == "(hidden)"
    assert "calls go through this proxy" in rows["https_proxy"]


def test_json_has_what_the_table_has() -> None:
    plain = opt_out("settings", OPT_OUT_JOIN__WINDOW="90m", **HUSH)
    done = opt_out("settings", "--output", "json", OPT_OUT_JOIN__WINDOW="90m", **HUSH)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hush" not in done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    assert list(found) == ["settings", "variables", "notes"]
    by_name = {row["setting"]: row for row in found["settings"]}
    assert by_name["join.window"] == {
        "setting": "join.window",
        "value": "1h30m",
        "source": "environment",
        "meaning": "How long after a presentation a checkout may decide it.",
    }
    assert by_name["api.secret"]["value"] == "(hidden)"
    assert [line.split()[0] for line in plain.stdout.split("\n\n")[0].splitlines()[1:]] == list(by_name)
    assert found["variables"][0]["variable"] == "https_proxy"


def test_errors_stay_words_with_their_exit_code() -> None:
    done = opt_out("settings", "--output", "json", OPT_OUT_JOIN__WINDOW="soon")
    assert (done.returncode, done.stdout) == (2, "")
    assert "OPT_OUT_JOIN__WINDOW" in done.stderr


# --- --check


def test_what_run_takes_is_ok() -> None:
    done = opt_out("settings", "--check", **RUNS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok: `run` takes these settings\n", "")
    assert json.loads(opt_out("settings", "--check", "--output", "json", **RUNS).stdout)["ok"] is True


REGISTRY = {
    "OPT_OUT_AVRO__FORMAT": "registry",
    "OPT_OUT_AVRO__REGISTRY_URL": "https://registry:8081",
    "OPT_OUT_API__BASE_URL": "http://127.0.0.1:1",
    "OPT_OUT_API__PROXY": "none",
}
"""Nothing of the environment changes the way to the API. The registry's client reads it by itself."""

WRONG = {
    "no brokers": {"OPT_OUT_KAFKA__BOOTSTRAP_SERVERS": ""},
    "no credentials": {"OPT_OUT_API__AUTH": "signature"},
    "a wrong value": {"OPT_OUT_JOIN__WINDOW": "soon"},
    "a property that librdkafka refuses for one client": {"OPT_OUT_KAFKA__PROPERTIES": '{"retries": 0}'},
    "a release file that is not there": {"OPT_OUT_DELIVERY__RELEASE_FILE": "/nowhere/release.toml"},
    "a variable of others": {"https_proxy": "proxy"},
    "a proxy of a kind that the registry's client cannot use": {**REGISTRY, "ALL_PROXY": "socks5://u:hush@proxy:1080"},
    "a proxy that is none": {**REGISTRY, "https_proxy": "ftp://proxy:1"},
    "a proxy whose URL cannot be read": {**REGISTRY, "https_proxy": "http://[::1"},
    "certificates that are not there": {**REGISTRY, "SSL_CERT_FILE": "/nowhere.pem"},
    "outcomes by a registry that cannot be asked": {
        **REGISTRY,
        "OPT_OUT_AVRO__FORMAT": "plain",
        "OPT_OUT_AVRO__OUTCOME_FORMAT": "registry",
        "SSL_CERT_FILE": "/nowhere.pem",
    },
}


@pytest.mark.parametrize("wrong", WRONG)
def test_it_refuses_what_run_refuses_in_the_same_words(wrong: str) -> None:
    given = {**RUNS, "OPT_OUT_SERVER__PORT": "0", **WRONG[wrong]}
    checked, ran = opt_out("settings", "--check", **given), opt_out("run", **given)
    assert (checked.returncode, checked.stdout) == (2, "")
    assert ran.stderr.endswith(checked.stderr)
    assert checked.stderr.startswith("opt-out: ")
    assert "Traceback" not in checked.stderr + ran.stderr
    assert "hush" not in checked.stderr + ran.stderr
    assert ran.returncode == 2


def test_the_variables_that_the_registrys_client_reads_are_named() -> None:
    done = opt_out("settings", "--check", **RUNS, **REGISTRY, ALL_PROXY="socks5://u:hush@proxy:1080")
    assert "by these variables, too: ALL_PROXY=socks5://" in done.stderr
    assert "correct or unset them for this service" in done.stderr


def test_without_a_registry_its_client_is_not_asked() -> None:
    given = {**RUNS, **REGISTRY, "OPT_OUT_AVRO__FORMAT": "plain", "ALL_PROXY": "socks5://proxy:1080"}
    assert opt_out("settings", "--check", **given).returncode == 0


# --- --schema


def test_the_schema_needs_no_settings() -> None:
    done = opt_out("settings", "--schema", OPT_OUT_JOIN__WINDOW="soon")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == toml_schema()
