"""The Apicurio Registry itself, which speaks Confluent's API, as one process on loopback that keeps all in memory."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from brokers import UnavailableError
from brokers.apache import CACHE, dies_with_us, fetch, find_java
from brokers.base import free_port

POM = Path(__file__).with_name("pom.xml")
WITHIN = 60.0
"""Seconds until giving up; it takes two to four."""


class ApicurioRegistry:
    """A registry of our own. A restart on the same port forgets all: its data is in memory.

    Attributes:
        url: where clients ask, by Confluent's API.

    Raises:
        UnavailableError: there is no Java that is new enough, or no Maven to fetch it with.
    """

    def __init__(self) -> None:
        self._java, self._java_version = find_java()
        self._home = CACHE / f"apicurio-{_version()}"
        if not self._home.is_dir() and shutil.which("mvn") is None:
            raise UnavailableError("there is no Maven (mvn) to fetch the Apicurio Registry with")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}/apis/ccompat/v7"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def description(self) -> str:
        """A few words for the person at the terminal."""
        return f"Apicurio Registry {_version()} on Java {self._java_version}"

    def start(self) -> None:
        """Start it, or start it anew on the same port; returns when it answers.

        Raises:
            UnavailableError: Maven could not fetch it.
            RuntimeError: it did not come up; the message holds the end of its log.
        """
        fetch(self._home, POM, "the Apicurio Registry", "dependency:unpack-dependencies")
        (jar,) = self._home.glob("*-runner.jar")
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                [
                    *(*dies_with_us(), self._java, "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
                    *("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self._port}", "-jar", str(jar)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            deadline = time.monotonic() + WITHIN
            while not self._answers():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    log.seek(0)
                    raise RuntimeError(f"the registry did not start:\n{log.read().decode(errors='replace')[-4000:]}")
                time.sleep(0.1)

    def stop(self) -> None:
        """End it hard. What it knew is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def register(
        self, subject: str, schema: Any, kind: str = "AVRO", references: list[dict[str, Any]] | None = None
    ) -> int:
        """Register a schema, given as text or as JSON. Returns its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        body = {"schema": text, "schemaType": kind, "references": references or []}
        return int(self.ask("POST", f"/subjects/{quote(subject, safe='')}/versions", body)["id"])

    def set_compatibility(self, subject: str, level: str) -> None:
        """What a new version of a subject must be. By default Apicurio asks for nothing."""
        self.ask("PUT", f"/config/{quote(subject, safe='')}", {"compatibility": level})

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request, as JSON."""
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/vnd.schemaregistry.v1+json"},
            method=method,
        )
        try:
            with _open(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def _answers(self) -> bool:
        try:
            self.ask("GET", "/subjects")
        except (OSError, RuntimeError):
            return False
        return True


def _open(request: urllib.request.Request) -> Any:
    """Not by a proxy that the environment names: it is on loopback."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)


def _version() -> str:
    version = ElementTree.parse(POM).findtext("{*}properties/{*}apicurio.version")
    if version is None:
        raise RuntimeError(f"{POM} names no apicurio.version: put it back")
    return version
