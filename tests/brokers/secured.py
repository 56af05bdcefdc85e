"""Apache Kafka that asks who one is, in each way that clients log in, and with a certificate of a CA of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from .apache import AuthorizingBroker
from .base import UnavailableError, free_port

HOST = "localhost"
"""The only name in the certificate."""


class SecuredBroker(AuthorizingBroker):
    """A broker with a listener for each security protocol; `at` gives what a client needs for one of them.

    On the listeners without SASL everybody may do everything; on the others one logs in as `PRINCIPAL`.

    Raises:
        UnavailableError: there is nothing here that makes certificates.
    """

    def __init__(self) -> None:
        if shutil.which("openssl") is None:
            raise UnavailableError("there is no openssl to make certificates with")
        super().__init__()
        self._secrets = Path(tempfile.mkdtemp(prefix="opt-out-tls-"))
        self.ca = self._authority("ca")
        self.other_ca = self._authority("other")
        self.keys = self._certificate()
        self.servers: dict[str, str] = {}

    def node_settings(self) -> dict[str, str]:
        """See `ApacheBroker`."""
        settings = super().node_settings()
        self.servers = {
            "PLAINTEXT": self.bootstrap_servers,
            "SASL_PLAINTEXT": self.guarded_servers,
            "SSL": f"{HOST}:{free_port()}",
            "SASL_SSL": f"{HOST}:{free_port()}",
        }
        more = "".join(f",{name}://{self.servers[name]}" for name in ("SSL", "SASL_SSL"))
        plain, scram = "plain.PlainLoginModule", "scram.ScramLoginModule"
        oauth = "oauthbearer.OAuthBearerLoginModule"
        common = "org.apache.kafka.common.security"
        jaas = {
            f"listener.name.{name}.{mechanism}.sasl.jaas.config": f"{common}.{module} required{options};"
            for name in ("sasl_plaintext", "sasl_ssl")
            for mechanism, module, options in (
                ("plain", plain, ' user_opt-out="hush" user_stranger="hush"'),
                ("scram-sha-512", scram, ""),
                ("oauthbearer", oauth, ' unsecuredLoginStringClaim_sub="broker"'),
            )
        }
        return settings | {
            "listeners": settings["listeners"] + more,
            "advertised.listeners": settings["advertised.listeners"] + more,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,"
            "SSL:SSL,SASL_SSL:SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.keys),
            # A client that is still connected when its password changes must log in again before long.
            "connections.max.reauth.ms": "3000",
            **jaas,
        }

    def close(self) -> None:
        """See `Broker`."""
        super().close()
        shutil.rmtree(self._secrets, ignore_errors=True)

    def at(self, protocol: str, mechanism: str = "PLAIN", **more: str) -> dict[str, str]:
        """What a client needs beside `servers[protocol]` to be let in."""
        found = {"security.protocol": protocol}
        if "SSL" in protocol:
            found["ssl.ca.location"] = str(self.ca)
        if "SASL" in protocol:
            found |= {"sasl.mechanism": mechanism, "sasl.username": "opt-out", "sasl.password": "hush"}
        return found | more

    def set_scram_password(self, password: str) -> None:
        """Give the principal this password for SCRAM-SHA-512; the one before is gone."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion("opt-out", info, password.encode())
        for answer in admin.alter_user_scram_credentials([change]).values():
            answer.result(20)

    @contextmanager
    def another_certificate(self) -> Iterator[None]:
        """The broker is restarted with a certificate of a CA that nobody knows, and at the end with its own."""
        own = self.keys.read_text()
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"),
            *("-addext", f"subjectAltName=DNS:{HOST}", "-keyout", "another.key", "-out", "another.pem"),
        )
        another = [(self._secrets / f"another.{part}").read_text() for part in ("key", "pem")]
        try:
            self.keys.write_text("".join(another))
            self.restart()
            yield
        finally:
            self.keys.write_text(own)
            self.restart()

    # --- inside

    def _authority(self, name: str) -> Path:
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )
        return self._secrets / f"{name}.pem"

    def _certificate(self) -> Path:
        names = self._secrets / "names"
        names.write_text(f"subjectAltName=DNS:{HOST}\n")
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={HOST}"),
            *("-keyout", "broker.key", "-out", "broker.csr"),
        )
        self._openssl(
            *("x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2"),
            *("-set_serial", "1", "-extfile", "names", "-out", "broker.pem"),
        )
        both = self._secrets / "keystore.pem"
        both.write_text((self._secrets / "broker.key").read_text() + (self._secrets / "broker.pem").read_text())
        return both

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(
            ["openssl", *arguments], cwd=self._secrets, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode != 0:
            raise UnavailableError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace')}")
