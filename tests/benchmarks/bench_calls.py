"""How many opt-out calls a second one process makes against a local server that answers 204 at once.

    python tests/benchmarks/bench_calls.py [--calls 10000] [--concurrency 64] [--rounds 1] [--profile]

Prints one table, ratios to httpx's own pool first, of the medians of the rounds. Figures are compared only within one
run. Candidates that are not installed (the dependency group `bench`) are named and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import logging
import pstats
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

import httpx
import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.whole_way.rows import Row, add

from consumer.calls import CallResult, CallTrace, OptOutCall
from consumer.delivery.queue import Delivery
from consumer.delivery.thread import DeliveryThread
from consumer.events import Outcome, Reason, RecordRef, TraceContext
from consumer.settings import ApiSettings, DeliverySettings, TraceSettings
from consumer.xcover.api import OptOutApi, connect
from consumer.xcover.auth import Credentials
from consumer.xcover.spans import SpanRecorder, spans_of
from consumer.xcover.transport import AiohttpTransport

SERVER = """
import asyncio

class Answer204(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\\r\\n\\r\\n")) >= 0:
            length = self.buffer[:end].lower().partition(b"content-length:")[2].partition(b"\\r\\n")[0]
            if len(self.buffer) < end + 4 + int(length or 0):
                return
            self.buffer = self.buffer[end + 4 + int(length or 0):]
            self.transport.write(b"HTTP/1.1 204 No Content\\r\\nDate: Sun, 22 Nov 2026 12:00:00 GMT\\r\\n\\r\\n")

async def main():
    server = await asyncio.get_running_loop().create_server(Answer204, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

STOCK, BARE = "httpx, its own pool", "our transport, prepared requests"
SHIPS = "DeliveryThread over that: what ships"

Run = Callable[[int], Awaitable[None]]


class Nobody:
    """Whose calls they are; the results are counted where they come out."""

    def withholds(self, call: OptOutCall) -> None:
        """Every call may leave."""

    def on_result(self, result: CallResult) -> None: ...


def opt_out(number: int, owner: Nobody) -> OptOutCall:
    offer_id, source = f"fe92ecc3-fe4c-4000-8000-{number:012d}", RecordRef("offer.presented", 0, number)
    return OptOutCall("LLODT", offer_id, f"session-{number}", Reason.DECLINED, {}, source, owner, number)


def traced(call: OptOutCall) -> OptOutCall:
    """The same call, of a record that carries a trace."""
    context = TraceContext(f"00-{call.chain_start + 1:032x}-00f067aa0ba902b7-01")
    return replace(call, trace=CallTrace(context))


class Bench:
    """The candidates, all against one server with the same calls."""

    def __init__(self, port: int, calls: int, concurrency: int) -> None:
        self.api = ApiSettings(base_url=f"http://127.0.0.1:{port}/x", key="key", secret="secret")
        self.delivery = DeliverySettings(concurrency=concurrency, rate_limit=0)
        self.concurrency = concurrency
        nobody = Nobody()
        self.calls = [opt_out(number, nobody) for number in range(calls)]
        self.runs: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    async def measure(self, name: str, run: Run, calls: int) -> None:
        await run(min(calls, 4 * self.concurrency))  # connections opened, code warmed up
        wall, cpu = time.perf_counter(), time.process_time()
        await run(calls)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.runs[name].append((calls / wall, cpu / calls * 1e6))

    def by(self, one: Callable[[OptOutCall], Awaitable[int | None]]) -> Run:
        async def run(calls: int) -> None:
            waiting = iter(self.calls[:calls])

            async def worker() -> None:
                for call in waiting:
                    assert await one(call) == 204

            await asyncio.gather(*(worker() for _ in range(self.concurrency)))

        return run

    async def client(self, name: str, calls: int, **settings: object) -> None:
        api = OptOutApi(self.api, Credentials(self.api, time.time), httpx.MockTransport(lambda _: None), time.time)  # type: ignore[arg-type]
        credentials = Credentials(self.api, time.time)
        async with httpx.AsyncClient(**settings) as client:  # type: ignore[arg-type]

            async def one(call: OptOutCall) -> int:
                headers = {**credentials.sign("LLODT").headers, "Content-Type": "application/json"}
                return (await client.post(api.url(call), content=api.body(call), headers=headers)).status_code

            await self.measure(name, self.by(one), calls)

    async def prepared(self, name: str, transport: httpx.AsyncBaseTransport, calls: int) -> None:
        api = OptOutApi(self.api, Credentials(self.api, time.time), transport, time.time)

        async def one(call: OptOutCall) -> int | None:
            return (await api(call, lambda: True)).status_code

        await self.measure(name, self.by(one), calls)
        await transport.aclose()

    async def through_delivery(self, name: str, calls: int) -> None:
        transport = AiohttpTransport(self.api, self.concurrency)
        credentials = Credentials(self.api, time.time)
        left, done = 0, asyncio.Event()

        def on_result(result: CallResult) -> None:
            nonlocal left
            assert result.outcome is Outcome.OPTED_OUT
            left -= 1
            if left == 0:
                done.set()

        delivery = Delivery(
            OptOutApi(self.api, credentials, transport, time.time),
            self.delivery,
            on_result,
            credential_of=credentials.credential_of,
            random=Random(1),
        )

        async def run(count: int) -> None:
            nonlocal left
            left = count
            done.clear()
            delivery.submit(self.calls[:count])
            await done.wait()

        await self.measure(name, run, calls)
        await delivery.close(1.0)
        await transport.aclose()

    async def through_thread(
        self, name: str, calls: int, *, trace: bool = False, spans: SpanRecorder | None = None
    ) -> None:
        thread = DeliveryThread(partial(connect, self.api, spans=spans), self.delivery)
        made = [traced(call) for call in self.calls] if trace else self.calls
        thread.start()

        async def run(count: int) -> None:
            thread.submit(made[:count])
            for _ in range(count):
                assert thread.results.get().outcome is Outcome.OPTED_OUT

        await self.measure(name, run, calls)
        thread.stop(1.0)

    def median_of(self, name: str) -> tuple[float, float]:
        """Calls a second, and microseconds of processor time a call."""
        rates, costs = zip(*self.runs[name], strict=True)
        return median(rates), median(costs)

    def table(self) -> str:
        stock, _ = self.median_of(STOCK)
        lines = [f"{'x stock':>8}  {'calls/s':>8}  {'CPU us/call':>11}  what ({self.concurrency} at a time)"]
        for name in self.runs:
            rate, cpu = self.median_of(name)
            lines.append(f"{rate / stock:8.1f}  {rate:8.0f}  {cpu:11.0f}  {name}")
        return "\n".join(lines)

    def table_rows(self) -> Iterator[Row]:
        """What the table of all benchmarks has of it."""
        ours, cpu = self.median_of(SHIPS)
        for what, name, least in (("stock httpx", STOCK, 30), ("the transport alone", BARE, 0.9)):
            rate, other = self.median_of(name)
            words = f"{ours:,.0f} to {rate:,.0f} calls/s, {cpu:.0f} to {other:.0f} us of CPU a call"
            yield Row(
                f"calls, {self.concurrency} at a time, to {what}",
                f"{ours / rate:.2f} x",
                words,
                f">= {least} x",
                ours >= least * rate,
            )


async def compare(bench: Bench, calls: int) -> None:
    """All candidates, then the path that ships."""
    most = bench.concurrency
    limits = httpx.Limits(max_connections=most, max_keepalive_connections=most)
    await bench.client(STOCK, min(calls, 2_000), limits=limits)
    try:
        from httpx_aiohttp import AiohttpTransport as HttpxAiohttp  # noqa: PLC0415 - may be missing

        await bench.client("httpx over httpx-aiohttp", calls // 2, transport=HttpxAiohttp(limits=limits))
        await bench.prepared("httpx-aiohttp, prepared requests", HttpxAiohttp(limits=limits), calls)
    except ImportError:
        print("httpx-aiohttp is not installed: left out")
    try:
        from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - may be missing
        from pyreqwest.compatibility.httpx import HttpxTransport  # noqa: PLC0415 - may be missing

        def reqwest() -> httpx.AsyncBaseTransport:
            return HttpxTransport(ClientBuilder().follow_redirects(False).timeout(timedelta(seconds=10)).build())

        await bench.client("httpx over pyreqwest", calls // 2, transport=reqwest())
        await bench.prepared("pyreqwest, prepared requests", reqwest(), calls)
    except ImportError:
        print("pyreqwest is not installed: left out")
    await bench.prepared(BARE, AiohttpTransport(bench.api, most), calls)
    await bench.through_delivery("Delivery over it: queue, retry, breaker", calls)
    await bench.through_thread(SHIPS, calls)
    await bench.through_thread("the same, each call with a trace", calls, trace=True)
    # The server takes spans as well: it answers whatever it is sent.
    endpoint = bench.api.base_url.removesuffix("/x")
    spans = spans_of(TraceSettings(enabled=True, otlp_endpoint=endpoint), bench.api, 25.0)
    await bench.through_thread("the same, each call with a trace and a span", calls, trace=True, spans=spans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1, help="the median of which is shown")
    parser.add_argument("--profile", action="store_true", help="profile the Delivery path instead of comparing")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        bench = Bench(int(server.stdout.readline()), options.calls, options.concurrency)
        if options.profile:
            with cProfile.Profile() as profile:
                asyncio.run(bench.through_delivery("Delivery", options.calls))
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        else:
            # Everybody once a round, so that what else runs on the machine falls on all of them.
            for _ in range(options.rounds):
                asyncio.run(compare(bench, options.calls))
            print(bench.table())
            add(*bench.table_rows())
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
