"""The scripted transports behave as the real ones where it matters."""

from __future__ import annotations

import asyncio

import pytest

from runner.base.errors import Down, UnknownOutcome
from runner.exchanges.api import HttpRequest
from runner.net.http import HttpResponse
from runner.net.mock import MockHttp, MockSocket, json_response
from tests.net.wire import Ear

GET = HttpRequest(method="GET", url="https://x/time")


def test_answers_come_in_order_and_requests_are_remembered() -> None:
    async def decide(request: HttpRequest) -> HttpResponse:
        return json_response(f'{{"asked":"{request.method}"}}', 201, X_Used="3")

    async def test() -> None:
        http = MockHttp([json_response("{}"), UnknownOutcome("cut"), UnknownOutcome("cut"), decide])
        assert (await http.send(GET)).body == b"{}"
        with pytest.raises(UnknownOutcome):
            await http.send(GET)
        with pytest.raises(Down):
            await http.read(GET)
        answer = await http.read(GET)
        assert (answer.status, answer.headers["X-Used"]) == (201, "3")
        assert http.requests == [GET] * 4
        with pytest.raises(AssertionError, match="no answer is scripted"):
            await http.read(GET)

    asyncio.run(test())


def test_the_other_end_of_a_mock_socket_is_the_test() -> None:
    ear = Ear()
    socket = MockSocket(ear)
    with pytest.raises(Down):
        socket.send(b"early")
    socket.connect()
    socket.send(b"hello")
    socket.push(b"a", b"b")
    socket.drop("reset")
    socket.connect()
    socket.close()
    assert socket.sent == [b"hello"] and socket.connects == 2
    assert ear.frames == [(b"a", True, 1), (b"b", False, 1)]
    assert ear.downs == [(1, "reset"), (2, "closed by us")]
