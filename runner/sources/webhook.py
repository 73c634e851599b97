"""Webhooks: a small HTTP server on which others post their signals (R-71).

Order of checks, the cheap first: path, method, address, size, failures of this address, proof of
the sender, rate, shape, and what the engine says of it. The answer is written before anything acts:

    202 accepted, or a heartbeat      401 no proof          403 from another address
    404 no such path, 405 no POST     409 known already     413 too large
    422 of another shape, or late     429 too many

A heartbeat is a message with proof and an empty body, or with `"heartbeat": true` in it. Who has no
proof is answered and its connection closed; who says nothing is closed by the `doorkeeper`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from runner.base.errors import WorldError
from runner.base.secret import Secret
from runner.engine.codes import Why
from runner.sources.api import Listener
from runner.sources.door import LARGEST, Accepted, Refused, at, parse, read, stamp_of
from runner.sources.doorkeeper import HANDSHAKE_S, MOST_STRANGERS, STRANGER_S, Doorkeeper
from runner.spec.parts import Rate
from runner.spec.source_plan import HmacPlan, ListenPlan, SourcePlan, TokenPlan, WebhookPlan

PATIENCE_S: Final = 5.0
"""how long a body may take"""
SHUTDOWN_S: Final = 1.0
FAILURES: Final = Rate(20, 60_000_000_000)
"""how often an address may fail to prove itself"""
MOST_ADDRESSES: Final = 1024
Proved = Callable[[web.BaseRequest], None]
_CONFLICTS: Final = frozenset({Why.DUPLICATE, Why.OUT_OF_ORDER})


class Throttle:
    """At most so many in so long."""

    __slots__ = ("_rate", "_times")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._times: deque[int] = deque()

    def full(self, now: int) -> bool:
        """Whether there is no room for another at `now` (monotonic ns)."""
        while self._times and now - self._times[0] >= self._rate.per_ns:
            self._times.popleft()
        return len(self._times) >= self._rate.count

    def add(self, now: int) -> None:
        """Count one."""
        self._times.append(now)


class Answer(Exception):
    """What is answered when a message goes no further."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


@dataclass(slots=True)
class Proof:
    """A body whose sender is proved; `stamp` wall ns of the signed time, 0 without one."""

    message: object
    stamp: int
    mark: str
    """names these very bytes, for sources without `dedupe`"""


