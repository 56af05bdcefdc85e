"""Apache Kafka with a listener for each way to log in that the manual has a page for, and rights for one principal."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .base import UnavailableError, free_port
from .issuer import AUDIENCE, CLIENT, Issuer
from .secured import HOST, SecuredBroker

_HANDLER = Path(__file__).with_name("MskTokens.java")


class LoginsBroker(SecuredBroker):
    """`SecuredBroker` with further listeners: MTLS wants a certificate, OIDC and MSK a token.

    By a certificate for `opt-out` one is the same principal as by its password.

    Raises:
        UnavailableError: there is no compiler for the check of MSK's tokens.
    """

    def __init__(self) -> None:
        if shutil.which("javac") is None:
            raise UnavailableError("there is no javac to compile the check of tokens with")
        super().__init__()
        self.issuer = Issuer(self._secrets)
        self.java_options = (f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.issuer.keys_url}",)
        self.classes = (self._secrets / "classes",)

    def start(self) -> None:
        """See `Broker`."""
        if self._home is None:
            self.fetch_libraries()
            self._compile()
        super().start()

    def node_settings(self) -> dict[str, str]:
        """See `ApacheBroker`."""
        settings = super().node_settings()
        names = {"MTLS": "SSL", "OIDC": "SASL_SSL", "MSK": "SASL_SSL"}
        self.servers |= {name: f"{HOST}:{free_port()}" for name in names}
        more = "".join(f",{name}://{self.servers[name]}" for name in names)
        oauth = "org.apache.kafka.common.security.oauthbearer"
        oidc, msk = ("listener.name.oidc.", "listener.name.msk.")
        return settings | {
            "listeners": settings["listeners"] + more,
            "advertised.listeners": settings["advertised.listeners"] + more,
            "listener.security.protocol.map": settings["listener.security.protocol.map"]
            + "".join(f",{name}:{protocol}" for name, protocol in names.items()),
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.mtls.ssl.truststore.type": "PEM",
            "listener.name.mtls.ssl.truststore.location": str(self.ca),
            "ssl.principal.mapping.rules": r"RULE:^CN=([^,]+).*$/$1/,DEFAULT",
            # Each listener of tokens has one mechanism: the others would want a JAAS configuration.
            **{f"{listener}sasl.enabled.mechanisms": "OAUTHBEARER" for listener in (oidc, msk)},
            **{
                f"{listener}oauthbearer.sasl.jaas.config": f"{oauth}.OAuthBearerLoginModule required;"
                for listener in (oidc, msk)
            },
            f"{oidc}oauthbearer.sasl.server.callback.handler.class": f"{oauth}.OAuthBearerValidatorCallbackHandler",
            f"{oidc}oauthbearer.sasl.oauthbearer.jwks.endpoint.url": self.issuer.keys_url,
            f"{oidc}oauthbearer.sasl.oauthbearer.expected.audience": AUDIENCE,
            f"{oidc}oauthbearer.sasl.oauthbearer.expected.issuer": self.issuer.url,
            f"{msk}oauthbearer.sasl.server.callback.handler.class": "MskTokens",
        }

    def close(self) -> None:
        """See `Broker`."""
        self.issuer.close()
        super().close()

    def oidc(self, **more: str) -> dict[str, str]:
        """What a client needs to log in at OIDC."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca),
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": CLIENT,
            "sasl.oauthbearer.client.secret": self.issuer.secret,
            "sasl.oauthbearer.token.endpoint.url": self.issuer.token_url,
            **more,
        }

    def certificate_for(self, folder: Path, *, serial: int = 2, good_for: float = 86_400.0) -> dict[str, str]:
        """Write a client's certificate and key to a folder, and give what a client needs to show it at MTLS.

        Args:
            serial: tells one from another.
            good_for: seconds.
        """
        (folder / "openssl.cnf").write_text(_AUTHORITY_RULES)
        (folder / "index.txt").write_text("")
        (folder / "serial").write_text(f"{serial:02X}\n")
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={CLIENT}"),
            *("-keyout", f"{folder}/new.key", "-out", f"{folder}/client.csr"),
        )
        ends = datetime.now(UTC) + timedelta(seconds=good_for)
        done = subprocess.run(
            [
                *("openssl", "ca", "-batch", "-notext", "-config", "openssl.cnf", "-in", "client.csr"),
                *("-cert", str(self.ca), "-keyfile", str(self.ca.with_suffix(".key")), "-out", "new.pem"),
                *("-startdate", "20200101000000Z", "-enddate", ends.strftime("%Y%m%d%H%M%SZ")),
            ],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise UnavailableError(f"openssl ca: {done.stderr.decode(errors='replace')}")
        for part in ("key", "pem"):
            (folder / f"new.{part}").replace(folder / f"client.{part}")
        return {
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.ca),
            "ssl.certificate.location": str(folder / "client.pem"),
            "ssl.key.location": str(folder / "client.key"),
        }

    def _compile(self) -> None:
        done = subprocess.run(
            ["javac", "-cp", f"{self._libs}/*", "-d", str(self.classes[0]), str(_HANDLER)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{_HANDLER.name} does not compile:\n{done.stdout}{done.stderr}")


_AUTHORITY_RULES = """\
[ca]
default_ca = own
[own]
new_certs_dir = .
database = index.txt
serial = serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
"""
