"""The shape of a run's report: interfaces.md, section 5. Money is decimal text everywhere."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from runner.base.units import plain

FORMAT = "1.0"
SIMULATED = "made by the simulator; profit means nothing"
_STEP = Decimal("1e-10")


class Exit(msgspec.Struct, frozen=True):
    code: int
    reason: str


class Strategy(msgspec.Struct, frozen=True):
    name: str
    file: str
    sha: str
    params: dict[str, str]


class Pnl(msgspec.Struct, frozen=True):
    currency: str
    gross: str
    fees: str
    funding: str
    net: str


class RuleReport(msgspec.Struct, frozen=True, kw_only=True):
    """One rule. Costs in `waterfall` are negative and its parts sum up to `net`."""

    evaluations: int | None
    """None: not counted"""
    true: int
    entries: int
    exits: int
    no_fill: int
    undone: int
    """entries whose legs did not match and were taken back: what that cost is in `failed`"""
    rejected: int
    refusals: dict[str, int]
    blocked: dict[str, float]
    """share of the time by what stood in the way (`runner why`), the largest first"""
    nearest: dict[str, dict[str, str]]
    """by comparison that was never or not always true: by how little it was missed, and when"""
    fills: int
    volume: str
    fees: str
    funding: str
    realised: str
    unrealised: str
    residual: dict[str, str]
    trades: int
    """of a `quote`: round trips of its inventory, one that is still open among them"""
    round_trips: int | None
    """inventories of a `quote` that were opened and closed again; None of other verbs"""
    best_three_share: str
    """share of the profit of all winning trades that the best three made, a ratio"""
    fee_rates: dict[str, str]
    waterfall: dict[str, str]
    haircuts: dict[str, str]


class OrderCounts(msgspec.Struct, frozen=True):
    sent: int
    accepted: int
    rejected: int
    unknown: int
    canceled: int


class ClockFigures(msgspec.Struct, frozen=True):
    offset_ms: float | None
    uncertainty_ms: float | None


class ExchangeReport(msgspec.Struct, frozen=True):
    type: str
    network: str
    orders: OrderCounts
    reconnects: int
    gaps: int
    clock: ClockFigures


class StreamReport(msgspec.Struct, frozen=True):
    frames: int
    stale_share: float
    age_ms: dict[str, float]


class SourceReport(msgspec.Struct, frozen=True):
    """What came of a source's messages; `refused` by reason, at the door and by the engine.

    `spent`: calls, tokens, money and currency of a language model in its budget's window.
    """

    accepted: int
    late: int
    lost: int
    refused: dict[str, int]
    spent: dict[str, float | int | str] = {}


class PositionReport(msgspec.Struct, frozen=True):
    qty: str
    entry: str


class PaperReport(msgspec.Struct, frozen=True):
    """`fills` counts executions by how they came about.

    Of each haircut: `text`, `net`, and `filled`, the share of the quantity asked for. One that
    fills less trades less, and so may lose less.
    """

    models: dict[str, str]
    fills: dict[str, int]
    assumptions: list[str]
    haircuts: dict[str, dict[str, str]]


class Report(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The whole report; `encode` writes it."""

    format: str
    kind: str
    run: str
    verdict: str
    strategy: Strategy
    from_: str
    to: str
    market: str
    exit: Exit
    pnl: Pnl
    rules: dict[str, RuleReport]
    exchanges: dict[str, ExchangeReport]
    streams: dict[str, StreamReport]
    sources: dict[str, SourceReport]
    positions: dict[str, PositionReport]
    latency_us: dict[str, dict[str, float]]
    paper: PaperReport | None
    unaccounted: list[str]


def encode(report: Report) -> bytes:
    """Write a report as one JSON object, indented, with a line end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def money(value: Decimal) -> str:
    """Write money with at most ten decimals, so that rounded parts still sum to 1e-8."""
    return plain(value.quantize(_STEP))
