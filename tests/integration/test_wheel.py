"""The wheel holds all that is needed: it is built, installed outside of the tree, and used there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from support.deployment import until

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    # Without isolation: the build backend is in the lock file, and a test fetches nothing.
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel in it."""
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    pip("--python", str(home / "bin" / "python"), "install", "--no-deps", "--no-index", str(wheel))
    # What it depends on is taken from here, to be quick. A folder added by a .pth file does not have its own .pth
    # files read, so that the editable install of this tree stays out of sight.
    packages = subprocess.check_output(
        [home / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    places = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    Path(packages.strip(), "borrowed.pth").write_text("\n".join(places) + "\n")
    return home / "bin"


def pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def environ() -> dict[str, str]:
    """The variables of this process, less what would lead back into the tree."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}


def said(cwd: Path, *command: str | Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=environ(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_the_wheel_holds_the_package_and_its_schemas_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"consumer", f"offer_opt_out-{version('offer-opt-out')}.dist-info"}
    schemas = {Path(name).name for name in names if name.startswith("consumer/schemas/")}
    assert schemas == {path.name for path in (ROOT / "schemas").glob("*.avsc")}
    assert "consumer/py.typed" in names


def test_it_is_the_wheel_that_runs_and_not_the_tree(installed: Path, tmp_path: Path) -> None:
    found = said(tmp_path, installed / "python", "-c", "import consumer; print(consumer.__file__)")
    assert Path(found).is_relative_to(installed.parent)


def test_the_installed_command_tells_its_version(installed: Path, tmp_path: Path) -> None:
    assert said(tmp_path, installed / "opt-out", "--version") == f"opt-out {version('offer-opt-out')}"


def test_the_wheel_holds_every_page_of_the_manual(wheel: Path) -> None:
    pages = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".md")}
    assert pages == {path.name for path in (ROOT / "consumer" / "manual").glob("*.md")}


def test_the_installed_command_shows_the_manual(installed: Path, tmp_path: Path) -> None:
    listed = [line.split("  ")[0] for line in said(tmp_path, installed / "opt-out", "manual").splitlines()]
    assert {"runbook", "operations", "settings"} <= set(listed)
    for page in listed:
        shown = said(tmp_path, installed / "opt-out", "manual", page)
        assert shown == (ROOT / "consumer" / "manual" / f"{page}.md").read_text(encoding="utf-8").strip()
    for option, file in (("--alerts", "alerts.yml"), ("--dashboard", "dashboard.json")):
        shown = said(tmp_path, installed / "opt-out", "manual", option)
        assert shown == (ROOT / "consumer" / "manual" / file).read_text(encoding="utf-8").strip()


def test_the_installed_package_finds_its_schemas(installed: Path, tmp_path: Path) -> None:
    script = "from consumer.codecs.plain import PlainCodec; PlainCodec(); print('read')"
    assert said(tmp_path, installed / "python", "-c", script) == "read"


def test_the_installed_demo_takes_its_first_steps(installed: Path, tmp_path: Path) -> None:
    output = tmp_path / "demo.txt"
    with output.open("wb") as stream:
        demo = subprocess.Popen(
            [installed / "opt-out", "demo"],
            cwd=tmp_path,
            env=environ() | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200", "TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        for step in ("embedded broker at", "emulated API at", "the consumer runs"):
            until(
                lambda step=step: step in output.read_text() or demo.poll() is not None,  # type: ignore[misc] # now
                within=60,
                what=f"the demo to say {step!r}",
            )
            assert step in output.read_text(), f"it ended with {demo.returncode}: {output.read_text()}"
    finally:
        # By which it ends the processes that it has started.
        demo.send_signal(signal.SIGTERM)
        demo.wait(30)
