"""Transports that follow a script instead of a wire; for tests of whatever stands above `net`.

`MockHttp` answers requests from a list and remembers them; `MockSocket` stands in for a
`WebSocket`: the test plays the server by `connect`, `push` and `drop`, and reads `sent`.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator

from runner.base.errors import Down, ExchangeError, UnknownOutcome
from runner.exchanges.api import HttpRequest
from runner.net.http import TIMEOUT_S, HttpResponse
from runner.net.websocket import Listener

Answer = HttpResponse | ExchangeError | Callable[[HttpRequest], Awaitable[HttpResponse]]
"""what to return, what to raise, or a coroutine function that decides"""


def json_response(body: str, status: int = 200, **headers: str) -> HttpResponse:
    """Return an answer with a JSON body; header names' underscores become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, named, body.encode())


class MockHttp:
    """Answers in the order of the script; a request beyond it is an error of the test."""

    def __init__(self, script: Iterable[Answer] = ()) -> None:
        self.script: deque[Answer] = deque(script)
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        """Answer as the script says. AssertionError when it has nothing left to say."""
        self.requests.append(request)
        if not self.script:
            raise AssertionError(f"no answer is scripted for {request.method} {request.url}")
        answer = self.script.popleft()
        if isinstance(answer, HttpResponse):
            return answer
        if isinstance(answer, ExchangeError):
            raise answer
        return await answer(request)

    async def read(self, request: HttpRequest, timeout_s: float = TIMEOUT_S) -> HttpResponse:
        """As `send`, with every failure Down, like the real one."""
        try:
            return await self.send(request, timeout_s)
        except UnknownOutcome as error:
            raise Down(str(error)) from error

    def __repr__(self) -> str:
        return f"<MockHttp {len(self.requests)} asked, {len(self.script)} answers left>"


class MockSocket:
    """A socket whose other end is the test."""

    def __init__(self, listener: Listener, numbers: Iterator[int] | None = None) -> None:
        self._listener = listener
        self._numbers = numbers or itertools.count(1)
        self.sent: list[bytes] = []
        self.up = False
        self.conn = 0
        self.connects = 0

    def send(self, message: bytes) -> None:
        """Remember a message; Down when not connected."""
        if not self.up:
            raise Down("the socket is not connected")
        self.sent.append(message)

    def connect(self) -> None:
        """Come up."""
        self.conn = next(self._numbers)
        self.connects += 1
        self.up = True
        self._listener.on_up(self.conn)

    def push(self, *messages: bytes) -> None:
        """Let messages arrive in one read: all but the last have newer ones behind them."""
        for left, message in zip(range(len(messages) - 1, -1, -1), messages, strict=True):
            self._listener.on_frame(message, left > 0, self.conn)

    def drop(self, reason: str = "the connection was lost") -> None:
        """Lose the connection."""
        self.up = False
        self._listener.on_down(self.conn, reason)

    kick = drop

    def close(self) -> None:
        """End for good."""
        if self.up:
            self.drop("closed by us")

    def __repr__(self) -> str:
        return f"<MockSocket conn {self.conn} {'up' if self.up else 'down'}, {len(self.sent)} sent>"
