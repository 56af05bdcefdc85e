"""`make sbom`: what a deployment consists of, as CycloneDX in build/sbom.json. No network is asked.

The environment here has the tools of development too. So what the program needs with the extras of the image is looked
up by the metadata of what is installed, and a bill is made of that alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "build" / "sbom.json"
PROGRAM = Requirement("offer-opt-out[registry,evidence,otel]")
"""What the Dockerfile installs."""


def needed(program: Requirement = PROGRAM) -> dict[str, Distribution]:
    """What is installed for it, by name, itself left out: all that its metadata asks for, and what that asks for."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    open_ = [(program.name, extra) for extra in ("", *sorted(program.extras))]
    while open_:
        name, extra = open_.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        package = distribution(name)
        found[package.name.lower()] = package
        for line in package.requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                open_ += [(wanted.name.lower(), more) for more in ("", *sorted(wanted.extras))]
    del found[program.name]
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
