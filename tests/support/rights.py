"""The rights that the manual says the service needs, given to it and no others."""

from __future__ import annotations

import re

from brokers import AuthorizingBroker
from confluent_kafka.admin import AclOperation, ResourceType

from .deployment import Deployment
from .documents import MANUAL

_ROW = re.compile(r"^\| `kafka\.(\w+)` \| (topic|group) \| ([\w, ]+) \|$", re.MULTILINE)
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


def rights_of_the_manual() -> dict[str, tuple[ResourceType, tuple[str, ...]]]:
    """By the setting that names the topic or the group, in the group `kafka`: its kind and the rights, as named."""
    page = (MANUAL / "operations.md").read_text(encoding="utf-8")
    table = page.partition("### The rights")[2].partition("\n#")[0]
    kinds = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}
    return {setting: (kinds[kind], tuple(rights.split(", "))) for setting, kind, rights in _ROW.findall(table)}


def allow_by_the_manual(broker: AuthorizingBroker, deployment: Deployment) -> None:
    """Give the deployment's principal these rights."""
    names = {
        "offer_topic": deployment.offer_topic,
        "checkout_topic": deployment.checkout_topic,
        "outcome_topic": deployment.outcome_topic,
        "dead_letter_topic": deployment.dead_letter_topic,
        "group_id": deployment.group,
    }
    found = rights_of_the_manual()
    assert found.keys() == names.keys(), "the table in operations.md names each of them once"
    for setting, (kind, rights) in found.items():
        broker.allow(kind, names[setting], *(_OPERATIONS[right] for right in rights))
