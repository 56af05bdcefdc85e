"""The manual's page of providers: what is to be copied is taken by the settings, and gives the rights of the manual."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from confluent_kafka.admin import ResourceType
from support.certificates import AUTHORITY, CLIENT, CLIENT_KEY
from support.documents import MANUAL
from support.rights import rights_of_the_manual

from consumer.kafka.trial import try_clients
from consumer.settings import KafkaSettings, load_settings
from consumer.settings.kafka import is_secret

PAGE = (MANUAL / "providers.md").read_text(encoding="utf-8")
PARTS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
TOML = [(name, text) for name, part in PARTS.items() for text in re.findall(r"```toml\n(.*?)```", part, re.DOTALL)]
PORT = re.compile(r"(?<=:)[A-Z_]*PORT(?=\")")
"""A number that only the provider knows."""


def names(setting: str) -> str:
    """What the setting is by default, since it stands so in the examples."""
    return str(getattr(KafkaSettings(), setting))


def test_each_provider_has_its_blocks() -> None:
    counts = {name: len([one for one, _ in TOML if one == name]) for name in PARTS}
    assert counts == {"Confluent Cloud": 1, "Amazon MSK": 2, "Aiven": 2, "Strimzi": 1, "Redpanda": 1}


@pytest.mark.parametrize(("provider", "text"), TOML)
def test_a_block_is_taken_by_the_settings_and_by_every_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str, text: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    contents = {"ca": AUTHORITY, "certificate": CLIENT, "key": CLIENT_KEY}
    for name, path in re.findall(r'"([\w.]+)" = "(/run/secrets/\S+)"', text):
        kind = next((kind for kind in contents if name == f"ssl.{kind}.location"), "")
        file = tmp_path / path.replace("/", "_")
        file.write_text(contents.get(kind, "hush-hush"), encoding="utf-8")
        text = text.replace(path, str(file))
    config = tmp_path / "opt-out.toml"
    config.write_text(PORT.sub("12345", text), encoding="utf-8")
    kafka = load_settings(config, {}, for_kafka=True).kafka
    assert kafka.properties["security.protocol"] in ("SASL_SSL", "SSL")
    try_clients(kafka)


@pytest.mark.parametrize(("provider", "text"), TOML)
def test_no_block_holds_a_secret_itself(provider: str, text: str) -> None:
    properties: dict[str, Any] = tomllib.loads(text)["kafka"].get("properties", {})
    assert [name for name in properties if is_secret(name) and not name.endswith("_file")] == []


def test_the_user_of_strimzi_has_the_rights_of_the_manual() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PARTS["Strimzi"], re.DOTALL)
    acls = yaml.safe_load(text)["spec"]["authorization"]["acls"]
    given = {(acl["resource"]["type"], acl["resource"]["name"]): tuple(acl["operations"]) for acl in acls}
    kinds = {ResourceType.TOPIC: "topic", ResourceType.GROUP: "group"}
    assert given == {(kinds[kind], names(key)): rights for key, (kind, rights) in rights_of_the_manual().items()}


def test_the_policy_for_msk_gives_the_rights_of_the_manual() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PARTS["Amazon MSK"], re.DOTALL)
    given: dict[str, set[str]] = {}
    for statement in json.loads(text)["Statement"]:
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            given.setdefault(resource.rpartition("/")[2], set()).update(
                action.removeprefix("kafka-cluster:") for action in statement["Action"]
            )
    same = {
        "Read": "ReadData",
        "Write": "WriteData",
        "Describe": "DescribeTopic",
        "DescribeConfigs": "DescribeTopicDynamicConfiguration",
    }
    wanted = {
        names(key): {same[right] for right in rights} if kind is ResourceType.TOPIC else {"AlterGroup", "DescribeGroup"}
        for key, (kind, rights) in rights_of_the_manual().items()
    }
    assert given == {"*": {"Connect", "WriteDataIdempotently"}, **wanted}
