"""deploy/kubernetes: manifests that the API's own schemas take, and that say what this version of the program needs."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import kubernetes_validate
import pytest
import yaml
from brokers.base import free_port
from support.health import Told

from consumer import __version__
from consumer.runtime.memory import BYTES_AN_UNSETTLED_CHAIN, SHARE
from consumer.server.http import serving
from consumer.server.latest import Latest
from consumer.server.metrics import METRICS
from consumer.settings import ServerSettings, Settings, load_settings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
DOCUMENTS: dict[str, dict[str, Any]] = {
    str(path.relative_to(FOLDER)): yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted(FOLDER.rglob("*.yaml"))
}
WORKLOADS = ("deployment/deployment.yaml", "static-members/statefulset.yaml")
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
"""Kubernetes versions whose schemas the manifests are held against."""

MEMBER = "OPT_OUT_KAFKA__GROUP_INSTANCE_ID"

_COUNT = {"type": "integer", "minimum": 1}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _table(needed: str = "", /, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": needed.split(),
        "additionalProperties": False,
    }


_RULES = _table(
    "policies",
    stabilizationWindowSeconds={"type": "integer", "minimum": 0, "maximum": 3600},
    policies={
        "type": "array",
        "items": _table(
            "type value periodSeconds",
            type={"enum": ["Pods", "Percent"]},
            value=_COUNT,
            periodSeconds={"type": "integer", "minimum": 1, "maximum": 1800},
        ),
    },
)
SCALED_OBJECT = _table(
    "apiVersion kind metadata spec",
    apiVersion={"const": "keda.sh/v1alpha1"},
    kind={"const": "ScaledObject"},
    metadata=_table("name", name={"type": "string"}),
    spec=_table(
        "scaleTargetRef triggers",
        scaleTargetRef=_table("name", name={"type": "string"}),
        minReplicaCount=_COUNT,
        maxReplicaCount=_COUNT,
        pollingInterval=_COUNT,
        fallback=_table(
            "failureThreshold replicas",
            failureThreshold=_COUNT,
            replicas=_COUNT,
            behavior={"enum": ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]},
        ),
        advanced=_table(horizontalPodAutoscalerConfig=_table(behavior=_table(scaleUp=_RULES, scaleDown=_RULES))),
        triggers={
            "type": "array",
            "items": _table(
                "type metadata",
                type={"const": "prometheus"},
                metricType={"const": "AverageValue"},  # the fallback knows no other
                metadata={**_TEXTS, "required": ["serverAddress", "query", "threshold"]},
            ),
        },
    ),
)
"""What KEDA's documents say of the fields that we use. Its own schema ships with its operator, and is not here."""


def pod(name: str) -> dict[str, Any]:
    """The pod that a workload makes."""
    found: dict[str, Any] = DOCUMENTS[name]["spec"]["template"]["spec"]
    return found


def container(name: str) -> dict[str, Any]:
    (found,) = pod(name)["containers"]
    assert isinstance(found, dict)
    return found


def environ(name: str) -> dict[str, str]:
    """The variables of the container, with what Kubernetes fills in."""
    return {entry["name"]: entry.get("value", "offer-opt-out-0") for entry in container(name)["env"]}


def settings(name: str, tmp_path: Path) -> Settings:
    """What the container runs with; the files that its variables name are made below `tmp_path`."""
    text = {"releases.toml": "", "kafka-password": "hush", "api-key": "a-key", "api-secret": "a-secret"}
    for file, content in text.items():
        (tmp_path / file).write_text(content, encoding="utf-8")
    there = {
        variable: re.sub(r"(/run/secrets|/etc)/opt-out/", f"{tmp_path}/", value)
        for variable, value in environ(name).items()
    }
    return load_settings(None, {"OPT_OUT_SERVER__HOST": "0.0.0.0", **there}, for_kafka=True, for_api=True)


