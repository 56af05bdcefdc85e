"""Apache Kafka itself, fetched by Maven and run by Java as one KRaft node on loopback."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from .base import POM, SETTINGS, Broker, UnavailableError, free_port, kafka_version, wait_until_it_answers

CACHE = Path(__file__).parents[2] / ".cache"
OLDEST_JAVA = 17
HEAP = "1g"


class ApacheBroker(Broker):
    """A broker process of our own, with its data in a temporary directory.

    Attributes:
        cluster_id: made up.
        controller: host:port where a further broker finds its controller.

    Raises:
        UnavailableError: there is no Java that is new enough, or no Maven to fetch Kafka with.
    """

    kind = "java"

    def __init__(self) -> None:
        self._java, self._java_version = find_java()
        self._libs = CACHE / f"kafka-{kafka_version()}"
        if not self._libs.is_dir() and shutil.which("mvn") is None:
            raise UnavailableError(
                f"Java {self._java_version} is here, but there is no Maven (mvn) to fetch Kafka with"
            )
        self._process: subprocess.Popen[bytes] | None = None
        self._home: Path | None = None
        self.cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        self.controller = f"127.0.0.1:{free_port()}"

    java_options: tuple[str, ...] = ()
    classes: tuple[Path, ...] = ()
    """Folders with classes beside those of Kafka."""

    def fetch_libraries(self) -> None:
        """Have Kafka and what it depends on here, by Maven."""
        fetch(self._libs, POM, "Kafka", "dependency:copy-dependencies", "-DincludeScope=runtime")

    def node_settings(self) -> dict[str, str]:
        """Where this node listens and what it is in its cluster: the only one, broker and controller."""
        return {
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{self.controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.quorum.voters": f"1@{self.controller}",
        }

    @property
    def description(self) -> str:
        """See `Broker`."""
        return f"Apache Kafka {kafka_version()} on Java {self._java_version}"

    @property
    def log_file(self) -> Path:
        """Where the broker's warnings and errors go."""
        if self._home is None:
            raise RuntimeError("the broker has not been started, so it has no log")
        return self._home / "broker.log"

    def start(self) -> None:
        """See `Broker`."""
        if self._process is not None:
            raise RuntimeError(f"the broker runs already as process {self._process.pid}")
        if self._home is None:
            self.fetch_libraries()
            self._home = Path(tempfile.mkdtemp(prefix="opt-out-kafka-"))
            self._format(self._home)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*dies_with_us(), *self._command(f"-Xmx{HEAP}"), "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal is for the tests; they stop the broker when they are through with it.
                start_new_session=True,
            )
        process = self._process
        try:
            wait_until_it_answers(self.bootstrap_servers, within=60, alive=lambda: process.poll() is None)
        except BaseException as error:
            log_end = self.log_end()
            self.close()
            if isinstance(error, RuntimeError):
                raise RuntimeError(f"{error}. The end of its log:\n{log_end}") from None
            raise

    def stop(self) -> None:
        """See `Broker`."""
        self._end(in_order=True)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """See `Broker`."""
        assert self._process is not None, "it runs"
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # its threads stop one by one, and until then it answers
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """See `Broker`. Its data is thrown away, so nothing is gained by an orderly end."""
        self._end(in_order=False)
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def cut_log(self, topic: str, partition: int, offset: int) -> None:
        """Have a partition end before the batch that holds `offset`, as with an older copy of the disk. It is stopped.

        The log has one segment. A batch begins with its first offset and the number of bytes that follow.
        """
        assert self._process is None, "it is stopped"
        folder = self.log_file.parent / "data" / f"{topic}-{partition}"
        (segment,) = folder.glob("*.log")
        content, at = segment.read_bytes(), 0
        while at < len(content):
            first, length = struct.unpack_from(">qi", content, at)
            if first >= offset:
                break
            at += struct.calcsize(">qi") + length
        segment.write_bytes(content[:at])
        for pattern in ("*.index", "*.timeindex", "*.snapshot"):  # they tell of what is gone, and are made again
            for stale in folder.glob(pattern):
                stale.unlink()

    def log_end(self, lines: int = 40) -> str:
        """The last lines of the broker's log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:]) or "(it is empty)"

    # --- inside

    @property
    def _properties(self) -> Path:
        return self.log_file.with_name("server.properties")

    def _command(self, *options: str) -> list[str]:
        return [
            self._java,
            # A broker for tests is started far more often than it is busy.
            *("-XX:+UseSerialGC", "-Xshare:auto", "-XX:TieredStopAtLevel=1"),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            *self.java_options,
            *options,
            *("-cp", ":".join([f"{self._libs}/*", *map(str, self.classes)])),
        ]

    def _format(self, home: Path) -> None:
        self.bootstrap_servers = f"127.0.0.1:{free_port()}"
        properties = SETTINGS | self.node_settings() | {"log.dirs": str(home / "data")}
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        done = subprocess.run(
            # The joined argument, since an id may begin with a dash.
            [
                *(*self._command(), "kafka.tools.StorageTool", "format"),
                *(f"--cluster-id={self.cluster_id}", "--config", str(self._properties)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"Kafka could not format its data directory:\n{done.stdout}{done.stderr}")

    def _end(self, *, in_order: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if in_order:
            process.terminate()
        else:
            process.kill()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class SecondBroker(ApacheBroker):
    """A further broker, node 2, of the cluster that `first` is: holds copies, and can be made the leader."""

    def __init__(self, first: ApacheBroker) -> None:
        super().__init__()
        self.cluster_id, self.controller = first.cluster_id, first.controller

    def node_settings(self) -> dict[str, str]:
        """See `ApacheBroker`: it is no controller."""
        return super().node_settings() | {
            "process.roles": "broker",
            "node.id": "2",
            "listeners": f"PLAINTEXT://{self.bootstrap_servers}",
        }


class AuthorizingBroker(ApacheBroker):
    """A broker that lets a principal do only what an ACL allows it.

    On `bootstrap_servers` everybody may do everything, as tests do. On `guarded_servers` one logs in as `PRINCIPAL`.
    """

    PRINCIPAL = "User:opt-out"

    def node_settings(self) -> dict[str, str]:
        """See `ApacheBroker`."""
        self.guarded_servers = f"127.0.0.1:{free_port()}"
        settings = super().node_settings()
        guarded = f",SASL_PLAINTEXT://{self.guarded_servers}"
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return settings | {
            "listeners": settings["listeners"] + guarded,
            "advertised.listeners": settings["advertised.listeners"] + guarded,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f'{module} required user_opt-out="hush";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    @property
    def login(self) -> dict[str, str]:
        """What a client needs beside `guarded_servers`."""
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "opt-out",
            "sasl.password": "hush",
        }

    def allow(self, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Give the principal these rights; returns once the broker goes by them."""
        self._change(kind, name, frozenset(operations), allowed=True)

    def withdraw(self, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Take these rights from it; returns once the broker goes by that."""
        self._change(kind, name, frozenset(operations), allowed=False)

    def _change(self, kind: ResourceType, name: str, operations: frozenset[AclOperation], *, allowed: bool) -> None:
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        whose = (self.PRINCIPAL, "*")
        for operation in operations:
            of = (kind, name, ResourcePatternType.LITERAL, *whose, operation)
            if allowed:
                answers = admin.create_acls([AclBinding(*of, AclPermissionType.ALLOW)])
            else:
                answers = admin.delete_acls([AclBindingFilter(*of, AclPermissionType.ANY)])
            for answer in answers.values():
                answer.result(20)
        every = AclBindingFilter(
            kind, name, ResourcePatternType.LITERAL, *whose, AclOperation.ANY, AclPermissionType.ANY
        )
        deadline = time.monotonic() + 20
        while True:
            there = {acl.operation for acl in admin.describe_acls(every).result(20)}
            if operations <= there if allowed else not operations & there:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the broker did not take over the rights on {name} within 20 s: {there}")
            time.sleep(0.05)


def find_java() -> tuple[str, int]:
    """The path of a Java that Kafka runs on, and its major version."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home and Path(home, "bin/java").is_file() else shutil.which("java")
    if java is None:
        raise UnavailableError("there is no Java")
    said = subprocess.run([java, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', said.stderr)
    if said.returncode != 0 or found is None:
        raise UnavailableError(f"{java} does not tell its version")
    version = int(found[1])
    if version < OLDEST_JAVA:
        raise UnavailableError(f"{java} is Java {version}, and Kafka needs {OLDEST_JAVA}")
    return java, version


def fetch(folder: Path, pom: Path, what: str, goal: str, *options: str) -> None:
    """Have Maven put what a pom names into a folder of `CACHE`, once for this tree. Kafka takes about 45 MB.

    Raises:
        UnavailableError: it could not.
    """
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "fetch.lock").open("w") as lock:
        # Two test runs may begin at the same moment.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return
        with tempfile.TemporaryDirectory(dir=CACHE) as unfinished:
            done = subprocess.run(
                [
                    *("mvn", "--batch-mode", "--quiet", "--file", str(pom), goal),
                    # What it has unpacked it marks beside the pom, and would not unpack again.
                    *(*options, f"-DoutputDirectory={unfinished}/whole", f"-DmarkersDirectory={unfinished}/markers"),
                ],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise UnavailableError(f"Maven could not fetch {what}: {(done.stdout + done.stderr).strip()[-2000:]}")
            # Renamed when whole, so that a run that was cut off leaves no half of it.
            Path(unfinished, "whole").rename(folder)


def dies_with_us() -> list[str]:
    """A prefix by which a process ends with the process that started it, even one killed hard; where there is one."""
    # The system means the thread that started it, and another than the main one may end before the tests do.
    possible = threading.current_thread() is threading.main_thread() and shutil.which("setpriv")
    return ["setpriv", "--pdeathsig", "KILL"] if possible else []
