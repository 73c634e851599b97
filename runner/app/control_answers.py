"""What a running strategy answers its operator (interfaces.md, section 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runner.app.control import FOLLOW
from runner.app.listening import figures
from runner.app.taps import Tap
from runner.app.why.answer import answer as why_answer
from runner.app.why.gather import gather
from runner.app.why.shape import About
from runner.app.why.text import label
from runner.base.units import plain
from runner.engine.blocking import Kind
from runner.engine.limits import STICKY, Mode
from runner.engine.order import Order
from runner.engine.trade import Trade
from runner.market.streams import NEVER as LONG_AGO

if TYPE_CHECKING:
    from runner.app.live import LiveRun

_OPERATIONS = ("halt", "resume", "flatten")


def answer(run: LiveRun, command: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Do what `command` says and return the answer; ValueError for what cannot be done."""
    if command in ("status", "snapshot"):
        return status(run)
    if command == "ack":
        return {**status(run), "acknowledged": _acknowledge(run, str(fields.get("topic") or ""))}
    if command == "why":
        return why(run, fields)
    if command == "tap":
        name = str(fields.get("name") or "")
        return {"name": name, FOLLOW: Tap(run.host, run.parts.engine, name).rows()}
    if command not in _OPERATIONS:
        raise ValueError(
            f"unknown command {command!r}; there are status, why, tap, ack,"
            f" {', '.join(_OPERATIONS)}"
        )
    rule, market = str(fields.get("rule") or ""), str(fields.get("market") or "")
    _check(run, command, rule, market, bool(fields.get("yes")))
    run.operate(
        command,
        rule=rule,
        market=market,
        who=str(fields.get("who") or "operator"),
        why=str(fields.get("why") or ""),
    )
    return status(run)


def _acknowledge(run: LiveRun, topic: str) -> list[str]:
    messenger = run.office.messenger if run.office is not None else None
    return [] if messenger is None else [t.value for t in messenger.board.acknowledge(topic)]


def _told(run: LiveRun) -> dict[str, Any]:
    """The open pages, and whether people could be reached."""
    messenger = run.office.messenger if run.office is not None else None
    if messenger is None:
        return {"pages": [], "sinks": {}}
    return {
        "pages": [
            {"topic": p.topic.value, "text": p.texts[-1], "count": p.count, "told": p.sent}
            for p in messenger.board.pages
        ],
        "sinks": {
            box.sink.name: {
                "sent": box.sent,
                "failed": box.failed,
                "dropped": box.dropped,
                "last_failure": box.last_failure,
            }
            for box in messenger.boxes
        },
    }


def _check(run: LiveRun, command: str, rule: str, market: str, yes: bool) -> None:
    if rule and rule not in run.plan.rules:
        raise ValueError(f"no rule is named {rule!r}; there are {', '.join(run.plan.rules)}")
    if market and market not in run.plan.markets:
        raise ValueError(f"no market is named {market!r}; there are {', '.join(run.plan.markets)}")
    if market and not yes:
        raise ValueError(f"closing {market} alone leaves its partners open; say --yes")
    mode = run.parts.engine.desk.limits.mode
    if command == "resume" and not rule and mode in STICKY and not yes:
        raise ValueError(f"the run is {mode.shown}; resuming needs --yes")


