"""What has arrived of an answer; over a socket: fuzz/test_fuzz_settled_answers.py, integration/test_connections.py."""

from __future__ import annotations

import pytest

from consumer.xcover.connection import ArrivedAnswer, arrived_answer

HEAD = b"HTTP/1.1 404 Not Found\r\n"


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"HTTP/1.1 204",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nX: HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 2040 No Content\r\n",
        b"HTTP/2 204 No Content\r\n",
        b"X\r\nHTTP/1.1 204 No Content\r\n",
    ],
)
def test_without_a_whole_status_line_nothing_has_arrived(received: bytes) -> None:
    assert arrived_answer(received) is None


@pytest.mark.parametrize(
    "received",
    [
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 204\n",
        b"HTTP/1.0 204 \r\nX: y\r\n\r\n",
        b"\r\nHTTP/1.1 204 No Content\r\nno colon\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nno colon\r\n\r\nHTTP/1.1 204 No Content\r\nno colon\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_204_has_arrived_with_its_status_line(received: bytes) -> None:
    answer = arrived_answer(received)
    assert answer is not None
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize(
    "received",
    [
        HEAD,
        HEAD + b"\r\n",  # its body goes on until the server hangs up, and this does not tell whether it has
        HEAD + b"Content-Length: 2\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        HEAD + b"no colon\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ],
)
def test_a_404_whose_body_is_not_known_to_be_whole_has_not_arrived(received: bytes) -> None:
    assert arrived_answer(received) is None


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 2\r\n\r\n{}",
        b"Content-Length: 2\r\n\r\n{}HTTP/1.1 204 No Content\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\n\r\n<html>",
        b"X: " + b"y" * 200_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"X: y\r\n" * 1_000 + b"Content-Length: 2\r\n\r\n{}",
    ],
)
def test_a_whole_404_has_arrived_whatever_is_around_it(rest: bytes) -> None:
    answer = arrived_answer(HEAD + rest)
    assert answer is not None
    assert (answer.status, answer.body) == (404, b"{}")


def test_of_another_status_what_has_come_counts() -> None:
    assert arrived_answer(b"HTTP/1.1 503 X\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\nbus") == ArrivedAnswer(
        503, [(b"retry-after", b"7"), (b"content-length", b"9")], b"bus"
    )
    assert arrived_answer(b"HTTP/1.1 503 X\r\nRetry-After: 7\r\n") == ArrivedAnswer(503, [], b"")
