"""A secret of the API that changes while the service runs, at a server that checks each signature."""

from __future__ import annotations

import os
from pathlib import Path

from support.deployment import deployed, now, until
from support.signed_api import SignedApi


def swap(folder: Path, secret: str) -> None:
    """As Kubernetes does it: a folder of its own, and the link to it is replaced."""
    version = folder / f"..{secret}"
    version.mkdir()
    (version / "secret").write_text(secret)
    (folder / "next").symlink_to(version.name)
    os.replace(folder / "next", folder / "..data")


def test_a_service_that_runs_takes_up_a_rotated_secret(real_kafka, tmp_path: Path) -> None:
    """Refused at first, then accepted beside the old one, which is revoked; then all are revoked, and a third comes."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "secret").symlink_to("..data/secret")
    swap(secrets, "secret-one")
    pairs = [("key-one", f"secret-{name}") for name in ("one", "two", "three")]
    with (
        SignedApi(*pairs).serving() as api,
        deployed(real_kafka.bootstrap_servers, tmp_path) as deployment,
    ):

        def settle(name: str, count: int = 4) -> None:
            offers = [f"{name}-{n}" for n in range(count)]
            for offer in offers:
                deployment.present(offer, session=offer, at=now())
            deployment.flush()
            until(lambda: api.recorded() >= set(offers), within=60, what=f"the calls of {name}")

        api.accepted = {pairs[0]}
        process = deployment.start(
            API__BASE_URL=api.base_url, API__KEY="key-one", API__SECRET="", API__SECRET_FILE=str(secrets / "secret"),
        )  # fmt: skip
        settle("before")

        swap(secrets, "secret-two")
        settle("refused")
        until(lambda: "new credentials refused" in process.text(), within=10, what="the new ones to be refused")
        (secrets / "..data").unlink()
        settle("no-file")
        until(lambda: "new credentials not taken over" in process.text(), within=10, what="the missing file to be said")
        (secrets / "..data").symlink_to("..secret-two")

        api.accepted = {pairs[0], pairs[1]}
        until(
            lambda: settle(f"both-{len(api.calls)}", 1) or "new credentials accepted" in process.text(),
            within=90, what="the new ones to be accepted",
        )  # fmt: skip
        api.accepted = {pairs[1]}
        settle("revoked")
        assert "credentials refused: calls stop" not in process.text(), "no partner was held"

        api.accepted = set()
        deployment.present("held", session="held", at=now())
        deployment.flush()
        until(lambda: "credentials refused: calls stop" in process.text(), within=60, what="the partner to be held")
        api.accepted = {pairs[2]}
        swap(secrets, "secret-three")
        until(lambda: "held" in api.recorded(), within=60, what="the next probe to take the third secret")
        assert api.of("held")[-1] == ("secret-three", 204)
        assert not [secret for _, secret in pairs if secret in process.text()]
        assert process.terminate() == 0
        assert len(deployment.called()) == 0, "none of it went to the emulator"