def why(run: LiveRun, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return why a rule did or did not trade; without `rule` the same of all, without decisions."""
    wanted = str(fields.get("rule") or "")
    if wanted and wanted not in run.plan.rules:
        raise ValueError(f"no rule is named {wanted!r}; there are {', '.join(run.plan.rules)}")
    since = fields.get("since_ns")
    about = About(strategy=run.plan.name, run=run.run_id, kind=_kind(run), live=True)
    answers = [
        why_answer(
            gather(run.parts.engine, rule, run.host.paths),
            about,
            since_ns=None if since is None else int(since),
            last=int(fields.get("last", 5)) if wanted else 0,
        )
        for rule in ([wanted] if wanted else run.plan.rules)
    ]
    return {"rules": answers}


def _kind(run: LiveRun) -> str:
    return "start" if run.options.signed else "dry-run"


def status(run: LiveRun) -> dict[str, Any]:
    """Return the run's state for people and programs; numbers that are not known are null."""
    engine = run.parts.engine
    desk, limits = engine.desk, engine.desk.limits
    now = run.clock.mono()
    return {
        "format": "1.0",
        "name": run.plan.name,
        "run": run.run_id,
        "kind": _kind(run),
        "state_dir": str(run.folder.state.path),
        "uptime_s": round(now / 1e9, 3),
        "state": limits.mode.shown,
        "reason": "" if limits.mode is Mode.ACTIVE else limits.reason,
        "day_loss": _number(limits.day_loss),
        "drawdown": _number(desk.trips.drawdown) if run.plan.risk.max_drawdown else None,
        "losing_streak": desk.trips.streak if run.plan.risk.max_losing_streak else None,
        "rules": {name: _rule(run, name, now) for name in run.plan.rules},
        "positions": {
            name: plain(listed.instrument.base_qty(desk.ledgers.lots(name)))
            for name, listed in desk.markets.items()
            if desk.ledgers.lots(name)
        },
        "orders": {
            "open": len(desk.orders.open),
            "each": [_order(run, order) for order in desk.orders.open.values()],
        },
        "streams": {
            key: {
                "state": str(stream.state),
                "age_ms": round(stream.age(now) / 1e6, 1) if stream.seq else None,
            }
            for key, stream in engine.market.streams.items()
        },
        "sources": {name: _source(run, name, now) for name in run.plan.sources},
        "exchanges": {name: _exchange(run, name) for name in run.plan.exchanges},
        "latency_us": run.parts.collector.stages.figures(),
        "notify": _told(run),
        "warnings": list(run.warnings),
    }


def _order(run: LiveRun, order: Order) -> dict[str, str]:
    """Tell an order that has no end yet, at the price and quantity in force."""
    intent = order.intent
    instrument = run.parts.engine.desk.markets[intent.market].instrument
    return {
        "cid": intent.cid,
        "rule": intent.rule,
        "purpose": intent.purpose.value,
        "market": intent.market,
        "side": intent.side.value,
        "price": instrument.price_text(order.ticks) if order.ticks else "market",
        "qty": instrument.qty_text(order.lots),
        "filled": plain(instrument.base_qty(order.filled)),
        "state": order.state.value,
    }


def _source(run: LiveRun, name: str, now: int) -> dict[str, Any]:
    engine, doors = run.parts.engine, run.listening
    stream = engine.sources.streams[name]
    told = figures(engine, doors)[name]
    return {
        "type": stream.plan.type.value,
        "state": str(stream.state),
        "down": stream.down,
        "age_ms": round(stream.age(now) / 1e6, 1) if stream.t != LONG_AGO else None,
        "fields": len(stream.cells),
        "port": doors.ports.get(name),
        "accepted": told.accepted,
        "late": told.late,
        "lost": told.lost,
        "refused": told.refused,
        "last_refusal": doors.counts[name].last_refusal,
        "spent": told.spent,
    }


def _rule(run: LiveRun, name: str, now: int) -> dict[str, Any]:
    each = run.parts.engine.desk.rules.runs[name]
    funnel = run.parts.engine.funnels[name]
    return {
        "state": each.state.value,
        "reason": _present(run, name),
        "disabled": each.disabled_why,
        "orphan": each.plan.orphan.value if each.plan.orphan is not None else "",
        "leaving": _leaving(each.trade),
        "guards": _guards(run, each.trade),
        "entries": funnel.entries,
        "exits": funnel.exits,
        "refusals": dict(funnel.refusals),
        "pnl": _number(each.cell.pnl(now)),
    }


def _present(run: LiveRun, name: str) -> str:
    """Say what stands in a rule's way now; "" while it holds a trade."""
    blocks = run.parts.engine.desk.traces.present(name)
    told = [b for b in blocks if b.kind is not Kind.TRADE]
    named = [label({"kind": b.kind.value, "subject": b.subject}) for b in told]
    return "; ".join(
        f"{name} ({b.text})" if b.text else name for name, b in zip(named, told, strict=True)
    )


def _guards(run: LiveRun, trade: Trade | None) -> list[dict[str, str]]:
    """Say what rests at the exchange for a trade, and whether it stands."""
    desk, rows = run.parts.engine.desk, []
    if trade is None:
        return []
    for guard in trade.guards:
        instrument = desk.markets[trade.legs[0].market].instrument
        order = desk.orders.guards.get(guard.cid)
        rows.append(
            {
                "kind": guard.kind.value,
                "price": instrument.price_text(guard.ticks),
                "qty": instrument.qty_text(order.open_lots) if order is not None else "0",
                "state": order.state.value if order is not None else "absent",
            }
        )
    return rows


def _leaving(trade: Trade | None) -> str:
    """Why a trade is being left, and that it cannot be right now."""
    if trade is None or trade.leaving is None:
        return ""
    held = ", held" if trade.leaving.held else ", resting" if trade.leaving.passive else ""
    return f"by {trade.leaving.reason}{held}"


def _exchange(run: LiveRun, name: str) -> dict[str, Any]:
    link = run.links[name]
    venue = run.parts.engine.desk.venues[name]
    return {
        "type": link.plan.type,
        "network": link.plan.network.value,
        "state": venue.state.value,
        "reconnects": link.feed.reconnects if link.feed is not None else 0,
        "refused_streams": list(link.feed.refused) if link.feed is not None else [],
        "unknown_frames": link.feed.unrecognised if link.feed is not None else 0,
        "rate_refusals": link.rest.pace.limited_answers,
        "clock": {
            "offset_ms": round(link.sync.offset / 1e6, 3),
            "uncertainty_ms": round(link.sync.uncertainty / 1e6, 3),
            "ok": link.sync.ok,
        },
    }


def _number(value: float) -> float | None:
    return round(value, 8) if math.isfinite(value) else None
