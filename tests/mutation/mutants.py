"""Break the code in one place at a time, and see whether a test notices: `make mutants`.

mutmut makes the mutants and runs the tests; what it breaks and what it leaves out stands in pyproject.toml, each with
its reason. A mutant that survives is a missing test, or one of `survivors.toml`, where its reason is written down.
Exit code 1 if one survives without a reason, or if a reason is written for one that does not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.diff_apply import get_diff_for_mutant

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FATES = {0: "survived", 33: "no test", 37: "type error", None: "not run"}
"""By the exit code of a mutant's test run. The others are killed: a test failed, the process died or took too long."""

MEMORY = 4 * 2**30
"""Bytes that a test run may take: a mutant that never ends may fill the machine before its time is up."""


class Survivor(NamedTuple):
    """A mutant that no test notices: the function, and the lines that differ."""

    where: str
    change: str


def changed_lines(diff: str) -> str:
    """The removed and the added lines of a unified diff."""
    lines = diff.splitlines()[2:]
    return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines if line[:1] in {"+", "-"})


def written_reasons() -> dict[Survivor, str]:
    """The survivors that are known, with the reason of each."""
    with (HERE / "survivors.toml").open("rb") as file:
        entries = tomllib.load(file)["survivor"]
    return {Survivor(entry["where"], entry["change"].strip()): entry["why"] for entry in entries}


def found() -> tuple[dict[str, Counter[str]], dict[Survivor, str]]:
    """What became of the mutants of each file, and the survivors with their names."""
    counts: dict[str, Counter[str]] = {}
    survivors: dict[Survivor, str] = {}
    for path in sorted(Path("mutants/consumer").rglob("*.meta")):
        fates = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        if not fates:
            continue
        count = counts[str(path).removeprefix("mutants/").removesuffix(".meta")] = Counter()
        for name, code in fates.items():
            fate = FATES.get(code, "killed")
            count[fate] += 1
            if fate in {"survived", "no test"}:
                function = name.rpartition("__mutmut_")[0].replace(".xǁ", ".").replace(".x_", ".").replace("ǁ", ".")
                survivors[Survivor(function, changed_lines(get_diff_for_mutant(name)))] = name
    return counts, survivors


def main() -> int:
    """Run, or only report; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", action="store_true", help="only say what the last run has found")
    parser.add_argument("mutants", nargs="*", help='of these alone, such as "consumer.core.join.*"')
    options = parser.parse_args()
    os.chdir(ROOT)
    if not options.report:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        # It calls mypy by its name.
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        subprocess.run(
            [sys.executable, "-m", "mutmut", "run", *options.mutants], check=True, env={**os.environ, "PATH": path}
        )

    reasons = written_reasons()
    counts, survivors = found()
    columns = ("killed", "type error", "survived", "no test", "not run")
    print(f"\n{'':32}" + "".join(f"{column:>12}" for column in columns))
    for name, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{name:32}" + "".join(f"{count[column]:>12,}" for column in columns))
    unknown = {survivor: name for survivor, name in survivors.items() if survivor not in reasons}
    for survivor, name in unknown.items():
        print(f"\nsurvived, and no reason is written: {name}\n{survivor.change}")
    complete = not options.mutants and not any(count["not run"] for count in counts.values())
    gone = [survivor for survivor in reasons if complete and survivor not in survivors]
    for survivor in gone:
        print(f"\nnot among the survivors any more, take it out of survivors.toml: {survivor.where}\n{survivor.change}")
    known = len(survivors) - len(unknown)
    print(f"\n{known} survive for a reason that is written down, {len(unknown)} without; {len(gone)} reasons too many")
    return 1 if unknown or gone else 0


if __name__ == "__main__":
    sys.exit(main())
