"""Images that stand in for the base images where no registry can be reached: alike in what our files rely on.

What they do not prove: that the real images behave so.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from brokers import ApacheBroker, UnavailableError

from .engine import CACHE, Engine, MissingPartError, needed, run

CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
MODULES = (
    "java.base,java.management,jdk.management,java.naming,java.logging,java.xml,java.security.jgss,java.security.sasl,"
    "jdk.security.auth,java.sql,jdk.unsupported,jdk.crypto.ec,java.net.http,java.desktop,java.rmi,java.instrument"
)
"""What a broker needs of Java."""

KAFKA = """FROM {base}
COPY java /opt/java
COPY libs /opt/kafka/libs
COPY entry.sh /opt/kafka/entry.sh
COPY kafka-broker-api-versions.sh /opt/kafka/bin/kafka-broker-api-versions.sh
ENTRYPOINT ["sh", "/opt/kafka/entry.sh"]
"""

ENTRY = """set -eu
# As the real image: KAFKA_A_B=v is a.b=v.
env | sed -n 's/^KAFKA_//p' | grep -v '^HEAP_OPTS=' | while IFS='=' read -r name value; do
    printf '%s=%s\\n' "$(printf %s "$name" | tr 'A-Z_' 'a-z.')" "$value"
done > /tmp/server.properties
java() { exec /opt/java/bin/java $KAFKA_HEAP_OPTS -cp '/opt/kafka/libs/*' "$@"; }
(java kafka.tools.StorageTool format --ignore-formatted --cluster-id="$CLUSTER_ID" --config /tmp/server.properties)
java kafka.Kafka /tmp/server.properties
"""

CHECK = """exec /opt/java/bin/java -cp '/opt/kafka/libs/*' org.apache.kafka.tools.BrokerApiVersionsCommand "$@"
"""


def make_python(engine: Engine, image: str) -> None:
    """A Debian of the same name with its own Python, which is not the Python of the image's name."""
    release = image.rpartition("-")[2]
    needed("debootstrap", "chroot", "tar")
    root = CACHE / f"debian-{release}"
    if not root.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=CACHE))
        packages = "python3-minimal,python3-venv,ca-certificates"
        try:
            run("debootstrap", "--variant=minbase", f"--include={packages}", release, str(unfinished / "root"))
            # python and pip on the path, as in the real image.
            run("chroot", str(unfinished / "root"), "python3", "-m", "venv", "--copies", "/usr/local")
        except RuntimeError as error:
            shutil.rmtree(unfinished)
            raise MissingPartError(f"no stand-in for {image} can be made: {error}") from None
        (unfinished / "root").rename(root)
        unfinished.rmdir()
    # Where this machine reaches an index through a proxy of its own, the build has to trust what the machine trusts.
    shutil.copy(f"/{CERTIFICATES}", root / CERTIFICATES)
    changes = ["ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", f"ENV PIP_CERT=/{CERTIFICATES}"]
    options = [word for change in changes for word in ("--change", change)]
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
        assert packed.stdout is not None
        run("docker", "import", *options, "-", image, environ=engine.environ, stdin=packed.stdout.fileno())


def make_kafka(engine: Engine, image: str, base: str) -> None:
    """The Kafka of the tests, of the same version, on a Java of its own."""
    needed("jlink", "mvn")
    broker = ApacheBroker()
    try:
        broker.fetch_libraries()
        libraries = _with_tools(broker._libs, image.rpartition(":")[2])
    except (UnavailableError, RuntimeError) as error:
        raise MissingPartError(f"no stand-in for {image} can be made: {error}") from None
    with tempfile.TemporaryDirectory(prefix="opt-out-kafka-image-") as name:
        work = Path(name)
        run("jlink", "--strip-debug", "--add-modules", MODULES, "--output", str(work / "java"))
        shutil.copytree(libraries, work / "libs")
        for file, text in (("entry.sh", ENTRY), ("Dockerfile", KAFKA.format(base=base))):
            (work / file).write_text(text, encoding="utf-8")
        check = work / "kafka-broker-api-versions.sh"
        check.write_text("#!/bin/sh\n" + CHECK, encoding="utf-8")
        check.chmod(0o755)
        engine.docker("build", "--network", "none", "--tag", image, str(work))


def _with_tools(libraries: Path, version: str) -> Path:
    """Kafka's jars with those of its command line, of which the health check is one."""
    folder = CACHE / f"kafka-{version}"
    if not folder.is_dir():
        whole = Path(tempfile.mkdtemp(dir=CACHE)) / "libs"
        shutil.copytree(libraries, whole)
        for artifact in (f"org.apache.kafka:kafka-tools:{version}", "net.sf.jopt-simple:jopt-simple:5.0.4"):
            run(
                *("mvn", "--batch-mode", "--quiet", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"),
                *(f"-Dartifact={artifact}", f"-DoutputDirectory={whole}"),
                cwd=CACHE,
            )
        whole.rename(folder)
        whole.parent.rmdir()
    return folder
