"""`make sbom`: what a deployment consists of, as CycloneDX in build/sbom.json. No network is asked.

The environment here has the tools of development too. So what the program needs with the extras of the image is looked
up by the metadata of what is installed, and a bill is made of that alone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "build" / "sbom.json"


def extras() -> list[str]:
    """Those of the program that the Dockerfile installs."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (found,) = re.findall(r'"offer-opt-out\[([a-z,]+)\]"', dockerfile)
    return str(found).split(",")


def needed() -> dict[str, Distribution]:
    """What is installed for it, by name: all that pyproject.toml asks for, and what that asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras() for line in optional[extra])]
    open_ = [(Requirement(line), "") for line in lines]
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while open_:
        wanted, for_extra = open_.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": for_extra}):
            continue
        package = distribution(wanted.name)
        name = package.name.lower()
        found[name] = package
        for extra in ("", *wanted.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                open_ += [(Requirement(line), extra) for line in package.requires or ()]
    return found


def write(target: Path = TARGET) -> None:
    """Write the bill."""
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        # An environment with nothing but the metadata of what is needed: of this the bill is made.
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (packages,) = Path(folder).glob("lib/python*/site-packages")
        for package in needed().values():
            metadata = Path(str(package.locate_file(""))) / _folder(package)
            (packages / metadata.name).symlink_to(metadata)
        subprocess.run(
            [
                *(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"),
                *("--pyproject", str(ROOT / "pyproject.toml"), "--output-file", str(target), folder),
            ],
            check=True,
        )


def _folder(package: Distribution) -> str:
    """Its folder of metadata, by the list of its own files."""
    for file in package.files or ():
        if file.parts[0].endswith(".dist-info"):
            return file.parts[0]
    raise RuntimeError(f"{package.name} has no list of its files{os.linesep}Install it from a wheel.")


if __name__ == "__main__":
    write()
    print(f"{TARGET.relative_to(ROOT)}: {len(needed())} packages")
