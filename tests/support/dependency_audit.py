"""`make audit`: requirements.lock against the advisories of OSV. It fails where nothing, or not all, was audited.

pip-audit alone ends with 0 where no advisory was to be had: what it does not find it leaves out. So it is first asked
about a release that is known to be bad. Only who knows that one is believed about the others.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KNOWN_BAD = "urllib3==1.24.1"
"""It has advisories since 2019."""

CLEAN, FOUND, NOT_AUDITED = 0, 1, 2


def audit(lock: Path, options: list[str]) -> tuple[int, str]:
    """The exit code and what to say."""
    with tempfile.TemporaryDirectory() as folder:
        known_bad = Path(folder) / "known-bad.txt"
        known_bad.write_text(KNOWN_BAD + "\n", encoding="utf-8")
        try:
            if not _advisories(_asked(known_bad, ["--no-deps", *options])):
                return (
                    NOT_AUDITED,
                    f"the service knows nothing of {KNOWN_BAD}, which has advisories: it is not believed",
                )
            packages = _asked(lock, options)
        except ValueError as error:
            return NOT_AUDITED, str(error)
    left_out = [f"{package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package]
    if left_out or not packages:
        return NOT_AUDITED, "\n".join(["not all was audited:", *left_out])
    found = _advisories(packages)
    if found:
        return FOUND, "\n".join([f"{len(found)} advisories:", *found])
    return CLEAN, f"{len(packages)} packages of {lock.name} audited, none with an advisory"


def _asked(requirements: Path, options: list[str]) -> list[dict[str, Any]]:
    command = ["pip_audit", "--disable-pip", "--vulnerability-service", "osv", "--progress-spinner", "off"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--format", "json", "--requirement", str(requirements), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise ValueError(f"no advisories were reached: {last}") from None
    return packages


def _advisories(packages: list[dict[str, Any]]) -> list[str]:
    found = []
    for package in packages:
        for advisory in package.get("vulns", ()):
            mended = ", ".join(advisory["fix_versions"]) or "no version yet"
            found.append(f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}")
    return found


def main() -> int:
    """0: all was audited, and nothing found; 1: advisories were found; 2: nothing, or not all, was audited."""
    parser = argparse.ArgumentParser(prog="make audit")
    parser.add_argument("--osv-url", help="a mirror of OSV instead of OSV itself")
    given = parser.parse_args()
    code, text = audit(ROOT / "requirements.lock", ["--osv-url", given.osv_url] if given.osv_url else [])
    print(text if code != NOT_AUDITED else f"NOT AUDITED: {text}", file=sys.stdout if code == CLEAN else sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
