"""A bench for the paper exchange: instruments, books that are plain lists, orders, virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from runner.engine import proof
from runner.engine.commands import Intent, OrderType, Purpose, Tif
from runner.engine.events import Event, Top
from runner.engine.proof import Journaled
from runner.exchanges.paper import INSTANT, PaperExchange
from runner.market.instruments import Fees, Instrument, Kind, Side

MS = 1_000_000
S = 1_000_000_000
WALL = 1_700_000_000 * S


def instrument(
    kind: Kind = Kind.PERPETUAL, type: str = "binance_usdm", **changes: Any
) -> Instrument:
    facts: dict[str, Any] = {
        "exchange_type": type,
        "symbol": "BTCUSDT",
        "kind": kind,
        "base": "BTC",
        "quote": "USDT",
        "tick": Decimal("0.1"),
        "lot": Decimal("0.001"),
        "min_qty": Decimal("0.001"),
        "min_notional": Decimal("5"),
        "fees": Fees(0.0002, 0.0005),
        "max_qty": Decimal("100"),
    }
    return Instrument(**(facts | changes))


class ListBook:
    """A book that is what the test says it is."""

    def __init__(
        self,
        bids: Iterable[tuple[float, float]] = ((100.0, 1.0),),
        asks: Iterable[tuple[float, float]] = ((100.1, 1.0),),
    ) -> None:
        self.bids, self.asks, self.ok = list(bids), list(asks), True

    def valid(self, now: int) -> bool:
        return self.ok

    def levels(self, side: Side) -> Sequence[tuple[float, float]]:
        return self.bids if side is Side.BUY else self.asks

    def shown(self, side: Side, price: float) -> float | None:
        levels = list(self.levels(side))
        if not levels or (levels[-1][0] - price) * side.sign > 1e-9:
            return None
        return sum(qty for level, qty in levels if abs(level - price) < 1e-9)


class Lab:
    """One paper exchange with one market `m` on virtual time."""

    def __init__(self, book: ListBook | None = None, **options: Any) -> None:
        self.book = book or ListBook()
        self.instrument = options.pop("instrument", None) or instrument()
        options.setdefault("latency", INSTANT)
        options.setdefault("seed", "run")
        self.now = 0
        self.events: list[Event] = []
        self.count = 0
        self.paper = PaperExchange(
            "x",
            options.pop("type", self.instrument.exchange_type),
            {"m": self.instrument},
            {"m": self.book},
            **options,
        )
        if self.instrument.kind is Kind.SPOT:
            self.changed()  # the first valid book brings the base
            self.run()

    def order(self, side: str, lots: int, price: str | None = None, **changes: Any) -> Journaled:
        """Make an order; no price: market. `tif`, `reduce_only`, `cid`, `qty_text` ... by name."""
        self.count += 1
        ticks = 0 if price is None else int(Decimal(price) / self.instrument.tick)
        fields: dict[str, Any] = {
            "cid": f"c{self.count}",
            "rule": "r",
            "group": self.count,
            "leg": 0,
            "attempt": 0,
            "purpose": Purpose.ENTRY,
            "exchange": "x",
            "market": "m",
            "symbol": self.instrument.symbol,
            "side": Side(side),
            "type": OrderType.MARKET if price is None else OrderType.LIMIT,
            "tif": Tif.IOC,
            "lots": lots,
            "ticks": ticks,
            "qty_text": self.instrument.qty_text(lots),
            "price_text": "" if price is None else price,
            "reduce_only": False,
            "window_ns": S,
            "t": self.now,
            "wall": WALL + self.now,
        }
        return proof._journaled(proof._approve(Intent(**(fields | changes))))

    def send(self, *args: Any, **changes: Any) -> str:
        """Send one order now; return its client id."""
        order = self.order(*args, **changes)
        self.paper.send([order], self.now, WALL + self.now)
        return order.intent.cid

    def run(self, until: int | None = None) -> list[Event]:
        """Let time pass to `until` (None: while anything is due); return what was told."""
        told: list[Event] = []
        while self.paper.due <= (until if until is not None else self.now + 3600 * S):
            self.now = max(self.now, self.paper.due)
            told += self.paper.on_timer(self.now, WALL + self.now)
        self.now = max(self.now, until or 0)
        self.events += told
        return told

    def market(self, event: Event) -> None:
        """Hand over a market event that happens now."""
        event.t, event.wall = self.now, WALL + self.now
        self.paper.on_market(event)

    def changed(self, do: Callable[[ListBook], None] | None = None) -> None:
        """Change the book and say so."""
        if do is not None:
            do(self.book)
        self.market(Top(market="m", bid=1.0, ask=2.0, bid_qty=1.0, ask_qty=1.0))

    def trade(self, *args: Any, **changes: Any) -> list[Event]:
        """Send an order and wait for all that is told of it."""
        self.send(*args, **changes)
        return self.run()


def names(events: Iterable[Event]) -> list[str]:
    """The kinds of events, without the account's."""
    kinds = [type(event).__name__ for event in events]
    return [kind for kind in kinds if kind != "Account"]
