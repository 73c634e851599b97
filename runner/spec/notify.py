"""Read `notify:`: who is paged for what, the sign of life, the summary of the day."""

from __future__ import annotations

import zoneinfo
from urllib.parse import urlsplit

from runner.lang.nodes import Mapping, Node, Scalar, Sequence
from runner.spec.context import Context, section, text, word
from runner.spec.exchanges import reference
from runner.spec.notify_plan import (
    Address,
    AlivePlan,
    DailyPlan,
    HookPlan,
    NotifyPlan,
    PagePlan,
    TelegramPlan,
)

SECOND = 1_000_000_000
LEAST_ALIVE = 10 * SECOND
ALIVE_EVERY = 60 * SECOND
TELEGRAM = "https://api.telegram.org"
_SINKS = ("telegram", "webhook", "command")
_BEARING = {
    "hooks.slack.com": "/",
    "discord.com": "/api/webhooks",
    "api.telegram.org": "/bot",
    "hc-ping.com": "/",
}
"""hosts whose URLs let anybody who has them write there, with where such a path begins"""


def read_notify(root: Mapping, ctx: Context) -> NotifyPlan:
    """Read the section."""
    at = section(root, "notify")
    return NotifyPlan(page=_page(at, ctx), alive=_alive(at, ctx), daily=_daily(at, ctx))


def _page(at: Mapping, ctx: Context) -> PagePlan | None:
    if "page" not in at:
        if "daily" in at:
            message = "`daily` is sent to those whom `page` names"
            help = ("add `page: {telegram: ...}`, `{webhook: ...}` or `{command: ...}`",)
            ctx.add("E0203", message, at.key("daily"), "", "notify.daily", help=help)
        return None
    node = section(at, "page")
    wrong = not isinstance(at.get("page"), Mapping)  # the shape's check says so
    if not any(key in node for key in _SINKS) and not node.bad and not wrong:
        message = "`page` names nobody: it needs `telegram`, `webhook` or `command`"
        ctx.add("E0203", message, at.key("page"), "", "notify.page")
    topics = node.get("for")
    return PagePlan(
        telegram=_telegram(node, ctx),
        webhook=_hook(node, ctx),
        command=_words(node.get("command")),
        topics=_words(topics),
    )


def _telegram(node: Mapping, ctx: Context) -> TelegramPlan | None:
    at = section(node, "telegram")
    token, chat = reference(at.get("token")), text(at, "chat")
    if token is None or chat is None:
        return None
    base = word(at, "base_url", TELEGRAM)
    if "base_url" in at:
        _check_url(at.get("base_url"), ctx, "notify.page.telegram.base_url")
    return TelegramPlan(token, chat, base.rstrip("/"))


def _hook(node: Mapping, ctx: Context) -> HookPlan | None:
    at = section(node, "webhook")
    address = _address(at, ctx, "notify.page.webhook.url")
    if address is None:
        return None
    return HookPlan(address, word(at, "format", "json"), reference(at.get("token")))


def _alive(at: Mapping, ctx: Context) -> AlivePlan | None:
    node = section(at, "alive")
    address = _address(node, ctx, "notify.alive.url")
    every = ctx.duration(node, "every", "notify.alive")
    if every is not None and every < LEAST_ALIVE:
        message = "a sign of life more often than every 10s tells nobody more"
        ctx.add("E0203", message, node.key("every"), "", "notify.alive.every")
    if address is None:
        return None
    return AlivePlan(address, ALIVE_EVERY if every is None else every)


def _daily(at: Mapping, ctx: Context) -> DailyPlan | None:
    node = section(at, "daily")
    when = text(node, "at")
    zone = word(node, "zone", "UTC")
    if not _is_zone(zone):
        message = f"no time zone is named `{zone[:60]}`"
        help = ("names are those of the IANA database: UTC, Europe/Berlin, America/New_York",)
        at_ = node.get("zone")
        mark = at_.mark if at_ is not None else node.mark
        ctx.add("E0203", message, mark, "", "notify.daily.zone", help=help)
        return None
    return None if when is None else DailyPlan(when, zone)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


def _address(at: Mapping, ctx: Context, path: str) -> Address | None:
    node = at.get("url")
    if isinstance(node, Mapping):
        secret = reference(node)
        return None if secret is None else Address(secret=secret)
    if not isinstance(node, Scalar) or node.bad:
        return None
    _check_url(node, ctx, path)
    return Address(url=node.text)


def _check_url(node: Node | None, ctx: Context, path: str) -> None:
    if not isinstance(node, Scalar) or node.bad:
        return
    parts = urlsplit(node.text)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        label = "expected https://host/..."
        ctx.add("E0203", "this is not a URL that can be called", node.mark, label, path)
    elif parts.username or parts.password:
        message = "a URL may hold no user name and no password"
        ctx.add("E0203", message, node.mark, "", path, help=("use `token: {env: NAME}`",))
    elif _bears_a_secret(parts.hostname, parts.path):
        message = "whoever reads this URL can write there: it is a secret"
        ctx.secret(node, message, path)


def _bears_a_secret(host: str, path: str) -> bool:
    start = _BEARING.get(host)
    return start is not None and path.startswith(start) and len(path) > len(start) + 8


def _words(node: Node | None) -> tuple[str, ...]:
    if not isinstance(node, Sequence) or node.bad:
        return ()
    return tuple(i.text for i in node.items if isinstance(i, Scalar) and not i.bad)
