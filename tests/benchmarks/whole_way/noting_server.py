"""Answers each call with 204 at once, and notes when it came: a process of its own, as small as it can be.

    python tests/benchmarks/whole_way/noting_server.py FILE

Prints its port. When its standard input ends, it writes a line for each call to FILE: seconds since 1970, offer id.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Noting(asyncio.Protocol):
    """One connection."""

    def __init__(self, noted: list[tuple[float, bytes]]) -> None:
        self._noted, self._buffer = noted, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        at = time.time()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            # POST /x/partners/P/offers/O/opt_out/ HTTP/1.1
            self._noted.append((at, head.partition(b" HTTP")[0].split(b"/")[-3]))
            self._transport.write(ANSWER)


async def serve() -> list[tuple[float, bytes]]:
    """Until standard input ends; what was noted."""
    noted: list[tuple[float, bytes]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Noting(noted), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()
    return noted


if __name__ == "__main__":
    calls = asyncio.run(serve())
    Path(sys.argv[1]).write_text("".join(f"{at:.6f} {offer.decode()}\n" for at, offer in calls))
