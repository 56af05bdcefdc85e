"""The bill of materials lists what a deployment consists of, and none of the tools."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.requirements import Requirement
from support import bill_of_materials

from consumer import __version__

ROOT = Path(__file__).parents[3]
EXTRAS = bill_of_materials.extras()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@cache
def bill() -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        target = Path(folder) / "sbom.json"
        bill_of_materials.write(target)
        found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
        return found


def name_of(line: str) -> str:
    return Requirement(line).name.lower()


def listed() -> dict[str, str]:
    return {re.sub("[-_.]+", "-", part["name"]).lower(): part["version"] for part in bill()["components"]}


def test_it_is_of_this_version() -> None:
    about = bill()["metadata"]["component"]
    assert (about["name"], about["version"]) == ("offer-opt-out", __version__)
    assert bill()["bomFormat"] == "CycloneDX"


def test_every_direct_dependency_is_listed_with_those_of_the_extras_in_the_image() -> None:
    optional = PROJECT["project"]["optional-dependencies"]
    direct = [*PROJECT["project"]["dependencies"], *(line for extra in EXTRAS for line in optional[extra])]
    assert {"registry", "evidence"} <= set(EXTRAS)
    assert {name_of(line) for line in direct} <= listed().keys()


def test_no_tool_of_development_is_listed() -> None:
    tools = {name_of(line) for line in PROJECT["dependency-groups"]["dev"]}
    # Tests need what the extras bring.
    runtime = {name_of(line) for extra in EXTRAS for line in PROJECT["project"]["optional-dependencies"][extra]}
    assert not (tools - runtime) & listed().keys()


def test_each_package_is_in_the_lock_file_in_that_version() -> None:
    locked = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M))
    assert {name: locked.get(name) for name in listed()} == listed()


def test_what_depends_on_what_is_told() -> None:
    (root,) = [entry for entry in bill()["dependencies"] if entry["ref"] == "root-component"]
    assert any(ref.startswith("confluent-kafka==") for ref in root["dependsOn"])
