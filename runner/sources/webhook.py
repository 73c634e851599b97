"""Webhooks: a small HTTP server on which others post their signals (R-71).

Order of checks, the cheap first: path, method, address, size, failures of this address, proof of
the sender, rate, shape, and what the engine says of it. The answer is written before anything acts:

    202 accepted, or a heartbeat      401 no proof          403 from another address
    404 no such path, 405 no POST     409 known already     413 too large
    422 of another shape, or late     429 too many

A heartbeat is a message with proof and an empty body, or with `"heartbeat": true` in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from runner.base.errors import WorldError
from runner.base.secret import Secret
from runner.engine.codes import Why
from runner.sources.api import Listener
from runner.sources.door import LARGEST, Accepted, Refused, at, parse, read, stamp_of
from runner.spec.parts import Rate
from runner.spec.source_plan import HmacPlan, ListenPlan, SourcePlan, TokenPlan, WebhookPlan

PATIENCE_S: Final = 5.0
"""how long a body may take"""
FAILURES: Final = Rate(20, 60_000_000_000)
"""how often an address may fail to prove itself"""
MOST_ADDRESSES: Final = 1024
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

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request; what is accepted is heard after the answer."""
        try:
            return await self._checked(request)
        except Answer as no:
            self._listener.refused(self.plan.name, no.code, no.text)
            body = {"refused": no.code, "reason": no.text}
            return web.json_response(body, status=no.status)

    async def _checked(self, request: web.BaseRequest) -> web.Response:
        listener, plan, now = self._listener, self.plan, self._listener.clock.mono()
        if request.method != "POST":
            raise Answer(405, "method", "messages are posted")
        address = self._address(request)
        failures = self._failures.get(address)
        if failures is not None and failures.full(now):
            raise Answer(429, "failures", "too many messages without proof from this address")
        body = await _body(request)
        try:
            proof = self._proved(request, body)
        except Answer:
            self._failed(address, now)
            raise
        except Refused as flaw:
            self._failed(address, now)
            raise Answer(422, flaw.flaw.value, str(flaw)) from None
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

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks: Mapping[str, Hook] = {h.options.listen.path: h for h in hooks}
        self._listen: ListenPlan = hooks[0].options.listen
        self._runner: web.ServerRunner | None = None
        self.port = 0

    async def open(self) -> None:
        """Begin to listen; WorldError when the address cannot be had."""
        server = web.Server(self._answer, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        listen = self._listen
        try:
            site = web.TCPSite(self._runner, listen.host, listen.port, ssl_context=_tls(listen))
            await site.start()
        except (OSError, ssl.SSLError) as error:
            await self.close()
            text = f"cannot listen at {listen.host}:{listen.port}: {error.strerror or error}"
            raise WorldError(text) from None
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        hook = self._hooks.get(request.path)
        if hook is None:
            return web.json_response({"refused": "path"}, status=404)
        return await hook.answer(request)


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
