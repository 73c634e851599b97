"""Read what each type of source needs besides: doors, addresses, questions, calendars."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runner.base.hosts import is_loopback
from runner.lang import types
from runner.lang.check import TEXT
from runner.lang.diagnostics import Mark
from runner.lang.nodes import Mapping, Scalar, Sequence
from runner.lang.tree import Param, is_broken
from runner.spec.context import Context, flag, integer, section, text, word
from runner.spec.cron import parse_cron
from runner.spec.fields import number_field, pointer
from runner.spec.parts import SecretRef
from runner.spec.patterns import endless
from runner.spec.source_plan import (
    FieldKind,
    FieldPlan,
    HmacPlan,
    ListenPlan,
    LlmBudget,
    LlmPlan,
    LlmPrice,
    OnlyPlan,
    Options,
    RestPlan,
    SchedulePlan,
    SourceType,
    TelegramPlan,
    TokenPlan,
    WebhookPlan,
    WebSocketPlan,
)
from runner.spec.suggest import hint

SECOND = 1_000_000_000


def _words(name: str, *values: str) -> FieldPlan:
    return FieldPlan(name, FieldKind.ENUM, (name,), types.one_of(values), values=values)


READY: dict[str, dict[str, FieldPlan]] = {
    "sentiment": {
        "mood": _words("mood", "bullish", "bearish", "neutral"),
        "score": number_field("score", -1, 1),
        "confidence": number_field("confidence", 0, 1),
    },
    "market_view": {
        "view": _words("view", "long", "short", "neutral"),
        "confidence": number_field("confidence", 0, 1),
        "risk": _words("risk", "low", "medium", "high"),
        "reasons": FieldPlan("reasons", FieldKind.TEXT, ("reasons",), types.TEXT, optional=True),
    },
}
"""the fields of the ready-made questions of a language model"""


class Reader:
    """The options of one source."""

    def __init__(self, node: Mapping, path: str, ctx: Context, key: Mark) -> None:
        self._node, self._path, self._ctx, self._key = node, path, ctx, key
        self.tellable: tuple[set[str], set[str]] = (set(), set())
        """the sources and the signals that a language model can be told of"""

    def read(self, type_: SourceType) -> Options | None:
        """Return the options; None after a diagnostic or where something was absent."""
        match type_:
            case SourceType.WEBHOOK:
                return self._webhook()
            case SourceType.WEBSOCKET:
                return self._websocket()
            case SourceType.REST:
                return self._rest()
            case SourceType.TELEGRAM:
                return self._telegram()
            case SourceType.LLM:
                return self._llm()
            case SourceType.SCHEDULE:
                return read_schedule(self._node, self._path, self._ctx)

    def _fault(self, message: str, key: str, label: str = "", *help: str) -> None:
        at = self._node.get(key)
        mark = at.mark if isinstance(at, Scalar) else self._node.key(key)
        self._ctx.add("E0203", message, mark, label, f"{self._path}.{key}", help=help)

    # -- webhook

    def _webhook(self) -> WebhookPlan | None:
        listen, auth = self._listen(), self._auth()
        ips = self._list("ips")
        behind = text(self._node, "behind") or ""
        for key, each in [*(("ips", ip) for ip in ips), ("behind", behind)]:
            if each and not _is_network(each):
                self._fault(f"`{each[:60]}` is no address", key)
        if isinstance(auth, TokenPlan) and auth.pointer is not None and not ips:
            host = listen.host if listen is not None else ""
            if not is_loopback(host) and not behind:
                self._fault("a token in the body is weak: name the senders in `ips`", "auth")
        if listen is None or auth is None:
            return None
        return WebhookPlan(listen, auth, ips, behind)

    def _listen(self) -> ListenPlan | None:
        at = section(self._node, "listen")
        port, path = integer(at, "port"), text(at, "path")
        if port is None or path is None:
            return None
        host, tls = text(at, "host") or "127.0.0.1", section(at, "tls")
        plan = ListenPlan(
            host, port, path, text(tls, "cert") or "", text(tls, "key") or "", flag(at, "plain")
        )
        if not is_loopback(host) and not plan.tls_cert and not plan.plain:
            node = at.get("host")
            self._ctx.add(
                "E0203",
                f"`{host[:60]}` is not this machine alone, and nothing is encrypted there",
                node.mark if node is not None else at.mark,
                "secrets and signals would travel in the open",
                f"{self._path}.listen.host",
                help=(
                    "listen at 127.0.0.1 with a TLS proxy in front (`behind: 127.0.0.1`),"
                    " or give `tls`, or say `plain: true`",
                ),
            )
        return plan

    def _auth(self) -> HmacPlan | TokenPlan | None:
        at, path = section(self._node, "auth"), f"{self._path}.auth"
        signed, token = section(at, "hmac_sha256"), at.get("token")
        if ("hmac_sha256" in at) == (token is not None) and at.entries:
            message = "`auth` is either `hmac_sha256` or a `token`"
            self._ctx.add("E0203", message, self._node.key("auth"), "", path)
            return None
        if "hmac_sha256" in at:
            secret = secret_at(signed, "secret")
            tolerance = self._ctx.duration(signed, "tolerance", f"{path}.hmac_sha256")
            if secret is None:
                return None
            return HmacPlan(
                secret,
                word(signed, "header", "X-Signature"),
                word(signed, "timestamp", "X-Timestamp"),
                30 * SECOND if tolerance is None else tolerance,
            )
        return self._token(at)

    def _token(self, at: Mapping) -> TokenPlan | None:
        secret = secret_at(at, "token")
        if secret is None:
            return None
        return TokenPlan(secret, pointer(at, "in"), word(at, "header", "Authorization"))

    def _bearer(self) -> TokenPlan | None:
        """Return how we prove ourselves to a server."""
        at = section(self._node, "auth")
        if "hmac_sha256" in at or "in" in at:
            self._fault("a server we ask is given a `token`, in a `header`", "auth")
        return self._token(at)

    # -- what we connect to or ask

    def _websocket(self) -> WebSocketPlan | None:
        url = self._url("url", ("wss", "ws"))
        if url is None:
            return None
        only = section(self._node, "only")
        where = pointer(only, "from")
        at = self._node.get("subscribe")
        said = (at.text,) if isinstance(at, Scalar) and not at.bad else self._list("subscribe")
        return WebSocketPlan(
            url,
            said,
            self._bearer(),
            pointer(self._node, "items") or (),
            None if where is None else OnlyPlan(where, text(only, "equals") or ""),
        )

    def _rest(self) -> RestPlan | None:
        url, every = self._url("url", ("https", "http")), self._span("every", SECOND)
        timeout = self._span("timeout", 0)
        if url is None or every is None:
            return None
        return RestPlan(
            url,
            every,
            word(self._node, "format", "json"),
            pointer(self._node, "items") or (),
            self._bearer(),
            10 * SECOND if timeout is None else timeout,
        )

    def _telegram(self) -> TelegramPlan | None:
        token, pattern = secret_at(self._node, "token"), text(self._node, "pattern")
        base = self._url("base_url", ("https", "http"))
        if pattern is not None and not self._pattern(pattern):
            return None
        if token is None or pattern is None:
            return None
        chats, senders = self._list("chats"), self._list("senders")
        return TelegramPlan(token, chats, senders, pattern, base or "https://api.telegram.org")

    def _pattern(self, pattern: str) -> bool:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            self._fault("`pattern` is no regular expression", "pattern", str(error)[:60])
            return False
        if endless(pattern):
            self._fault("`pattern` repeats a repetition", "pattern",
                        "a text made for it would hold the run up for hours",
                        "end each round with a character that the inner part cannot be, or write"
                        " the parts out")  # fmt: skip
            return False
        for entry in section(self._node, "fields"):
            node = entry.value
            if not isinstance(node, Mapping):
                continue
            name = (pointer(node, "from") or (entry.key.text,))[-1]
            if name not in groups and name not in ("message_id", "chat", "sender"):
                message = f"`pattern` has no group `{name}`"
                path = f"{self._path}.fields.{entry.key.text}"
                self._ctx.add("E0204", message, entry.key.mark, hint(name, groups), path)
        return True

    # -- a language model

    def _llm(self) -> LlmPlan | None:
        node = self._node
        base = self._url("base_url", ("https", "http"))
        at = node.get("about")
        about = (at.text,) if isinstance(at, Scalar) and not at.bad else self._list("about")
        known = self.tellable[0] | self.tellable[1]
        for name in about:
            if name not in known:
                message = f"no source and no signal is named `{name[:60]}`"
                mark, path = node.key("about"), f"{self._path}.about"
                self._ctx.add("E0204", message, mark, hint(name, known), path)
        refresh, rarely = self._span("refresh", SECOND), self._span("at_most_every", SECOND)
        timeout = self._span("timeout", 0)
        if "ready" in node and "answer" in node:
            self._fault("a ready-made question has its own answer", "answer")
        price, budget = self._price(), self._budget()
        if budget is not None and budget.money is not None and price is None:
            self._fault("a budget of money needs `price`", "budget")
        if base is None or text(node, "model") is None or not about:
            return None
        return LlmPlan(
            base,
            text(node, "model") or "",
            secret_at(node, "key"),
            about,
            text(node, "prompt") or "",
            word(node, "ready", ""),
            refresh,
            60 * SECOND if rarely is None else rarely,
            10 * SECOND if timeout is None else timeout,
            word(node, "json_mode", "schema"),
            integer(node, "max_tokens") or 500,
            budget,
            price,
        )

    def _budget(self) -> LlmBudget | None:
        at, path = section(self._node, "budget"), f"{self._path}.budget"
        per = self._ctx.duration(at, "per", path)
        if per is None:
            return None
        if not any(key in at for key in ("calls", "tokens", "money")):
            self._fault("`budget` limits nothing: it needs `calls`, `tokens` or `money`", "budget")
        return LlmBudget(per, integer(at, "calls"), integer(at, "tokens"), _number(at, "money"))

    def _price(self) -> LlmPrice | None:
        at = section(self._node, "price")
        asked, answered = _number(at, "input"), _number(at, "output")
        if asked is None or answered is None:
            return None
        if asked < 0 or answered < 0:
            self._fault("a price cannot be negative", "price")
        return LlmPrice(asked, answered, word(at, "currency", "USD"))

    # -- shared

    def _url(self, key: str, schemes: tuple[str, str]) -> str | None:
        url = text(self._node, key)
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            host = parts.hostname
        except ValueError:
            host, parts = None, urlsplit("")
        if not host:
            self._fault(f"`{key}` names no host", key)
        elif parts.scheme not in schemes:
            self._fault(f"`{key}` has the wrong scheme", key, f"expected {schemes[0]}://")
        elif parts.username or parts.password:
            self._fault(f"`{key}` may not hold a user name", key, "", "secrets belong in `auth`")
        elif parts.scheme != schemes[0] and not is_loopback(host):
            self._fault(f"`{key}` is not encrypted", key, f"expected {schemes[0]}://")
        return url

    def _span(self, key: str, least: int) -> int | None:
        found = self._ctx.duration(self._node, key, self._path)
        if found is not None and found < max(least, 1):
            self._fault(f"`{key}` is at least 1s" if least else f"`{key}` is too short", key)
        return found

    def _list(self, key: str) -> tuple[str, ...]:
        at = self._node.get(key)
        if not isinstance(at, Sequence) or at.bad:
            return ()
        return tuple(i.text for i in at.items if isinstance(i, Scalar) and not i.bad)


def read_schedule(node: Mapping, path: str, ctx: Context) -> SchedulePlan | None:
    """Read a calendar: of a source, or of a rule's own trigger."""
    cron, zone = _cron(node, path, ctx), text(node, "zone") or "UTC"
    if cron is None:
        return None
    within = ctx.duration(section(node, "missed"), "run_once_within", f"{path}.missed")
    jitter = ctx.duration(node, "jitter", path)
    at = node.get("cron")
    assert at is not None
    try:
        parse_cron(cron)
    except ValueError as error:
        ctx.add("E0203", f"`cron` cannot be read: {error}", at.mark, "", f"{path}.cron")
        return None
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        there = node.get("zone")
        mark = there.mark if there is not None else at.mark
        message = f"no time zone is named `{zone[:60]}`"
        ctx.add("E0203", message, mark, "", f"{path}.zone", help=("e.g. `zone: Europe/Berlin`",))
        return None
    if jitter is not None and jitter > 3600 * SECOND:
        message = "a `jitter` of more than an hour"
        ctx.add("E0203", message, node.key("jitter"), "", f"{path}.jitter")
    return SchedulePlan(cron, zone, within or 0, jitter or 0)


def _cron(node: Mapping, path: str, ctx: Context) -> str | None:
    """Return the five fields, written here or as the parameter `params.NAME`."""
    written, at = text(node, "cron"), node.get("cron")
    if written is None or not written.startswith("params."):
        return written
    expr = ctx.expr(at, TEXT, f"{path}.cron")
    if isinstance(expr, Param):
        return str(ctx.values.get(expr.name, "")) or None
    if expr is not None and not is_broken(expr):
        assert at is not None
        message = "`cron` is five fields, or one parameter that holds them"
        ctx.add("E0203", message, at.mark, "", f"{path}.cron")
    return None


def secret_at(node: Mapping, key: str) -> SecretRef | None:
    """Return a reference to a secret; None when absent or in error."""
    at = section(node, key)
    env, file = text(at, "env") or "", text(at, "file") or ""
    return SecretRef(env, file, node.key(key).line) if env or file else None


def _is_network(text_: str) -> bool:
    try:
        ipaddress.ip_network(text_, strict=False)
    except ValueError:
        return False
    return True


def _number(at: Mapping, key: str) -> float | None:
    node = at.get(key)
    if isinstance(node, Scalar) and not node.bad and isinstance(node.value, int | float):
        return float(node.value)
    return None