class Hook:
    """One webhook source."""

    def __init__(self, plan: SourcePlan, secret: Secret, listener: Listener) -> None:
        assert isinstance(plan.options, WebhookPlan)
        self.plan, self.options, self._listener = plan, plan.options, listener
        self._secret = secret
        self._networks = [ipaddress.ip_network(ip, strict=False) for ip in plan.options.ips]
        self._rate = Throttle(plan.rate)
        self._failures: dict[str, Throttle] = {}

    async def answer(self, request: web.BaseRequest, proved: Proved) -> web.Response:
        """Answer one request; what is accepted is heard after the answer.

        proved: told when the request has proof, before it is read. Without, the answer closes.
        """
        try:
            proof = await self._examined(request)
        except Answer as no:
            answer = self._no(no)
            answer.force_close()
            return answer
        proved(request)
        try:
            return self._taken(proof)
        except Answer as no:
            return self._no(no)

    def no(self, code: str, text: str) -> None:
        """Count something that did not pass."""
        self._listener.refused(self.plan.name, code, text)

    def _no(self, no: Answer) -> web.Response:
        self.no(no.code, no.text)
        return web.json_response({"refused": no.code, "reason": no.text}, status=no.status)

    async def _examined(self, request: web.BaseRequest) -> Proof:
        """Return what a request brings and proves; Answer when it does not."""
        now = self._listener.clock.mono()
        if request.method != "POST":
            raise Answer(405, "method", "messages are posted")
        address = self._address(request)
        failures = self._failures.get(address)
        if failures is not None and failures.full(now):
            raise Answer(429, "failures", "too many messages without proof from this address")
        body = await _body(request)
        try:
            return self._proved(request, body)
        except Answer:
            self._failed(address, now)
            raise
        except Refused as flaw:
            self._failed(address, now)
            raise Answer(422, flaw.flaw.value, str(flaw)) from None

    def _taken(self, proof: Proof) -> web.Response:
        """Take a message with proof; Answer when it goes no further."""
        listener, plan, now = self._listener, self.plan, self._listener.clock.mono()
        if self._rate.full(now):
            raise Answer(429, "rate", f"more than {plan.rate.count} messages")
        self._rate.add(now)
        if _heartbeat(proof.message):
            asyncio.get_running_loop().call_soon(listener.pulse, plan.name, True)
            return web.json_response({"heartbeat": True}, status=202)
        try:
            message = read(plan, proof.message, proof.mark)
        except Refused as flaw:
            raise Answer(422, flaw.flaw.value, str(flaw)) from None
        return self._heard(message, message.sent_at or proof.stamp or listener.clock.wall())

    def _heard(self, message: Accepted, sent_at: int) -> web.Response:
        refusal = self._listener.examine(self.plan.name, message, sent_at)
        if refusal is not None:
            status = 409 if refusal.code in _CONFLICTS else 422
            raise Answer(status, refusal.code.value, refusal.text)
        loop = asyncio.get_running_loop()
        loop.call_soon(self._listener.hear, self.plan.name, message, sent_at)
        return web.json_response({"accepted": message.id}, status=202)

    # -- who

    def _address(self, request: web.BaseRequest) -> str:
        """Return the sender's address; 403 when it is none of `ips`."""
        address = request.remote or ""
        behind = self.options.behind
        if behind and _same(address, behind):
            forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))
            address = forwarded.split(",")[-1].strip() or address
        elif behind:
            raise Answer(403, "address", "messages come by the proxy")
        if self._networks:
            try:
                known = ipaddress.ip_address(address)
            except ValueError:
                raise Answer(403, "address", "the sender has no address") from None
            if not any(known in network for network in self._networks):
                raise Answer(403, "address", "messages are not taken from this address")
        return address[:64]

    def _failed(self, address: str, now: int) -> None:
        if address not in self._failures and len(self._failures) >= MOST_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures.setdefault(address, Throttle(FAILURES)).add(now)

    def _proved(self, request: web.BaseRequest, body: bytes) -> Proof:
        auth = self.options.auth
        if isinstance(auth, HmacPlan):
            return self._signed(auth, request, body)
        return self._known(auth, request, body)

    def _signed(self, auth: HmacPlan, request: web.BaseRequest, body: bytes) -> Proof:
        given = request.headers.get(auth.header, "").removeprefix("sha256=").lower()
        stamp_text = request.headers.get(auth.timestamp, "")
        content = stamp_text.encode("utf-8", "replace") + b"." + body
        digest = hmac.new(self._secret.reveal().encode(), content, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(digest.encode(), given.encode("utf-8", "replace")):
            raise Answer(401, "signature", f"{auth.header} is not the signature of this message")
        stamp = stamp_of(stamp_text)
        if stamp is None or abs(self._listener.clock.wall() - stamp) > auth.tolerance_ns:
            raise Answer(401, "timestamp", f"{auth.timestamp} is too far from our time")
        return Proof(parse(body) if body.strip() else None, stamp, f"sig:{digest[:32]}")

    def _known(self, auth: TokenPlan, request: web.BaseRequest, body: bytes) -> Proof:
        message = parse(body) if body.strip() else None
        token = request.headers.get(auth.header, "")
        if auth.pointer is not None:
            given = at(message, auth.pointer)
            token = given if isinstance(given, str) else ""
        elif auth.header.lower() == "authorization":
            token = token.removeprefix("Bearer ")
        ours = hashlib.sha256(self._secret.reveal().encode()).digest()
        theirs = hashlib.sha256(token.encode("utf-8", "replace")).digest()
        if not hmac.compare_digest(ours, theirs):
            raise Answer(401, "token", "the token is not the one agreed on")
        return Proof(message, 0, "")


class HookServer:
    """All webhooks of one address and port."""

    def __init__(
        self,
        hooks: Sequence[Hook],
        most_strangers: int = MOST_STRANGERS,
        patience_s: float = STRANGER_S,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        self._hooks: Mapping[str, Hook] = {h.options.listen.path: h for h in hooks}
        self._listen: ListenPlan = hooks[0].options.listen
        self._most, self._patience = most_strangers, patience_s
        self._handshake_s = handshake_s
        self._server: asyncio.Server | None = None
        self._keeper: Doorkeeper | None = None
        self.port = 0

    async def open(self) -> None:
        """Begin to listen; WorldError when the address cannot be had."""
        listen = self._listen
        keeper = self._keeper = Doorkeeper(
            self._answer, self._turned_away, most=self._most, patience_s=self._patience
        )
        try:
            tls = _tls(listen)
            self._server = await asyncio.get_running_loop().create_server(
                keeper,
                listen.host,
                listen.port,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else self._handshake_s,
            )
        except (OSError, ssl.SSLError) as error:
            text = f"cannot listen at {listen.host}:{listen.port}: {error.strerror or error}"
            raise WorldError(text) from None
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and let answers under way leave."""
        if self._server is None or self._keeper is None:
            return
        self._server.close()
        self._server = None
        await asyncio.sleep(0)  # what has arrived begins to be answered
        self._keeper.pre_shutdown()
        await self._keeper.shutdown(SHUTDOWN_S)

    def _turned_away(self, code: str, text: str) -> None:
        """Count a connection among the refusals of the address's first webhook."""
        next(iter(self._hooks.values())).no(code, text)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        hook, keeper = self._hooks.get(request.path), self._keeper
        assert keeper is not None
        if hook is None:
            answer = web.json_response({"refused": "path"}, status=404)
            answer.force_close()
            return answer
        return await hook.answer(request, keeper.proved)


async def _body(request: web.BaseRequest) -> bytes:
    """Read at most the largest body there may be."""
    if (request.content_length or 0) > LARGEST:
        raise Answer(413, "too_large", f"more than {LARGEST} bytes")
    found = bytearray()
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for chunk in request.content.iter_any():
                found += chunk
                if len(found) > LARGEST:
                    raise Answer(413, "too_large", f"more than {LARGEST} bytes")
    except TimeoutError:
        raise Answer(408, "slow", "the body did not come in time") from None
    return bytes(found)


def _heartbeat(message: object) -> bool:
    if message is None or message == {}:
        return True
    return isinstance(message, dict) and message.get("heartbeat") is True


def _same(address: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(other, strict=False)
    except ValueError:
        return False


def _tls(listen: ListenPlan) -> ssl.SSLContext | None:
    if not listen.tls_cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(listen.tls_cert, listen.tls_key)
    return context
