"""Dockerfile and docker-compose.yml keep to what an operator relies on, as far as can be seen without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from brokers.base import free_port, kafka_version
from support.documents import MANUAL, examples
from support.health import Told
from support.prometheus import ALERTS_FILE, program
from typer.testing import CliRunner

from consumer.cli import app
from consumer.emulator.emulator import DEMO_KEY, DEMO_SECRET, running
from consumer.server.http import serving
from consumer.server.latest import Latest
from consumer.settings import ServerSettings, Settings, load_settings
from consumer.settings.types import parse_duration

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

Instruction = tuple[str, str]


@cache
def stages() -> list[list[Instruction]]:
    """The Dockerfile's instructions, by stage."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    found: list[list[Instruction]] = []
    for line in filter(None, map(str.strip, lines)):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest.strip()))
    return found


def of(word: str, stage: int = -1) -> list[str]:
    """What follows that word in a stage, by default in the one that becomes the image."""
    return [rest for found, rest in stages()[stage] if found == word]


@cache
def image_environ() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(of("ENV"))))


def health_check() -> list[str]:
    (check,) = of("HEALTHCHECK")
    command: list[str] = json.loads(check.partition("CMD ")[2])
    return command


# --- the image


def test_both_stages_are_the_same_slim_python_pinned_by_minor_version() -> None:
    images = {of("FROM", stage)[0].removesuffix(" AS build") for stage in range(2)}
    (image,) = images
    found = re.fullmatch(r"python:3\.(\d+)-slim-[a-z]+", image)
    assert found, image
    assert int(found[1]) >= 11


def test_the_image_does_not_run_as_root_and_the_user_is_a_number() -> None:
    user = of("USER")
    assert len(user) == 1
    uid, _, gid = user[0].partition(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000


def test_the_process_gets_its_signals_itself() -> None:
    assert [json.loads(rest) for rest in of("ENTRYPOINT") + of("CMD")] == [["opt-out"], ["run"]]
    assert of("STOPSIGNAL") == ["SIGTERM"]
    assert {"opt-out"} <= PROJECT["scripts"].keys()


def test_no_shell_runs_and_nothing_is_downloaded_by_hand() -> None:
    words = {word for stage in stages() for word, _ in stage}
    assert "ADD" not in words
    for stage in range(2):
        assert all(rest.startswith("[") for rest in of("RUN", stage))


def test_only_the_download_that_checks_hashes_asks_an_index() -> None:
    commands = [json.loads(rest) for rest in of("RUN", 0)]
    asks = [command for command in commands if command[0] == "pip" and {"install", "wheel", "download"} & set(command)]
    download, *others = asks
    assert {"download", "--require-hashes", "--requirement=requirements.lock"} <= set(download)
    assert len(others) == 3
    assert all("--no-index" in command for command in others)


def test_the_image_holds_the_environment_and_nothing_of_the_build() -> None:
    assert of("COPY") == ["--from=build /opt/opt-out /opt/opt-out"]
    assert of("RUN") == []


def test_what_the_build_copies_is_let_through_and_there() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    let_through = {line.strip("!/") for line in lines if line.startswith("!")}
    copied = {name.strip("/") for rest in of("COPY", 0) for name in rest.split()[:-1]}
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_s_variables_are_settings_and_let_probes_in() -> None:
    ours = {name: value for name, value in image_environ().items() if name.startswith("OPT_OUT_")}
    server = load_settings(None, ours).server
    assert server == ServerSettings(host="0.0.0.0")
    assert of("EXPOSE") == [str(server.port)]


def test_the_health_check_is_in_exec_form_and_asks_livez() -> None:
    assert health_check()[:2] == ["python", "-c"]
    assert "/livez" in health_check()[2]


@pytest.mark.parametrize("proxy", [{}, {"http_proxy": "http://127.0.0.1:9"}])
def test_the_health_check_tells_a_live_service_from_one_that_is_stuck_or_gone(proxy: dict[str, str]) -> None:
    health, port = Told(), free_port()
    command = [sys.executable, *health_check()[1:]]
    environ = os.environ | {"OPT_OUT_SERVER__PORT": str(port)} | proxy

    def code() -> int:
        return subprocess.run(command, env=environ, capture_output=True, check=False, timeout=30).returncode

    with serving(ServerSettings(port=port), health, Latest()):
        assert code() == 0, "not ready is no reason to be restarted"
        health.now += 1_000
        assert code() == 1
    assert code() == 1


# --- compose


def test_the_manual_feeds_the_consumer_of_the_file_by_its_own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [text for text in examples("python") if text.startswith("import time\n")]
    fed: dict[str, Any] = {}
    monkeypatch.setattr("consumer.demo.feed.feed", lambda events, **how: fed.update(how, events=list(events)))
    made: dict[str, Any] = {}
    exec(example, made)
    settings, plan = settings_of("consumer"), made["plan"]
    join = settings.join
    rules = (join.window, join.checkout_grace, join.lookback, join.lateness)
    assert (plan.window, plan.grace, plan.lookback, plan.lateness) == tuple(
        rule / timedelta(milliseconds=1) for rule in rules
    )
    assert len(fed["events"]) >= plan.events
    assert (fed["offer_topic"], fed["checkout_topic"]) == (settings.kafka.offer_topic, settings.kafka.checkout_topic)
    assert f"HOST://{fed['bootstrap']}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"{fed['bootstrap']}:9092" in SERVICES["kafka"]["ports"]


def settings_of(service: str) -> Settings:
    """What the service runs with, loaded as the program does."""
    environ = {**image_environ(), **SERVICES[service].get("environment", {})}
    return load_settings(None, environ, for_kafka=True, for_api=service == "consumer")


def test_images_have_exact_tags_and_kafka_is_the_version_that_is_tested_with() -> None:
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka_version()}"
    assert {service["image"] for service in OURS.values()} == {f"{PROJECT['name']}:{PROJECT['version']}"}
    assert OURS.keys() == {"topics", "api", "consumer"}


