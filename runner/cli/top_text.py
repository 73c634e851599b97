"""The screen of `runner top`: rules with their reasons, streams, positions, latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.app.report_text import table


def screen(found: Mapping[str, Any]) -> str:
    """Write a snapshot as one screen, with a line end."""
    parts = [_head(found), _rules(found), _streams(found), _positions(found), _latency(found)]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _head(found: Mapping[str, Any]) -> list[str]:
    reason = f"  {found['reason']}" if found["reason"] else ""
    head = f"{found['name']}  {found['kind']}  run {found['run']}  up {found['uptime_s']:.0f}s"
    loss = found["day_loss"]
    day = "" if loss is None else f"  day {gained(loss)}"
    exchanges = "  ".join(f"{name} {each['state']}" for name, each in found["exchanges"].items())
    orders = found["orders"]["open"]
    return [f"{head}  {found['state'].upper()}{reason}", f"{exchanges}  orders {orders}{day}"]


def gained(loss: float) -> str:
    """Write the loss of the day as what the day brought, without a sign of nothing."""
    return f"{round(-loss, 2) + 0.0:+.2f}"


def _rules(found: Mapping[str, Any]) -> list[str]:
    rows: list[Sequence[str]] = [("rule", "state", "in", "out", "refused", "pnl")]
    why: list[str] = []
    for name, each in found["rules"].items():
        pnl = "-" if each["pnl"] is None else f"{each['pnl']:+.4f}"
        refused = sum(each["refusals"].values())
        cells = (each["state"], each["entries"], each["exits"], refused, pnl)
        rows.append((name, *map(str, cells)))
        why.append(each["reason"] or each["leaving"] or "")
    lines = table(rows, indent="")
    drawn = [lines[0]]
    for line, reason in zip(lines[1:], why, strict=True):
        drawn.append(line)
        if reason:
            drawn.append(f"    {reason}"[:120])
    return drawn


def _streams(found: Mapping[str, Any]) -> list[str]:
    """Name the streams that are not live first; of the others how many, and the oldest."""
    away = {key: each for key, each in found["streams"].items() if each["state"] != "live"}
    live = {key: each for key, each in found["streams"].items() if each["state"] == "live"}
    lines = [f"{each['state'].upper()}  {key}  {_age(each)}" for key, each in away.items()]
    if live:
        oldest = max(live, key=lambda key: live[key]["age_ms"] or 0)
        lines.append(f"{len(live)} streams live, the oldest {oldest} {_age(live[oldest])}")
    return lines


def _age(stream: Mapping[str, Any]) -> str:
    return "never" if stream["age_ms"] is None else f"{stream['age_ms']:.0f}ms old"


def _positions(found: Mapping[str, Any]) -> list[str]:
    if not found["positions"]:
        return ["flat"]
    return [f"position {market}  {qty}" for market, qty in found["positions"].items()]


def _latency(found: Mapping[str, Any]) -> list[str]:
    if not found["latency_us"]:
        return []
    rows: list[Sequence[str]] = [("stage", "n", "p50", "p95", "p99 us")]
    for stage, each in found["latency_us"].items():
        times = (f"{each[p]:.1f}" for p in ("p50", "p95", "p99"))
        rows.append((stage, f"{each['n']:.0f}", *times))
    return table(rows, indent="")
