"""An OIDC issuer on loopback: gives tokens to whoever knows the client's secret, and the key to check them with."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

CLIENT = "opt-out"
AUDIENCE = "kafka"


class Issuer:
    """A real HTTP server; its tokens are signed by RS256.

    Attributes:
        url: of the issuer, which is in its tokens.
        secret: what the client has to know; may be changed.
        lifetime: of a token, in seconds.
        given: how many tokens were given.
    """

    def __init__(self, folder: Path) -> None:
        self.secret, self.lifetime, self.given = "hush-hush", 300, 0
        self._key = folder / "issuer.key"
        _openssl("genrsa", "-out", str(self._key), "2048")
        modulus = _openssl("rsa", "-in", str(self._key), "-modulus", "-noout").decode().strip().partition("=")[2]
        jwk = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "e": "AQAB", "n": _coded(bytes.fromhex(modulus))}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, {"keys": [jwk]})

            def do_POST(self) -> None:
                given = parse_qs(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())
                login = base64.b64encode(f"{CLIENT}:{issuer.secret}".encode()).decode()
                if self.headers["Authorization"] != f"Basic {login}" or given["grant_type"] != ["client_credentials"]:
                    self._answer(401, {"error": "invalid_client"})
                    return
                issuer.given += 1
                token = {"access_token": issuer.token(), "token_type": "Bearer", "expires_in": issuer.lifetime}
                self._answer(200, token)

            def log_message(self, format: str, *args: object) -> None:
                pass

            def _answer(self, status: int, body: object) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def keys_url(self) -> str:
        """Where the broker asks for the key."""
        return f"{self.url}/keys"

    @property
    def token_url(self) -> str:
        """Where a client asks for a token."""
        return f"{self.url}/token"

    def token(self) -> str:
        """A token for the client."""
        now = int(time.time())
        claims = {"iss": self.url, "sub": CLIENT, "aud": AUDIENCE, "iat": now, "exp": now + self.lifetime}
        head = {"alg": "RS256", "typ": "JWT", "kid": "1"}
        signed = ".".join(_coded(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{_coded(_openssl('dgst', '-sha256', '-sign', str(self._key), told=signed.encode()))}"

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _openssl(*arguments: str, told: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=told, capture_output=True, check=True).stdout