@pytest.mark.parametrize("service", ["topics", "consumer"])
def test_every_variable_of_the_consumer_is_a_setting_and_its_brokers_are_those_of_the_file(service: str) -> None:
    for name, value in SERVICES[service]["environment"].items():
        assert name.startswith("OPT_OUT_")
        assert isinstance(value, str), f"{name}: compose would make something else of {value!r}"
    brokers = settings_of(service).kafka.bootstrap_servers
    kafka = SERVICES["kafka"]["environment"]
    advertised = dict(place.split("://") for place in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert brokers == advertised[kafka["KAFKA_INTER_BROKER_LISTENER_NAME"]]
    assert brokers in SERVICES["kafka"]["healthcheck"]["test"]


def test_topics_and_consumer_mean_the_same_topics() -> None:
    names = ("offer_topic", "checkout_topic", "outcome_topic", "dead_letter_topic")
    topics, consumer = settings_of("topics").kafka, settings_of("consumer").kafka
    assert [getattr(topics, name) for name in names] == [getattr(consumer, name) for name in names]


def test_the_consumer_calls_the_emulator_with_its_credentials_and_nobody_else_s() -> None:
    api = settings_of("consumer").api
    command = SERVICES["api"]["command"]
    port = command[command.index("--port") + 1]
    assert api.base_url == f"http://api:{port}/x"
    assert (api.key, api.secret.get_secret_value()) == (DEMO_KEY, DEMO_SECRET)  # type: ignore[union-attr]
    assert command[command.index("--host") + 1] == "0.0.0.0"


@pytest.mark.parametrize("service", ["topics", "api"])
def test_the_commands_of_the_file_are_commands_with_these_options(service: str) -> None:
    command = SERVICES[service]["command"]
    usage = CliRunner().invoke(app, [command[0], "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert usage.exit_code == 0
    assert all(word in usage.output for word in command if word.startswith("--"))


def test_inputs_are_made_with_partitions_for_more_than_one_consumer_before_the_consumer_starts() -> None:
    command = SERVICES["topics"]["command"]
    assert command == ["topics", "--create-inputs", "--partitions", "6"]
    assert SERVICES["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert SERVICES["consumer"]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    assert "restart" not in SERVICES["topics"]
    # Its image's health check would ask a server that is not there.
    assert SERVICES["topics"]["healthcheck"] == {"disable": True}
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_a_stop_has_more_time_than_the_service_needs() -> None:
    grace = parse_duration(SERVICES["consumer"]["stop_grace_period"])
    assert grace >= settings_of("consumer").delivery.shutdown_timeout + timedelta(seconds=10)
    assert SERVICES["consumer"]["restart"] == "on-failure"


def test_there_can_be_more_than_one_consumer() -> None:
    assert not {"container_name", "ports", "hostname", "deploy"} & SERVICES["consumer"].keys()
    assert settings_of("consumer").kafka.group_instance_id is None


def test_published_ports_are_this_machine_s_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


# --- what watches it, if asked for


MONITORING = {name: service for name, service in SERVICES.items() if "profiles" in service}


def mounted(service: str) -> dict[str, Path]:
    """Where in the container which file or folder of the tree is, read-only."""
    found = {}
    for volume in SERVICES[service]["volumes"]:
        here, there, mode = volume.split(":")
        assert mode == "ro"
        found[there] = ROOT / here
    return found


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def test_what_watches_starts_only_if_it_is_asked_for_and_has_exact_versions() -> None:
    assert MONITORING.keys() == {"prometheus", "grafana"}
    assert all(service["profiles"] == ["monitoring"] for service in MONITORING.values())
    assert all(re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"]) for service in MONITORING.values())


def test_prometheus_sees_every_consumer_and_has_the_alerts_that_ship() -> None:
    files = mounted("prometheus")
    settings = read(files["/etc/prometheus/prometheus.yml"])
    (scraped,) = settings["scrape_configs"]
    (found_by,) = scraped["dns_sd_configs"]
    assert found_by["names"] == ["consumer"]
    assert found_by["port"] == settings_of("consumer").server.port
    assert settings["rule_files"] == ["alerts.yml"]
    assert files["/etc/prometheus/alerts.yml"] == ALERTS_FILE


def test_prometheus_own_tool_takes_what_it_is_given(tmp_path: Path) -> None:
    for there, here in mounted("prometheus").items():
        shutil.copy(here, tmp_path / Path(there).name)
    command = [program("promtool"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_prometheus_and_the_dashboard_that_ships() -> None:
    files = mounted("grafana")
    (source,) = read(files["/etc/grafana/provisioning/datasources"] / "prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = read(files["/etc/grafana/provisioning/dashboards"] / "offer-opt-out.yml")["providers"]
    (dashboard,) = (there for there in files if there.startswith(provider["options"]["path"] + "/"))
    assert files[dashboard] == MANUAL / "dashboard.json"
    interval = read(mounted("prometheus")["/etc/prometheus/prometheus.yml"])["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval


def test_our_containers_may_do_little() -> None:
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "user" not in service


def test_the_emulator_s_health_check_holds_while_it_runs_and_not_after(tmp_path: Path) -> None:
    check = SERVICES["api"]["healthcheck"]["test"]
    assert check[:3] == ["CMD", "python", "-c"]

    def code(port: int) -> int:
        script = check[3].replace("8081", str(port))
        return subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=30).returncode

    with running(tmp_path / "calls.jsonl") as api:
        port = int(api.base_url.rpartition(":")[2].partition("/")[0])
        assert code(port) == 0
    assert code(port) == 1
