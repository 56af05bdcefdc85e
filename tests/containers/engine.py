"""A Docker engine: the one that is there, if it can have the base images, or one of our own in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "containers"
COMPOSE = "github.com/docker/compose/v2/cmd@v2.40.3"
PACKAGES = ("docker.io", "containerd", "tini")
START = 30.0
"""Seconds until an engine of ours answers; it takes less than one."""


class MissingPartError(Exception):
    """Something cannot be had on this machine; the message says what."""


def run(
    *command: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None, stdin: int = subprocess.DEVNULL
) -> str:
    """What a command says. Raises `RuntimeError` with all it said if it fails."""
    done = subprocess.run(
        command,
        env=environ,
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def needed(*programs: str) -> None:
    """Raises `MissingPartError` for a program that is not on the path."""
    for program in programs:
        if shutil.which(program) is None:
            raise MissingPartError(f"there is no `{program}` on this machine")


@dataclass(frozen=True)
class Engine:
    """A Docker engine and how to talk to it.

    Attributes:
        environ: of each command.
        is_ours: whether it was started by this program and ends with it.
    """

    environ: Mapping[str, str]
    is_ours: bool

    def docker(self, *arguments: str, cwd: Path | None = None) -> str:
        """What the CLI says."""
        return run("docker", *arguments, environ=self.environ, cwd=cwd)

    def has(self, image: str) -> bool:
        """Whether the engine has the image, or can pull it."""
        for command in (("image", "inspect"), ("pull", "--quiet")):
            done = subprocess.run(
                ["docker", *command, image],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=900,
            )
            if done.returncode == 0:
                return True
        return False


@contextmanager
def engine_with(images: Sequence[str]) -> Iterator[Engine]:
    """The engine of this machine, if it has these images or can pull them; else one of our own.

    Raises:
        MissingPartError: there is neither.
    """
    if shutil.which("docker") is not None:
        there = Engine(os.environ, is_ours=False)
        answers = subprocess.run(["docker", "info"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if answers.returncode == 0 and all(map(there.has, images)):
            yield there
            return
    with tempfile.TemporaryDirectory(prefix="opt-out-containers-") as folder, _own(Path(folder)) as ours:
        yield ours


@contextmanager
def _own(folder: Path) -> Iterator[Engine]:
    if os.geteuid() != 0:
        raise MissingPartError("no Docker engine here can have the base images, and one of our own needs root")
    path = os.environ["PATH"] if shutil.which("dockerd") else _fetched_engine() + os.pathsep + os.environ["PATH"]
    needed("runc", "iptables")
    environ = {**os.environ, "PATH": path, "DOCKER_HOST": f"unix://{folder}/docker.sock"}
    os.environ["PATH"] = path  # a program is looked up by ours, not by that of its environment
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("dockerd", "--host", environ["DOCKER_HOST"], "--data-root", f"{folder}/data"),
                *("--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"),
            ],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START
            while subprocess.run(["docker", "info"], env=environ, capture_output=True, check=False).returncode != 0:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = (folder / "engine.log").read_text(encoding="utf-8", errors="replace")[-1500:]
                    raise MissingPartError(f"an engine of our own does not start here:\n{said}")
                time.sleep(0.1)
            yield Engine(environ, is_ours=True)
        finally:
            process.terminate()
            process.wait(60)
            for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
                mounted = line.split()[1]
                if mounted.startswith(f"{folder}/"):  # it leaves the place of its networks mounted
                    run("umount", mounted)


def _fetched_engine() -> str:
    """The folder of an engine that is unpacked, not installed; kept for the next time."""
    needed("apt-get", "dpkg")
    home = CACHE / "engine"
    if not home.is_dir():
        with tempfile.TemporaryDirectory(dir=_cache()) as work:
            try:
                run("apt-get", "download", *PACKAGES, cwd=Path(work))
            except RuntimeError as error:
                raise MissingPartError(f"the packages {', '.join(PACKAGES)} cannot be had: {error}") from None
            for package in Path(work).glob("*.deb"):
                run("dpkg", "-x", str(package), f"{work}/whole")
            Path(work, "whole").rename(home)
    return f"{home}/usr/sbin{os.pathsep}{home}/usr/bin"


def compose(engine: Engine) -> list[str]:
    """The command of a Compose 2: the CLI's, one on the path, or one built by Go, which takes minutes once."""
    for command in (["docker", "compose"], ["docker-compose"], [str(CACHE / "docker-compose")]):
        if shutil.which(command[0]) is None:
            continue
        said = subprocess.run([*command, "version"], env=engine.environ, capture_output=True, text=True, check=False)
        if said.returncode == 0 and "v1" not in said.stdout and "version 1" not in said.stdout:
            return command
    needed("go")
    print(f"building Compose by Go from {COMPOSE}: minutes, once", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=_cache()) as work:
        # Its own go.mod forbids `go install`; as a tool of another module it can be built.
        try:
            for command in (
                ["go", "mod", "init", "compose"],
                ["go", "get", "-tool", COMPOSE],
                ["go", "build", "-o", "docker-compose", COMPOSE.partition("@")[0]],
            ):
                run(*command, cwd=Path(work))
        except RuntimeError as error:
            raise MissingPartError(f"no Compose 2 is here, and Go cannot build it: {error}") from None
        Path(work, "docker-compose").rename(CACHE / "docker-compose")
    return [str(CACHE / "docker-compose")]


def _cache() -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    return CACHE
