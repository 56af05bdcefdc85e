"""Builds the image, brings docker-compose.yml up, has customers shop, and judges the calls and the container."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from brokers.producers import ordered_producer
from support.bill_of_materials import needed

from consumer.demo.formats import PlainFormat
from consumer.demo.generator import Event

from .engine import Engine, compose, engine_with, run
from .stand_ins import make_kafka, make_python

ROOT = Path(__file__).parents[2]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
IMAGE: str = FILE["services"]["consumer"]["image"]
KAFKA: str = FILE["services"]["kafka"]["image"]
SESSIONS = 53
WITHIN = 180.0
"""Seconds until all calls must have been made; they are due after half a minute."""

INSIDE = """
import json, os
try:
    open("/written", "w")
except OSError as error:
    refused = error.strerror
else:
    refused = None
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({"uid": os.getuid(), "refused": refused, "capabilities": status["CapEff"].strip(),
                  "new_privileges": status["NoNewPrivs"].strip()}))
"""
"""What a process in the consumer's container finds out about itself."""

PACKAGES = """
import json
from importlib.metadata import distributions
print(json.dumps([[package.name.lower(), package.version] for package in distributions()]))
"""


def trial() -> None:
    """Do it all, and print what was found.

    Raises:
        MissingPartError: something cannot be had here.
        AssertionError: something is not as it must be.
        RuntimeError: a command failed; the message holds its output.
    """
    base = _base_image()
    with engine_with([base, KAFKA]) as engine:
        version = engine.docker("version", "--format", "{{.Server.Version}}").strip()
        print(
            f"engine     {version}, {'our own, in a temporary folder' if engine.is_ours else 'the one of this machine'}"
        )
        if engine.is_ours:
            _base_images(engine, base)
        _build(engine)
        composed = [
            *compose(engine),
            "--project-name",
            f"opt-out-trial-{os.getpid()}",
            "--file",
            str(ROOT / "docker-compose.yml"),
        ]
        try:
            _run(engine, composed)
        except (AssertionError, RuntimeError) as error:
            raise RuntimeError(f"{error}\n{_compose(engine, composed, 'logs', '--tail', '40')}") from None
        finally:
            _compose(engine, composed, "down", "--volumes", "--timeout", "5")


def _base_image() -> str:
    (image,) = {
        line.split()[1]
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("FROM ")
    }
    return image


def _base_images(engine: Engine, base: str) -> None:
    for image, make in ((base, make_python), (KAFKA, lambda engine, image: make_kafka(engine, image, base))):
        begun = time.monotonic()
        if engine.has(image):
            print(f"base       {image}: pulled")
            continue
        make(engine, image)
        print(
            f"STAND-IN   {image}: no registry is reached, so it was made here ({time.monotonic() - begun:.0f} s)",
            flush=True,
        )


def _build(engine: Engine) -> None:
    begun = time.monotonic()
    # The host's network: an engine of our own has no name server of its own to offer.
    engine.docker("build", "--network", "host", "--tag", IMAGE, str(ROOT))
    took = time.monotonic() - begun
    (found,) = json.loads(engine.docker("image", "inspect", IMAGE))
    user = found["Config"]["User"]
    size = found["Size"] / 1e6
    ours = size - int(engine.docker("image", "inspect", "--format", "{{.Size}}", _base_image())) / 1e6
    print(f"image      {IMAGE}: {size:.0f} MB, {ours:.0f} of them ours; user {user}; built in {took:.0f} s", flush=True)
    assert user == "10001:10001"
    inside = json.loads(
        engine.docker("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", PACKAGES)
    )
    unknown = set(map(tuple, inside)) - {(name, package.version) for name, package in needed().items()}
    assert {name for name, _ in unknown} == {"offer-opt-out"}, f"not in the bill of materials: {unknown}"
    print(f"packages   {len(inside) - len(unknown)} beside the program, all in the bill of materials", flush=True)


def _run(engine: Engine, composed: list[str]) -> None:
    begun = time.monotonic()
    _compose(engine, composed, "up", "--detach", "--no-build", "--pull", "never")
    container = _compose(engine, composed, "ps", "--quiet", "consumer").strip()
    _until(lambda: _state(engine, container)["Health"]["Status"] == "healthy", 120, "the consumer to be healthy")
    print(f"compose    up and healthy in {time.monotonic() - begun:.0f} s", flush=True)
    found = json.loads(engine.docker("exec", container, "python", "-c", INSIDE))
    print(f"container  {found}", flush=True)
    assert found == {
        "uid": 10001,
        "refused": "Read-only file system",
        "capabilities": "0000000000000000",
        "new_privileges": "1",
    }

    begun = time.monotonic()
    to_call = _shop()
    _until(lambda: to_call <= _called(engine, composed), WITHIN, f"{len(to_call)} offers to be called")
    called = len(_called(engine, composed))
    print(f"calls      {called} of {len(to_call)} offers that nobody bought, in {time.monotonic() - begun:.0f} s")

    begun = time.monotonic()
    _compose(engine, composed, "stop", "consumer")
    state = _state(engine, container)
    print(f"stop       exit code {state['ExitCode']} in {time.monotonic() - begun:.0f} s", flush=True)
    assert state["ExitCode"] == 0
    bought = _called(engine, composed) - to_call
    assert not bought, f"called though they were bought: {bought}"


def _shop() -> set[str]:
    """Customers are shown two offers each; a half of them buys one, the others leave. Returns what is to be called."""
    producer = ordered_producer("127.0.0.1:9092")
    now = time.time_ns() // 1_000_000
    writes, to_call = PlainFormat(), set()
    for n in range(SESSIONS):
        session, buys = f"session-{n}", n % 2 == 0
        events = [
            Event(
                False,
                {**_OFFER, "event_id": f"{session}-{i}", "session_id": session, "offer_id": f"{session}-offer-{i}"},
                0,
                0,
            )
            for i in range(2)
        ]
        if buys:
            bought = {"checkout_id": f"c-{n}", "purchased_offer_ids": [f"{session}-offer-0"], "metadata": {}}
            events.append(Event(True, {**bought, "event_id": f"{session}-c", "session_id": session}, 1, 0))
        to_call |= {f"{session}-offer-{i}" for i in range(2) if i or not buys}
        for event in events:
            moment = now + event.time
            fields = {**event.fields, "completed_at" if event.is_checkout else "presented_at": event.time}
            for value in writes.values(event._replace(fields=fields), moment):
                topic = "checkout.completed" if event.is_checkout else "offer.presented"
                producer.produce(topic, key=session, value=value, timestamp=moment)
    assert producer.flush(30) == 0
    return to_call


_OFFER = {
    "partner_code": "ALPINE",
    "product_code": "travel_cancellation",
    "country": "DE",
    "currency": "EUR",
    "price": "12.50",
    "metadata": {},
}


def _called(engine: Engine, composed: list[str]) -> set[str]:
    """The offers whose call the API's emulator has taken for good."""
    lines = _compose(engine, composed, "logs", "--no-log-prefix", "api").splitlines()
    calls = [json.loads(line) for line in lines if line.startswith("{")]
    assert all(call["signature_ok"] for call in calls)
    return {call["offer_id"] for call in calls if call["terminal"]}


def _state(engine: Engine, container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.docker("inspect", "--format", "{{json .State}}", container))
    return found


def _compose(engine: Engine, composed: list[str], *arguments: str) -> str:
    return run(*composed, *arguments, environ=engine.environ, cwd=ROOT)


def _until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.5)
