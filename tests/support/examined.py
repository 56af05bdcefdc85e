"""What `opt-out doctor` says of a deployment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from support.deployment import WRONG_CLOCK, Deployment


class Examined(NamedTuple):
    """What the command said: its exit code, its lines by the name of the check, and all of it."""

    code: int
    checks: dict[str, list[dict[str, str]]]
    text: str

    def worst(self, name: str) -> dict[str, str]:
        """The gravest line of a check."""
        return max(self.checks[name], key=lambda check: ("ok", "warning", "error").index(check["level"]))

    def level(self, name: str) -> str:
        return self.worst(name)["level"]

    def said(self, name: str) -> str:
        return "\n".join(f"{check['level']}: {check['found']} {check['remedy']}" for check in self.checks[name])


def examine(deployment: Deployment, clock: Path | None = None, **settings: str) -> Examined:
    arguments = ("doctor", "--output", "json")
    if clock is None:
        done = deployment.command(*arguments, **settings)
    else:
        done = subprocess.run(
            [sys.executable, str(WRONG_CLOCK), str(clock), *arguments],
            env=deployment.environ(**settings),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    checks: dict[str, list[dict[str, str]]] = {}
    for check in document["checks"]:
        checks.setdefault(check["name"], []).append(check)
    assert sum(document["counts"].values()) == len(document["checks"])
    assert done.returncode == (1 if document["counts"]["error"] else 0)
    return Examined(done.returncode, checks, done.stdout)
