"""Apache Kafka in a container, where a Docker engine runs.

This way has not been run where it was written, since there was no engine; it is kept thin for that reason.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

from .base import SETTINGS, Broker, UnavailableError, free_port, kafka_version, wait_until_it_answers

INNER_PORT = 9092


class DockerBroker(Broker):
    """The `apache/kafka` image by testcontainers' plain container: its KafkaContainer is made for another image.

    The broker must advertise an address that is known before it starts, and keep it when it is started again, so the
    host's port is chosen here and not by the engine.

    Raises:
        UnavailableError: no engine answers.
    """

    kind = "docker"

    def __init__(self) -> None:
        _see_that_an_engine_answers()
        self._image = f"apache/kafka:{kafka_version()}"
        self._container: Any = None

    @property
    def description(self) -> str:
        """See `Broker`."""
        return f"the container image {self._image}"

    def start(self) -> None:
        """See `Broker`."""
        if self._container is None:
            self._create()
        else:
            self._container.get_wrapped_container().start()
        container = self._container.get_wrapped_container()
        try:
            wait_until_it_answers(self.bootstrap_servers, within=60, alive=lambda: True)
        except RuntimeError as error:
            log_end = container.logs(tail=40).decode(errors="replace")
            self.close()
            raise RuntimeError(f"{error}. The end of its log:\n{log_end}") from None

    def stop(self) -> None:
        """See `Broker`."""
        if self._container is not None:
            self._container.get_wrapped_container().stop()

    def close(self) -> None:
        """See `Broker`."""
        if self._container is not None:
            self._container.stop()
            self._container = None

    # --- inside

    def _create(self) -> None:
        # Only here: importing them takes longer than choosing another way.
        from docker.errors import DockerException  # type: ignore[import-untyped]  # noqa: PLC0415 - ships no types
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415

        port = free_port()
        self.bootstrap_servers = f"127.0.0.1:{port}"
        settings = SETTINGS | {
            "listeners": f"PLAINTEXT://:{INNER_PORT},CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.quorum.voters": "1@localhost:9093",
        }
        try:
            container = DockerContainer(self._image).with_bind_ports(INNER_PORT, port)
            for name, value in settings.items():
                # How the image takes its settings; the first one given replaces all of its own.
                container = container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
            self._container = container.start()
        except DockerException as error:
            raise UnavailableError(f"the engine did not start {self._image}: {error}") from error


def _see_that_an_engine_answers() -> None:
    # The command and not the library, which leaves a socket open when there is no engine.
    if shutil.which("docker") is None:
        raise UnavailableError("there is no docker command")
    try:
        done = subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"the docker command fails: {error}") from error
    if done.returncode != 0 or not done.stdout.strip():
        raise UnavailableError("no Docker engine runs")
