"""What a venue goes by and what it tells: rules, public trades, requests, listeners."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from runner.sim.matching import Side
from runner.sim.orders import Fill, Happening, Order


@dataclass(slots=True, frozen=True)
class Rules:
    """In what the exchanges differ before their dialects do.

    `cid_unique`: whether a client id may never be used again (Bybit) or only not while the first
    order is open (Binance). `post_only_refuses`: an order that would take is refused at once
    (Binance), or accepted and cancelled (Bybit); the same for fill-or-kill.
    """

    maker_ppm: int
    taker_ppm: int
    cid_unique: bool
    post_only_refuses: bool
    max_open: int = 200


@dataclass(slots=True, frozen=True)
class PublicTrade:
    """One trade everybody sees."""

    trade_id: int
    tick: int
    lots: int
    taker: Side
    ts_ms: int


@dataclass(slots=True, frozen=True)
class Request:
    """A request that reached an order route, for the ledger."""

    route: str
    ts_ms: int
    outcome: str


class Listener(Protocol):
    """Who is told what happens on an account."""

    def order(self, order: Order, happening: Happening, fill: Fill | None) -> None:
        """Take an event of an order."""
        ...

    def account(self, reason: str, symbol: str, paid: int = 0) -> None:
        """Take a change of wallet or position; `paid` is funding, negative when received."""
        ...
