"""Keys and secrets that change while calls are made, at a server that checks each signature."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import structlog.testing
from support.owner import OWNER, always
from support.signed_api import SignedApi

from consumer.calls import Answer, AnswerKind, OptOutCall
from consumer.events import Reason, RecordRef
from consumer.settings import load
from consumer.xcover.api import OptOutApi
from consumer.xcover.auth import Credentials
from consumer.xcover.rotation import RETRY_S
from consumer.xcover.secret_files import SecretFiles
from consumer.xcover.transport import AiohttpTransport

OLD, NEW, HALF = ("key-one", "secret-one"), ("key-two", "secret-two"), ("key-two", "secret-one")


def call(offer_id: str, partner_code: str = "P") -> OptOutCall:
    source = RecordRef("offer.presented", 0, 1)
    return OptOutCall(partner_code, offer_id, "session", Reason.DECLINED, {}, source, OWNER, 1)


class Caller:
    """Makes calls with the credentials of files, on a clock that is moved by hand."""

    def __init__(self, api: SignedApi, folder: Path, **contents: str) -> None:
        self.folder, self.now = folder, 0.0
        for name, content in contents.items():
            self.write(name, content)
        environ = {f"OPT_OUT_API__{name.upper()}_FILE": str(folder / name) for name in contents}
        loaded = load(None, {"OPT_OUT_API__BASE_URL": api.base_url, **environ})
        settings = loaded.settings.api
        files = SecretFiles(loaded.files, settings)
        self.credentials = Credentials(settings, time.time, files, lambda: self.now)
        self._transport = AiohttpTransport(settings, 4)
        self._api = OptOutApi(settings, self.credentials, self._transport, time.time)

    def write(self, name: str, content: str) -> None:
        """Put a file in its place, and let the next call look at it."""
        part = self.folder / f"{name}.part"
        part.write_text(content, encoding="utf-8")
        os.replace(part, self.folder / name)
        self.now += 1.0

    async def __call__(self, *offers: str, partner: str = "P") -> list[Answer]:
        return list(await asyncio.gather(*(self._api(call(offer, partner), always) for offer in offers)))

    async def close(self) -> None:
        await self._transport.aclose()


def test_a_pair_that_changes_file_by_file_costs_no_call(tmp_path: Path) -> None:
    async def main(api: SignedApi) -> None:
        caller = Caller(api, tmp_path, key=OLD[0], secret=OLD[1])
        api.accepted = {OLD}
        assert (await caller("a"))[0].kind is AnswerKind.RECORDED
        api.accepted = {OLD, NEW}
        caller.write("key", NEW[0])
        assert (await caller("b"))[0].kind is AnswerKind.RECORDED
        assert [one.pair for one in api.calls if one.offer_id == "b"] == [HALF, OLD]
        caller.write("secret", NEW[1])
        assert (await caller("c"))[0].kind is AnswerKind.RECORDED
        assert [one.pair for one in api.calls if one.offer_id == "c"] == [NEW]
        api.accepted = {NEW}
        answers = await caller("d", "e", "f")
        assert {one.kind for one in answers} == {AnswerKind.RECORDED}
        assert {one.pair for one in api.calls if one.offer_id in "def"} == {NEW}
        await caller.close()

    with SignedApi(OLD, NEW, HALF).serving() as api:
        asyncio.run(main(api))


def test_a_secret_that_is_not_accepted_yet_is_tried_now_and_then_beside_the_old_one(tmp_path: Path) -> None:
    async def main(api: SignedApi) -> None:
        caller = Caller(api, tmp_path, key="key-one", secret="secret-one")
        api.accepted = {OLD}
        caller.write("secret", "secret-two")
        with structlog.testing.capture_logs() as logs:
            for offer in ("a", "b", "c"):
                (answer,) = await caller(offer)
                assert answer == Answer(AnswerKind.RECORDED, 204)
            assert api.of("a") == [("secret-two", 401), ("secret-one", 204)]
            assert api.of("b") == api.of("c") == [("secret-one", 204)]
            caller.now += RETRY_S
            api.accepted = {("key-one", "secret-two")}
            (answer,) = await caller("d")
            assert answer.kind is AnswerKind.RECORDED
            assert api.of("d") == [("secret-two", 204)]
        assert "secret-" not in str(logs)
        await caller.close()

    with SignedApi(OLD, ("key-one", "secret-two")).serving() as api:
        asyncio.run(main(api))


def test_where_the_old_secret_is_revoked_with_the_change_no_call_of_many_is_refused(tmp_path: Path) -> None:
    async def main(api: SignedApi) -> None:
        caller = Caller(api, tmp_path, key="key-one", secret="secret-one")
        caller.write("secret", "secret-two")
        api.accepted = {("key-one", "secret-two")}
        answers = await caller(*map(str, range(20)))
        assert {answer.kind for answer in answers} == {AnswerKind.RECORDED}
        await caller.close()

    with SignedApi(OLD, ("key-one", "secret-two")).serving() as api:
        asyncio.run(main(api))


def test_the_answer_stands_when_both_are_refused_and_quotes_no_signature(tmp_path: Path) -> None:
    async def main(api: SignedApi) -> None:
        caller = Caller(api, tmp_path, key="key-one", secret="secret-one")
        caller.write("secret", "secret-two")
        (answer,) = await caller("a")
        assert (answer.kind, answer.status_code) == (AnswerKind.CREDENTIALS, 401)
        assert [secret for secret, _ in api.of("a")] == ["secret-two", "secret-one"]
        assert answer.note is not None
        assert 'signature="***"' in answer.note
        caller.now += RETRY_S
        assert caller.credentials.sign("P") is not None, "another call tries the new one now"
        (answer,) = await caller("b")
        assert answer.kind is AnswerKind.CREDENTIALS
        assert [secret for secret, _ in api.of("b")] == ["secret-one", "secret-two"], "each once"
        await caller.close()

    with SignedApi(OLD, ("key-one", "secret-two")).serving() as api:
        asyncio.run(main(api))


def test_a_partner_of_its_own_is_new_in_the_file_and_one_that_is_gone_keeps_its_own(tmp_path: Path) -> None:
    async def main(api: SignedApi) -> None:
        one, two = ({"key": pair[0], "secret": pair[1]} for pair in (OLD, NEW))
        caller = Caller(api, tmp_path, credentials=json.dumps({"P": one}))
        api.accepted = {OLD, NEW}
        limit = caller.credentials.credential_of("P")
        (answer,) = await caller("a", partner="Q")
        assert (answer.kind, answer.status_code) == (AnswerKind.CREDENTIALS, None)
        caller.write("credentials", json.dumps({"Q": two, "R": one}))
        for partner in ("P", "Q", "R"):
            (answer,) = await caller(partner, partner=partner)
            assert answer.kind is AnswerKind.RECORDED
        assert [one.pair for one in api.calls] == [OLD, NEW, OLD]
        assert caller.credentials.credential_of("P") == caller.credentials.credential_of("R") == limit
        assert caller.credentials.credential_of("Q") != limit
        caller.write("credentials", json.dumps({"P": two, "Q": two, "R": one}))
        await caller("b")
        assert caller.credentials.credential_of("P") == limit, "its queue counts by it already"
        await caller.close()

    with SignedApi(OLD, NEW).serving() as api:
        asyncio.run(main(api))


def test_a_partner_that_comes_later_shares_the_limit_of_those_with_its_key(tmp_path: Path) -> None:
    async def main(api: SignedApi) -> None:
        one, two = ({"key": pair[0], "secret": pair[1]} for pair in (OLD, NEW))
        caller = Caller(api, tmp_path, credentials=json.dumps({"P": one}))
        api.accepted = {OLD, NEW}
        caller.write("credentials", json.dumps({"P": two}))
        await caller("a")
        caller.write("credentials", json.dumps({"P": two, "Q": two}))
        await caller("b")
        assert caller.credentials.credential_of("Q") == caller.credentials.credential_of("P") == ("key", OLD[0])
        await caller.close()

    with SignedApi(OLD, NEW).serving() as api:
        asyncio.run(main(api))


def test_a_partner_whose_first_credentials_are_refused_is_called_with_those_of_all(tmp_path: Path) -> None:
    async def main(api: SignedApi) -> None:
        caller = Caller(api, tmp_path, key=OLD[0], secret=OLD[1], credentials="{}")
        api.accepted = {OLD}
        caller.write("credentials", json.dumps({"P": {"key": NEW[0], "secret": NEW[1]}}))
        (answer,) = await caller("a")
        assert answer.kind is AnswerKind.RECORDED
        assert [one.pair for one in api.calls] == [NEW, OLD]
        await caller.close()

    with SignedApi(OLD, NEW).serving() as api:
        asyncio.run(main(api))