# --- the API's schemas


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    "name", [name for name in DOCUMENTS if not name.endswith(("kustomization.yaml", "scaled-object.yaml"))]
)
def test_a_manifest_is_what_the_schema_of_kubernetes_takes(name: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[name], version, strict=True)


def test_a_field_that_does_not_exist_would_be_seen() -> None:
    wrong = {**DOCUMENTS["common/disruption-budget.yaml"], "spec": {"maxUnavailible": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_the_scaled_object_has_the_fields_that_keda_documents() -> None:
    jsonschema.validate(DOCUMENTS["keda/scaled-object.yaml"], SCALED_OBJECT)


def test_every_file_belongs_to_a_kustomization_and_every_name_in_one_is_there() -> None:
    named: set[str] = set()
    for name, document in DOCUMENTS.items():
        if name.endswith("kustomization.yaml"):
            folder = (FOLDER / name).parent
            for resource in document["resources"]:
                path = (folder / resource).resolve()
                assert path.exists(), f"{name}: {resource}"
                if path.is_file():
                    named.add(str(path.relative_to(FOLDER)))
    assert named == {name for name in DOCUMENTS if not name.endswith("kustomization.yaml")}


# --- the program


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_image_is_the_version_that_runs(name: str) -> None:
    assert container(name)["image"] == f"offer-opt-out:{__version__}"
    for metadata in (DOCUMENTS[name]["metadata"], DOCUMENTS[name]["spec"]["template"]["metadata"]):
        assert metadata["labels"]["app.kubernetes.io/version"] == __version__


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_variables_are_settings_that_the_program_starts_with(name: str, tmp_path: Path) -> None:
    found = settings(name, tmp_path)
    assert found.api.secret is not None
    assert found.api.secret.get_secret_value() == "a-secret"
    assert found.kafka.properties["sasl.password"] == "hush"
    assert found.delivery.release_file == tmp_path / "releases.toml"


@pytest.mark.parametrize("name", WORKLOADS)
def test_secrets_are_files_and_the_user_of_the_image_alone_may_read_them(name: str) -> None:
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container(name)["volumeMounts"]}
    assert all("subPath" not in mount and mount["readOnly"] for mount in mounts.values()), "they would never change"
    named = [path for value in environ(name).values() for path in re.findall(r"/[\w./-]*/opt-out/[\w.-]+", value)]
    assert len(named) == 4
    assert {str(Path(path).parent) for path in named} == mounts.keys()
    assert volumes[mounts["/run/secrets/opt-out"]["name"]]["secret"]["defaultMode"] == 0o440
    assert pod(name)["securityContext"]["fsGroup"] == 10001
    words = re.compile("secret|password|key", re.IGNORECASE)
    assert all(entry["name"].endswith("_FILE") for entry in container(name)["env"] if words.search(entry["name"]))


@pytest.mark.parametrize("name", WORKLOADS)
def test_probes_ask_what_is_served_where_it_is_served(name: str) -> None:
    (port,) = container(name)["ports"]
    assert port["containerPort"] == ServerSettings().port
    served, health = free_port(), Told()
    with serving(ServerSettings(port=served), health, Latest()):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container(name)[probe]["httpGet"]
            assert asked["port"] == port["name"]
            answer = httpx.get(f"http://127.0.0.1:{served}{asked['path']}")
            assert answer.status_code in (200, 503)
            assert answer.json().keys() >= {"ok", "reason"}
        scraped = DOCUMENTS[name]["spec"]["template"]["metadata"]["annotations"]
        assert scraped["prometheus.io/port"] == str(port["containerPort"])
        assert httpx.get(f"http://127.0.0.1:{served}{scraped['prometheus.io/path']}").status_code == 200
    assert container(name)["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container(name)["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_stop_has_more_time_than_the_service_takes(name: str, tmp_path: Path) -> None:
    grace = timedelta(seconds=pod(name)["terminationGracePeriodSeconds"])
    found = settings(name, tmp_path)
    for timeout in (found.delivery.shutdown_timeout, Settings().delivery.shutdown_timeout):
        assert grace >= timeout + timedelta(seconds=10)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_container_may_do_little(name: str) -> None:
    assert container(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    of_the_pod = pod(name)["securityContext"]
    assert of_the_pod["runAsNonRoot"] is True
    assert of_the_pod["seccompProfile"] == {"type": "RuntimeDefault"}
    user = f"{of_the_pod['runAsUser']}:{of_the_pod['runAsGroup']}"
    assert f"USER {user}\n" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert pod(name)["automountServiceAccountToken"] is False
    assert pod(name)["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(name).keys()


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_comment_says_how_many_offers_the_memory_is_for(name: str) -> None:
    limit = container(name)["resources"]["limits"]
    assert limit == {"memory": "1Gi"}
    assert limit["memory"] == container(name)["resources"]["requests"]["memory"]
    offers = round(2**30 * SHARE / BYTES_AN_UNSETTLED_CHAIN, -3)
    assert f"{offers:,.0f} here" in (FOLDER / name).read_text(encoding="utf-8")


def test_static_members_differ_from_the_deployment_by_their_name_alone() -> None:
    of_deployment, of_members = environ(WORKLOADS[0]), environ(WORKLOADS[1])
    assert of_members.pop(MEMBER) == "offer-opt-out-0"
    assert of_deployment == of_members
    pods = [pod(name) | {"containers": [container(name) | {"env": None}]} for name in WORKLOADS]
    assert pods[0] == pods[1]
    (member,) = [entry for entry in container(WORKLOADS[1])["env"] if entry["name"] == MEMBER]
    assert member["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    service = DOCUMENTS["static-members/service.yaml"]
    assert DOCUMENTS[WORKLOADS[1]]["spec"]["serviceName"] == service["metadata"]["name"]


def test_one_instance_goes_at_a_time_and_no_further_one_comes_before() -> None:
    assert DOCUMENTS[WORKLOADS[0]]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert DOCUMENTS["common/disruption-budget.yaml"]["spec"]["maxUnavailable"] == 1


def test_every_selector_finds_the_pods() -> None:
    for name in WORKLOADS:
        labels = DOCUMENTS[name]["spec"]["template"]["metadata"]["labels"]
        common = "common/disruption-budget.yaml", "common/network-policy.yaml"
        selectors = [
            DOCUMENTS[name]["spec"]["selector"]["matchLabels"],
            DOCUMENTS[common[0]]["spec"]["selector"]["matchLabels"],
            DOCUMENTS[common[1]]["spec"]["podSelector"]["matchLabels"],
            DOCUMENTS["static-members/service.yaml"]["spec"]["selector"],
        ]
        assert all(selector and selector.items() <= labels.items() for selector in selectors)
        assert "app.kubernetes.io/version" not in DOCUMENTS[name]["spec"]["selector"]["matchLabels"]


def test_scaling_goes_by_a_metric_of_ours_and_never_by_committed_lag() -> None:
    scaled = DOCUMENTS["keda/scaled-object.yaml"]["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["type"] == "prometheus"
    (metric,) = re.findall(r"\bopt_out_\w+", trigger["metadata"]["query"])
    assert metric == "opt_out_due_uncalled"
    assert metric in {metric.name for metric in METRICS}
    assert scaled["scaleTargetRef"]["name"] == DOCUMENTS[WORKLOADS[0]]["metadata"]["name"]
    patch = yaml.safe_load(DOCUMENTS["keda/kustomization.yaml"]["patches"][0]["patch"])
    assert patch == [{"op": "remove", "path": "/spec/replicas"}]


def test_no_secret_is_in_a_manifest() -> None:
    assert {document["kind"] for document in DOCUMENTS.values()}.isdisjoint({"Secret"})
