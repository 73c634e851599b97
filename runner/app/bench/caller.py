"""The sender of `bench doors`, in the other process: one signed message, one connection each.

As signal services do it: connect, post, read the status, go. The time is taken when the connection
stands and the message is about to be written.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from runner.app.bench.setup import DOOR_SECRET
from runner.base.clock import NS_PER_S, SystemClock

PATH: Final = "/signals"
_BODY: Final = '{"id":"m%d","signal":"long","symbol":"BTCUSDT","confidence":0.9,"stop_loss":59400}'
_HEAD: Final = (
    "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "Content-Length: %d\r\nX-Timestamp: %s\r\nX-Signature: %s\r\nConnection: close\r\n\r\n"
)


class Calls:
    """Posts messages; `begun` is called before each is written."""

    def __init__(self, begun: Callable[[], None]) -> None:
        self.turned_away = 0
        self._begun = begun
        self._clock = SystemClock()
        self._number = 0
        self._under_way: set[asyncio.Task[None]] = set()

    def post(self, port: int) -> None:
        """Send the next message."""
        self._number += 1
        task = asyncio.get_running_loop().create_task(self._call(port, self._message()))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _message(self) -> bytes:
        body = (_BODY % self._number).encode()
        stamp = f"{self._clock.wall() / NS_PER_S:.3f}"
        content = stamp.encode() + b"." + body
        signature = hmac.new(DOOR_SECRET.reveal().encode(), content, hashlib.sha256).hexdigest()
        return (_HEAD % (PATH, len(body), stamp, signature)).encode() + body

    async def _call(self, port: int, message: bytes) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            self._begun()
            writer.write(message)
            status = await reader.readline()
            writer.close()
        except OSError:
            status = b""
        self.turned_away += b" 202 " not in status
