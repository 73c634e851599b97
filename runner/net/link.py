"""One WebSocket connection, from its handshake to its end (picows).

Theory of operation: picows calls us for each frame on the event loop; a whole message is handed on
in that very callback, as bytes of its own (a picows payload is only valid inside the callback, and
copying 300 bytes costs less than a mistake). Fragments, which picows does not join, are joined
here; pings are answered here, so that they count as a sign of life. One timer per connection looks
at a counter of frames: the hot path neither reads a clock nor moves a timer.

    CONNECTING --handshake--> LIVE --close frame, error, silence, end()--> ENDED

A link ends once, with the first reason given; after that no callback is made but `on_end`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import picows
from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport

from runner.base.errors import Down
from runner.base.secret import redact
from runner.exchanges.api import Keepalive
from runner.net.doors import check_context, check_url, from_connecting

OnMessage = Callable[[bytes, bool, int], None]
"""(message, newer frames of the same read wait behind it, number of the connection)"""

MAX_MESSAGE: Final = 16 * 1024 * 1024
HANDSHAKE_S: Final = 5.0
_CLOSING_S: Final = 1.0
_S: Final = 1_000_000_000
_LONGEST_STEP: Final = 1.0
_TEXT: Final = WSMsgType.TEXT
_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY)
_CONTROL: Final = (WSMsgType.PING, WSMsgType.PONG, WSMsgType.CLOSE)


class _ParserErrors(logging.Handler):
    """Ends the link when picows' parser gives up.

    The parser tells nobody but its logger, and would go on delivering what follows the error until
    its delayed disconnect; so this is where the link learns of it.
    """

    def __init__(self, link: Link) -> None:
        super().__init__(logging.ERROR)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        detail = record.args[0] if isinstance(record.args, tuple) and record.args else ""
        what = detail[-1] if isinstance(detail, tuple) and detail else record.getMessage()
        self._link.end(f"protocol error: {redact(str(what))}", WSCloseCode.PROTOCOL_ERROR)


class Link(picows.WSListener):
    """A live connection. Made by `connect`, delivers after `open`, ends by itself or by `end`."""

    def __init__(self, keepalive: Keepalive, max_message: int) -> None:
        self._early: list[bytes] = []
        self._on_message: OnMessage = self._hold
        self.conn = 0
        self._keepalive = keepalive
        self._max_message = max_message
        self._parts: list[bytes] | None = None
        self._plain = True
        """live, and no fragment is waiting for its continuation"""
        self._size = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._seen = 0
        self._congested = False
        self.transport: WSTransport | None = None
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self.error: Exception | None = None
        """what a callback of ours raised; a bug, and the owner re-raises it"""
        self.received = 0
        """frames of any kind"""
        self._control = 0

    @property
    def proved(self) -> bool:
        """Whether the server has said anything but pings and good-bye."""
        return self.received > self._control

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        if self.ended.done():  # the handshake was given up, and succeeded all the same
            transport.disconnect(graceful=False)
            return
        silence, every = self._keepalive.silence_ns / _S, self._keepalive.every_ns / _S
        now = self._loop.time()
        self._heard, self._next_ping = now, now + every
        steps = [_LONGEST_STEP, silence / 8] + ([every] if every else [])
        self._step = min(steps)
        self._timer = self._loop.call_later(self._step, self._tick)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.received += 1
        if self._plain and frame.fin and frame.msg_type is _TEXT:
            try:
                message = frame.get_payload_as_bytes()
                self._on_message(message, not frame.last_in_buffer, self.conn)
            except Exception as error:
                self._fail(error)
        elif not self.ended.done():
            self._other(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.end("the connection was lost")

    def open(self, on_message: OnMessage, conn: int) -> None:
        """Deliver from now on, first what came before the owner was ready."""
        self.conn = conn
        self._on_message = on_message
        early, self._early = self._early, []
        for message in early:
            if not self.ended.done():
                self._deliver(message, False)

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False

    def send(self, message: bytes) -> None:
        """Put a text message on the wire; Down when it surely was not (ended, or not drained)."""
        if self.transport is None or self.ended.done():
            raise Down("the socket is not connected")
        if self._congested:
            raise Down("the socket does not drain; nothing more is queued on it")
        self.transport.send(_TEXT, message)

    def end(self, reason: str, code: WSCloseCode = WSCloseCode.GOING_AWAY) -> None:
        """End the link: tell the peer, close the transport, make no further callback."""
        if self.ended.done():
            return
        self._plain = False
        self.ended.set_result(reason)
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None and not self.transport.is_disconnected:
            self.transport.send_close(code)
            self.transport.disconnect(graceful=False)

    async def gone(self) -> None:
        """Wait until the transport is closed; how it closed is in `ended`."""
        assert self.transport is not None
        with suppress(Exception):  # whatever picows keeps for this call has been reported already
            async with asyncio.timeout(_CLOSING_S):
                await self.transport.wait_disconnected()

    def _hold(self, message: bytes, more: bool, conn: int) -> None:
        self._early.append(message)

    def _deliver(self, message: bytes, more: bool) -> None:
        try:
            self._on_message(message, more, self.conn)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.end(f"handling a frame failed: {type(error).__name__}", WSCloseCode.INTERNAL_ERROR)

    def _other(self, transport: WSTransport, frame: WSFrame) -> None:
        """Everything but a whole text message."""
        kind = frame.msg_type
        self._control += kind in _CONTROL
        if kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            code, text = frame.get_close_code(), redact(frame.get_close_reason() or "")
            number = code.value if isinstance(code, WSCloseCode) else int(code)
            self.end(f"closed by the server: {number} {text}".rstrip(), WSCloseCode.OK)
        elif kind in _DATA or kind is WSMsgType.CONTINUATION:
            self._fragment(frame)

    def _fragment(self, frame: WSFrame) -> None:
        opening = frame.msg_type is not WSMsgType.CONTINUATION
        if opening == (self._parts is not None):
            self.end("fragments out of order", WSCloseCode.PROTOCOL_ERROR)
            return
        if opening:
            self._parts, self._size, self._plain = [], 0, False
        assert self._parts is not None
        self._size += frame.payload_size
        if self._size > self._max_message:
            self.end("a message exceeds the size limit", WSCloseCode.MESSAGE_TOO_BIG)
            return
        self._parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            whole, self._parts, self._plain = b"".join(self._parts), None, True
            self._deliver(whole, not frame.last_in_buffer)

    def _tick(self) -> None:
        now = self._loop.time()
        if self.received != self._seen:
            self._seen, self._heard = self.received, now
        elif now - self._heard >= self._keepalive.silence_ns / _S:
            self.end(f"nothing received for {self._keepalive.silence_ns / _S:g} s")
            return
        if self._keepalive.every_ns and now >= self._next_ping:
            self._ping()
            self._next_ping = now + self._keepalive.every_ns / _S
        self._timer = self._loop.call_later(self._step, self._tick)

    def _ping(self) -> None:
        assert self.transport is not None
        if self._keepalive.frame is None:
            self.transport.send_ping()
        elif not self._congested:
            self.transport.send(_TEXT, self._keepalive.frame)


async def connect(
    url: str,
    keepalive: Keepalive,
    tls: ssl.SSLContext,
    allowed: frozenset[str] | None = None,
    max_message: int = MAX_MESSAGE,
    handshake_s: float = HANDSHAKE_S,
) -> Link:
    """Open a connection. Down or RateLimited when it fails, WorldError for a forbidden URL."""
    check_url(url, allowed)
    check_context(tls)
    link = Link(keepalive, max_message)
    # A logger outside the tree: picows' lines hold URLs; what matters comes out as a reason.
    logger = logging.Logger("picows", logging.ERROR)
    logger.addHandler(_ParserErrors(link))
    try:
        async with asyncio.timeout(handshake_s):
            await picows.ws_connect(
                lambda: link,
                url,
                ssl_context=tls,
                websocket_handshake_timeout=handshake_s,
                logger_name=logger,
                enable_auto_pong=False,
                max_frame_size=max_message,
                max_redirects=0,
            )
    except (picows.WSError, OSError, TimeoutError, EOFError) as error:
        link.end("the handshake failed")
        raise from_connecting(url, error) from error
    except asyncio.CancelledError:
        link.end("the handshake was given up")
        raise
    return link
