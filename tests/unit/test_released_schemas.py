"""A schema that is not compatible with a released one is noticed before it is released."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.released_schemas import SCHEMAS, problems


def test_the_schemas_are_compatible_with_all_that_were_released() -> None:
    assert len(list((SCHEMAS / "released").glob("*/*.avsc"))) >= 3
    assert list(problems()) == []


def add(**field: Any) -> Callable[[dict[str, Any]], None]:
    return lambda schema: schema["fields"].append(field)


def remove(name: str) -> Callable[[dict[str, Any]], None]:
    def change(schema: dict[str, Any]) -> None:
        schema["fields"] = [field for field in schema["fields"] if field["name"] != name]

    return change


def retype(name: str, kind: Any) -> Callable[[dict[str, Any]], None]:
    def change(schema: dict[str, Any]) -> None:
        next(field for field in schema["fields"] if field["name"] == name)["type"] = kind

    return change


def changed(folder: Path, change: Callable[[dict[str, Any]], None], name: str = "offer_outcome.avsc") -> list[str]:
    shutil.copytree(SCHEMAS, folder, dirs_exist_ok=True)
    schema = json.loads((folder / name).read_text(encoding="utf-8"))
    change(schema)
    (folder / name).write_text(json.dumps(schema), encoding="utf-8")
    return list(problems(folder))


def test_a_field_with_a_default_may_be_added_and_one_removed(tmp_path: Path) -> None:
    assert changed(tmp_path, add(name="more", type=["null", "string"], default=None)) == []
    assert changed(tmp_path, remove("note")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add(name="more", type="string"), "what was written by offer_outcome.avsc of 0.4.0 cannot be read by ours"),
        (remove("attempts"), "what is written by ours cannot be read by offer_outcome.avsc of 0.4.0"),
        (retype("attempts", "long"), "what is written by ours cannot be read by offer_outcome.avsc of 0.4.0"),
        (retype("attempts", ["null", "int"]), "what is written by ours cannot be read"),
        (retype("mode", {"type": "enum", "name": "Mode", "symbols": ["LIVE"]}), "cannot be read by ours"),
        (
            retype("mode", {"type": "enum", "name": "Mode", "symbols": ["LIVE", "BACKFILL", "DRY"]}),
            "what is written by ours cannot be read",
        ),
        (
            retype("settled_at", {"type": "long", "logicalType": "timestamp-micros"}),
            "the field settled_at is timestamp-micros, and in offer_outcome.avsc of 0.4.0 it is timestamp-millis",
        ),
    ],
)
def test_what_is_not_compatible_is_named(tmp_path: Path, change: Any, words: str) -> None:
    found = changed(tmp_path, change)
    assert any(words in problem for problem in found), found


def test_a_schema_that_is_gone_is_named(tmp_path: Path) -> None:
    shutil.copytree(SCHEMAS, tmp_path, dirs_exist_ok=True)
    (tmp_path / "offer_presented.avsc").unlink()
    assert [problem.partition(":")[0] for problem in problems(tmp_path)] == ["offer_presented.avsc of 0.4.0 is gone"]
