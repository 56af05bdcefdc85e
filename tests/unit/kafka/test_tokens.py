"""Tokens of AWS IAM: what they are, what is needed for them, and what is said where there is none."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from consumer.errors import SettingsError
from consumer.kafka import tokens
from consumer.kafka.tokens import aws_msk_iam, check_token


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_a_token_is_a_signed_url_for_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    token, ends = aws_msk_iam()("")
    url = urlsplit(base64.urlsafe_b64decode(token + "==").decode())
    asked = parse_qs(url.query)
    assert (url.scheme, url.netloc, asked["Action"]) == (
        "https",
        "kafka.eu-west-1.amazonaws.com",
        ["kafka-cluster:Connect"],
    )
    assert asked["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert 0 < ends - time.time() <= 900


def test_the_region_is_found_where_aws_tools_find_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"OPT_OUT_KAFKA__TOKEN .* set AWS_REGION, such as eu-west-1"):
        check_token("aws-msk-iam")
    (tmp_path / "config").write_text("[default]\nregion = eu-south-2\n")
    check_token("aws-msk-iam")
    assert tokens._region() == "eu-south-2"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert tokens._region() == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert tokens._region() == "eu-west-1"


def test_without_the_extra_a_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"install offer-opt-out\[aws\]"):
        check_token("aws-msk-iam")
    check_token(None)


def test_without_credentials_the_cause_is_told_and_the_client_is_given_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    told: list[str] = []
    with pytest.raises(SettingsError):
        aws_msk_iam(told.append)("")
    assert told == ["no token of AWS IAM could be made: there are no AWS credentials"]
