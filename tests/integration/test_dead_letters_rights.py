"""`opt-out dead-letters` with the rights that its page says, and without one of them; and at a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import brokers
import pytest
from brokers import AuthorizingBroker, UnavailableError
from confluent_kafka.admin import AclOperation, ResourceType
from support.deployment import Deployment, deployed, now
from support.documents import MANUAL
from support.letters import dead_letter, dead_letters, resubmit, resubmitted
from support.run_command import clean_environ

KINDS = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional id": ResourceType.TRANSACTIONAL_ID,
}
OPERATIONS = {"Read": AclOperation.READ, "Write": AclOperation.WRITE, "Describe": AclOperation.DESCRIBE}


@pytest.fixture(scope="module")
def guarded() -> Iterator[AuthorizingBroker]:
    """A broker with an authorizer."""
    try:
        broker = AuthorizingBroker()
        broker.start()
    except UnavailableError as reason:
        pytest.skip(f"needs a broker of our own, with an authorizer: {reason}")
    try:
        yield broker
    finally:
        broker.close()


def rights_of_the_page(deployment: Deployment) -> list[tuple[ResourceType, str, list[AclOperation]]]:
    """The table of the manual, with the deployment's names."""
    page = (MANUAL / "dead-letters.md").read_text(encoding="utf-8").partition("## The rights")[2]
    names = {
        "kafka.offer_topic": deployment.offer_topic,
        "kafka.checkout_topic": deployment.checkout_topic,
        "kafka.dead_letter_topic": deployment.dead_letter_topic,
        "<kafka.group_id>.dead-letters": f"{deployment.group}.dead-letters",
        "kafka.group_id": deployment.group,
    }
    found = []
    for kind, named, rights in re.findall(
        r"^\| (topic|group|transactional id) \| (.+) \| (.+) \|$", page, re.MULTILINE
    ):
        operations = [OPERATIONS[right] for right in rights.split(", or ")[-1].split(", ")]
        found += [(KINDS[kind], names[name], operations) for name in re.findall(r"`([^`]+)`", named)]
    assert len(found) == 5
    return found


def at(broker: AuthorizingBroker) -> dict[str, str]:
    """The settings by which one logs in."""
    return {
        "KAFKA__BOOTSTRAP_SERVERS": broker.guarded_servers,
        "KAFKA__GROUP_PROTOCOL": "classic",
        "KAFKA__PROPERTIES": json.dumps(broker.login),
    }


def test_the_rights_of_the_page_are_enough_and_each_that_is_missing_is_named(
    guarded: AuthorizingBroker, tmp_path: Path
) -> None:
    with deployed(guarded.bootstrap_servers, tmp_path) as deployment:
        for kind, name, operations in rights_of_the_page(deployment):
            guarded.allow(kind, name, *operations)
        deployment.check_out("o1", session="s1", at=now())
        deployment.flush()
        dead_letter(deployment, deployment.checkout_topic, "undecodable")
        for kind, name, words in [
            (ResourceType.TOPIC, deployment.checkout_topic, "you may not write to it"),
            (ResourceType.TOPIC, deployment.dead_letter_topic, "you may not write to it"),
            (ResourceType.TRANSACTIONAL_ID, f"{deployment.group}.dead-letters", "you may not write in transactions"),
        ]:
            guarded.withdraw(kind, name, AclOperation.WRITE)
            done = dead_letters(deployment, "resubmit", "--all", "--yes", **at(guarded))
            assert done.returncode == 1
            assert words in done.stderr
            assert name in done.stderr
            guarded.allow(kind, name, AclOperation.WRITE)
        assert resubmitted(deployment, deployment.checkout_topic) == []
        assert resubmit(deployment, "--all", **at(guarded)) == (0, {"resubmitted": 1})
        assert json.loads(dead_letters(deployment, "--output", "json", **at(guarded)).stdout)["resubmitted"] == 1
        guarded.withdraw(ResourceType.TOPIC, deployment.dead_letter_topic, AclOperation.READ)
        done = dead_letters(deployment, **at(guarded))
        assert done.returncode == 1
        assert "could not be read" in done.stderr


@pytest.mark.parametrize(("answer", "there"), [("n", 0), ("y", 1)])
def test_at_a_terminal_it_counts_and_asks(real_kafka: brokers.Broker, tmp_path: Path, answer: str, there: int) -> None:
    with deployed(real_kafka.bootstrap_servers, tmp_path) as deployment:
        deployment.check_out("o1", session="s1", at=now())
        deployment.flush()
        dead_letter(deployment, deployment.checkout_topic, "undecodable")
        ours, theirs = pty.openpty()
        environ = {name: value for name, value in deployment.environ().items() if name.startswith("OPT_OUT_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "consumer", "dead-letters", "resubmit", "--all"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=clean_environ() | environ | {"COLUMNS": "200", "NO_COLOR": "1"},
        )
        os.close(theirs)
        said = ""
        try:
            deadline = time.monotonic() + 60
            while "Re-submit 1 record? [y/N]" not in said:
                assert time.monotonic() < deadline, said
                said += os.read(ours, 4_096).decode(errors="replace")
            assert "to be re-submitted" in said
            os.write(ours, f"{answer}\n".encode())
            while process.poll() is None:
                try:
                    said += os.read(ours, 4_096).decode(errors="replace")
                except OSError:  # it has closed its end
                    break
            code = process.wait(60)
        finally:
            process.kill()
            os.close(ours)
        assert code == (0 if there else 1), said
        assert len(resubmitted(deployment, deployment.checkout_topic)) == there
