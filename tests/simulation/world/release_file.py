"""The release file, where the service has its path: offers are named in it, and it may be gone or half written."""

from __future__ import annotations

from simulation.world.timeline import Clock

WRONG = b"[[release]]\npartner_code = "


class ReleaseFile:
    """The file of the offers let go, where the service has its path.

    Attributes:
        since: by offer, when it was named, in true time (s).
    """

    def __init__(self, clock: Clock) -> None:
        self.since: dict[str, float] = {}
        self._clock = clock
        self._entries: list[str] = []
        self._spoiled: bytes | None = b""

    def read_bytes(self) -> bytes:
        """As a path does."""
        if self._spoiled is None:
            raise FileNotFoundError(2, "No such file")
        return self._spoiled or "\n".join(self._entries).encode()

    def __str__(self) -> str:
        return "release.toml"

    def release(self, partner: str, offer: str) -> None:
        """Name one more offer."""
        if offer not in self.since:
            self.since[offer] = self._clock.now
            self._entries.append(f'[[release]]\npartner_code = "{partner}"\noffer_id = "{offer}"\nwho = "w"\nwhy = "y"')

    def spoil(self, gone: bool) -> None:
        """It is gone, or half written."""
        self._spoiled = None if gone else WRONG

    def mend(self) -> None:
        """It is right again."""
        self._spoiled = b""
