"""What has to be fetched or built before some peers can run: once for this tree, into .cache/whole-way."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from brokers.apache import CACHE, find_java
from brokers.base import UnavailableError

HERE = Path(__file__).parent
STREAMS = HERE.parent / "peers" / "kafka_streams"
BUILT = CACHE / "whole-way"

QUIX_VERSION = "3.28.1"
QUIX = (f"quixstreams=={QUIX_VERSION}", "fastavro==1.13.1")
"""Not in the product's lock: it wants an older client of Kafka than the product has."""


def kafka_streams() -> list[str]:
    """The command that runs the Kafka Streams application, which Maven has built.

    Raises:
        UnavailableError: there is no Java that is new enough, no Maven, or it could not build it.
    """
    java, _ = find_java()
    sources = sorted(path for path in STREAMS.rglob("*") if path.suffix in {".java", ".xml"})
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    folder = BUILT / f"kafka-streams-{stamp}"
    if not (folder / "whole").is_file():
        if shutil.which("mvn") is None:
            raise UnavailableError("there is no Maven (mvn) to build it with")
        _do(
            "Maven could not build it",
            *("mvn", "--batch-mode", "--quiet", "--file", str(STREAMS / "pom.xml"), f"-Dbuilt={folder}"),
            *("compile", "dependency:copy-dependencies"),
        )
        (folder / "whole").touch()
    # A throughput collector, and room for the tables in memory, which are outside of the heap.
    options = ["-XX:+UseParallelGC", "-Xms1g", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [java, *options, "-cp", f"{folder}/classes:{folder}/lib/*", "optout.bench.StreamsJoin"]


def quix() -> list[str]:
    """The command that runs the Quix Streams application, in an environment of its own.

    Raises:
        UnavailableError: it could not be installed.
    """
    folder = BUILT / f"quix-{QUIX_VERSION}"
    python = folder / "bin" / "python"
    if not (folder / "whole").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        _do("its environment could not be made", sys.executable, "-m", "venv", str(folder))
        _do("it could not be installed", str(python), "-m", "pip", "install", "--quiet", *QUIX)
        (folder / "whole").touch()
    return [str(python), str(HERE.parent / "peers" / "quix_join.py")]


def _do(what: str, *command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"{what}: {(done.stdout + done.stderr).strip()[-1000:]}")
