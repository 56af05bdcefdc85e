"""The fixed seeds of the simulation: what each of them yields. A change of behaviour that breaks no rule shows here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from golden.nets import as_json, hold_json, is_writing, read_json
from golden.seeds import yields

SEEDS = range(25)


@pytest.fixture(scope="module")
def golden() -> list[dict[str, Any]]:
    if is_writing():
        hold_json("seeds.json", [yields(seed) for seed in SEEDS])
    return list(read_json("seeds.json"))


def test_there_is_a_line_for_each_seed(golden: list[dict[str, Any]]) -> None:
    assert [entry["seed"] for entry in golden] == [*SEEDS]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_seed_yields(golden: list[dict[str, Any]], seed: int) -> None:
    if not is_writing():
        hold_json("seeds.json", [yields(seed) if entry["seed"] == seed else entry for entry in golden])


def test_a_seed_yields_the_same_in_another_process() -> None:
    """Whatever Python makes of the order of sets there; or else the golden file would hold nothing."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("seeds.py")), "3", "4"],
        env=os.environ | {"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == as_json([yields(3), yields(4)])
