"""The report of a run, as a person reads it: the verdict first, then money, then the rest."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from runner.app.report_shape import SIMULATED, Report, RuleReport
from runner.app.why.text import label

_REASONS = 3
"""told in the text; the JSON and `runner why` have all"""

_SHOWN = 0.0005
"""a share of the time that is not 0.0% in print"""

_PIECES = (
    ("edge", "edge at decision"),
    ("walk", "book walk"),
    ("latency", "latency, decision to arrival"),
    ("fees", "fees"),
    ("failed", "failed legs and unwinds"),
    ("funding", "funding"),
    ("open", "open trades at exit price"),
    ("net", "net"),
)


def text(report: Report) -> str:
    """Write a report as plain text, 100 columns wide at most, with a line end."""
    parts = [
        _head(report),
        *(_rule(name, rule) for name, rule in report.rules.items()),
        _haircuts(report),
        _exchanges(report),
        _streams(report),
        _sources(report),
        _latency(report),
        _assumptions(report),
        _unaccounted(report),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Align rows: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(indent + "  ".join(cells).rstrip())
    return lines


def short(amount: str) -> str:
    """Write money with four decimals: the JSON has them all."""
    return f"{Decimal(amount):.4f}"


def count(n: int, thing: str, plural: str = "") -> str:
    """Write a number of things: 1 trade, 2 trades."""
    return f"{n} {thing if n == 1 else plural or thing + 's'}"


def _head(report: Report) -> list[str]:
    pnl = report.pnl
    lines = [
        report.verdict,
        f"{report.strategy.name}  {report.kind} {report.run}  market: {report.market}",
        f"from {report.from_} to {report.to}",
        f"ended with code {report.exit.code}: {report.exit.reason}",
        f"net {short(pnl.net)} {pnl.currency} = gross {short(pnl.gross)} - fees {short(pnl.fees)}"
        f" + funding {short(pnl.funding)}",
    ]
    if report.market == SIMULATED:
        lines.append("the market was made by the simulator: this profit means nothing")
    for market, position in report.positions.items():
        lines.append(f"open: {market} {position.qty} at {position.entry}")
    return lines


def _rule(name: str, rule: RuleReport) -> list[str]:
    lines = [f"rule {name}", f"  {_evaluations(rule)}{rule.true} true, {_ends(rule)}"]
    if not rule.fills:
        return [*lines, *_refusals(rule), *_blocked(rule), "  no fills"]
    rows = [(_piece(rule, key, label), short(rule.waterfall[key])) for key, label in _PIECES]
    return [
        *lines,
        f"  {_trades(rule)}, {count(rule.fills, 'fill')},"
        f" volume {short(rule.volume)};"
        f" the best three made {float(rule.best_three_share):.0%} of the gains",
        *(f"  fees {market}: {rate}" for market, rate in rule.fee_rates.items()),
        *_refusals(rule),
        *_blocked(rule),
        *(f"  still held, {market}: {qty}" for market, qty in rule.residual.items()),
        *table(rows, indent="    "),
    ]


def _ends(rule: RuleReport) -> str:
    rejected = f"{rule.rejected} rejected"
    if rule.round_trips is not None:
        return f"{_times(rule.entries, 'quoted')}, {_times(rule.exits, 'left')}, {rejected}"
    entries = f"{count(rule.entries, 'entry', 'entries')}, {count(rule.exits, 'exit')}"
    undone = f" {rule.undone} undone (legs apart)," if rule.undone else ""
    return f"{entries}, {rule.no_fill} without fill,{undone} {rejected}"


def _trades(rule: RuleReport) -> str:
    if rule.round_trips is None:
        return count(rule.trades, "trade")
    still_open = " and one still open" if rule.trades > rule.round_trips else ""
    return f"{count(rule.round_trips, 'round trip')} of the inventory{still_open}"


def _times(n: int, done: str) -> str:
    """Write how often: never quoted, left once, quoted 3 times."""
    return {0: f"never {done}", 1: f"{done} once"}.get(n, f"{done} {n} times")


def _piece(rule: RuleReport, key: str, label: str) -> str:
    """Name a piece; what rests does not arrive, it waits."""
    resting = rule.round_trips is not None and key == "latency"
    return "from the touch to where it rested" if resting else label


def _evaluations(rule: RuleReport) -> str:
    return "" if rule.evaluations is None else f"{count(rule.evaluations, 'evaluation')}, "


def _refusals(rule: RuleReport) -> list[str]:
    if not rule.refusals:
        return []
    most = sorted(rule.refusals.items(), key=lambda item: (-item[1], item[0]))
    return ["  refused: " + ", ".join(f"{code} x{n}" for code, n in most)]


def _blocked(rule: RuleReport) -> list[str]:
    """Say what stood in its way longest, and how near it came."""
    lines = []
    shown = [(reason, share) for reason, share in rule.blocked.items() if share >= _SHOWN]
    for reason, share in shown[:_REASONS]:
        kind, _, subject = reason.partition(" ")
        near = rule.nearest.get(subject)
        missed = f"; nearest miss {near['by']}" if near is not None else ""
        words = f"{share:.1%} {label({'kind': kind, 'subject': subject})}{missed}"
        lines += textwrap.wrap(words, 98, initial_indent="  kept out: ", subsequent_indent="    ")
    return lines


def _haircuts(report: Report) -> list[str]:
    if report.paper is None:
        return []
    cuts = report.paper.haircuts
    rows = [("the same decisions under worse conditions", "net", "filled")]
    rows.append(("  as run", short(report.pnl.net), _share(cuts["fees_worse"]["filled"])))
    rows += [(f"  {c['text']}", short(c["net"]), _share(c["filled"])) for c in cuts.values()]
    return table(rows, indent="")


def _share(text: str) -> str:
    return f"{float(text):.0%}"


def _exchanges(report: Report) -> list[str]:
    rows: list[Sequence[str]] = [
        ("exchange", "sent", "accepted", "rejected", "unknown", "canceled", "reconnects", "gaps")
    ]
    for name, exchange in report.exchanges.items():
        orders = exchange.orders
        counts: Iterable[int] = (
            orders.sent, orders.accepted, orders.rejected, orders.unknown, orders.canceled,
            exchange.reconnects, exchange.gaps,
        )  # fmt: skip
        where = f"{name} ({exchange.type}, {exchange.network})"
        rows.append((where, *(str(count) for count in counts)))
    return table(rows, indent="")


def _streams(report: Report) -> list[str]:
    if not report.streams:
        return []
    rows: list[Sequence[str]] = [("stream", "frames", "stale", "age p50", "p95", "p99 ms")]
    for key, stream in report.streams.items():
        age = stream.age_ms
        ages = (f"{age[p]:.1f}" for p in ("p50", "p95", "p99"))
        rows.append((key, str(stream.frames), f"{stream.stale_share:.2%}", *ages))
    return table(rows, indent="")


def _sources(report: Report) -> list[str]:
    if not report.sources:
        return []
    rows: list[Sequence[str]] = [("source", "accepted", "late", "lost", "refused", "spent")]
    for name, each in report.sources.items():
        refused = ", ".join(f"{why} {n}" for why, n in sorted(each.refused.items())) or "0"
        spent = spending_text(each.spent)
        rows.append((name, str(each.accepted), str(each.late), str(each.lost), refused, spent))
    return table(rows, indent="")


def spending_text(spent: Mapping[str, float | int | str]) -> str:
    """Write what a language model has cost; "" for what costs nothing."""
    if not spent:
        return ""
    money = f", {spent['money']} {spent['currency']}" if "money" in spent else ""
    return f"{spent['calls']} calls, {spent['tokens']} tokens{money}"


def _latency(report: Report) -> list[str]:
    if not report.latency_us:
        return []
    rows: list[Sequence[str]] = [("stage", "n", "p50", "p95", "p99 us")]
    for stage, figures in report.latency_us.items():
        times = (f"{figures[p]:.1f}" for p in ("p50", "p95", "p99"))
        rows.append((stage, f"{figures['n']:.0f}", *times))
    return table(rows, indent="")


def _assumptions(report: Report) -> list[str]:
    if report.paper is None:
        return []
    lines = ["filled on paper:"]
    lines += [f"  {name}: {model}" for name, model in report.paper.models.items()]
    fills, total = report.paper.fills, sum(report.paper.fills.values())
    if total:
        shares = ", ".join(f"{how} {n / total:.0%}" for how, n in fills.items() if n)
        lines.append(f"  fills: {shares}")
    for assumption in report.paper.assumptions:
        lines += textwrap.wrap(assumption, 98, initial_indent="  - ", subsequent_indent="    ")
    return lines


def _unaccounted(report: Report) -> list[str]:
    if not report.unaccounted:
        return []
    return ["not in these figures:", *(f"  - {note}" for note in report.unaccounted)]
