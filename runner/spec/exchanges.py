"""Read `exchanges:` accounts, networks, references to keys, endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from runner.lang.diagnostics import Mark
from runner.lang.nodes import Mapping, Node, Scalar
from runner.market.instruments import Kind
from runner.spec import catalogue
from runner.spec.context import Context, integer, section, text, word
from runner.spec.market_plan import ExchangePlan, Network
from runner.spec.parts import SecretRef

_SCHEMES = {"rest": ("https", "http")}
_SOCKETS = ("wss", "ws")
_NEEDED = {Kind.SPOT: ("rest", "public"), Kind.PERPETUAL: ("rest", "public", "private", "trade")}
"""spot has its public side only in this version"""


@dataclass(slots=True)
class ExchangeDraft:
    """An exchange of the file; `type` is None when it is in error or not there yet."""

    name: str
    key: Mark
    type: str | None
    plan: ExchangePlan | None = None


def read_exchanges(root: Mapping, ctx: Context) -> dict[str, ExchangeDraft]:
    """Read the section."""
    drafts = {}
    for entry in section(root, "exchanges"):
        name = entry.key.text
        draft = ExchangeDraft(name, entry.key.mark, None)
        if isinstance(entry.value, Mapping) and not entry.value.bad:
            type_ = text(entry.value, "type")
            draft.type = type_ if type_ in catalogue.types() else None
            draft.plan = _plan(draft, entry.value, ctx)
        drafts[name] = draft
    return drafts


def _plan(draft: ExchangeDraft, node: Mapping, ctx: Context) -> ExchangePlan | None:
    path = f"exchanges.{draft.name}"
    network = text(node, "network")
    recv = ctx.duration(node, "recv_window", path)
    dead_man = ctx.duration(node, "dead_man", path)
    leverage = integer(node, "leverage")
    if "dead_man" in node and draft.type not in (None, "binance_usdm"):
        message = f"{draft.type} has no dead-man switch for an ordinary account"
        help = ("leave it out; `plan` says what stays when this machine dies",)
        ctx.add("E0512", message, node.key("dead_man"), "", f"{path}.dead_man", help=help)
    if draft.type is not None and leverage is not None:
        most = catalogue.max_leverage(draft.type)
        if leverage > most:
            message = "spot has no leverage" if most == 1 else f"{draft.type} has at most {most}x"
            ctx.add("E0504", message, node.key("leverage"), "", f"{path}.leverage")
    endpoints = _endpoints(node, draft.type, network, ctx, path)
    if draft.type is None or network is None:
        return None
    return ExchangePlan(
        name=draft.name,
        type=draft.type,
        network=Network(network),
        auth=_auth(node),
        order_entry=word(node, "order_entry", "websocket"),
        recv_window_ns=5_000_000_000 if recv is None else recv,
        leverage=leverage or (1 if catalogue.kind(draft.type) is Kind.SPOT else 2),
        margin_mode=word(node, "margin_mode", "cross"),
        position_mode=word(node, "position_mode", "one_way"),
        dead_man_ns=dead_man,
        endpoints=endpoints,
        line=draft.key.line,
    )


def _auth(node: Mapping) -> dict[str, SecretRef]:
    references = {}
    for entry in section(node, "auth"):
        found = reference(entry.value)
        if found is not None:
            references[entry.key.text] = found
    return references


def reference(node: Node | None) -> SecretRef | None:
    """Read `{env: NAME}` or `{file: PATH}`; None when it is absent or in error."""
    if not isinstance(node, Mapping) or node.bad:
        return None
    return SecretRef(text(node, "env") or "", text(node, "file") or "", node.mark.line)


def _endpoints(
    node: Mapping, type_: str | None, network: str | None, ctx: Context, path: str
) -> dict[str, str] | None:
    """Read `endpoints`: required with `network: custom`, refused with any other."""
    if network is None:
        return None
    if network != "custom":
        if "endpoints" in node:
            message = f"the endpoints of `network: {network}` cannot be replaced"
            help = ("your own go with `network: custom`",)
            at = node.key("endpoints")
            ctx.add("E0203", message, at, "", f"{path}.endpoints", help=help)
        return None
    section_ = section(node, "endpoints")
    needed = _NEEDED[Kind.PERPETUAL if type_ is None else catalogue.kind(type_)]
    absent = [f"`{name}`" for name in needed if name not in section_]
    if absent:
        at = node.key("endpoints") if "endpoints" in node else node.key("network")
        message = f"`network: custom` needs `endpoints` with {', '.join(absent)}"
        ctx.add("E0203", message, at, "", f"{path}.endpoints")
    found = {}
    for entry in section_:
        if isinstance(entry.value, Scalar) and not entry.value.bad:
            _check_url(entry.key.text, entry.value, ctx, f"{path}.endpoints")
            found[entry.key.text] = entry.value.text
    return found


def _check_url(name: str, node: Scalar, ctx: Context, path: str) -> None:
    parts = urlsplit(node.text)
    wanted = _SCHEMES.get(name, _SOCKETS)
    if parts.scheme not in wanted:
        label = f"expected {wanted[0]}:// or {wanted[1]}://"
        ctx.add("E0203", f"`{name}` has the wrong scheme", node.mark, label, path)
    elif parts.username or parts.password or parts.query:
        message = f"`{name}` may hold neither a user name nor a query"
        ctx.add("E0203", message, node.mark, "", path)
    elif not parts.hostname:
        ctx.add("E0203", f"`{name}` names no host", node.mark, "", path)
