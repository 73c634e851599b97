"""The plan of the exchanges of a file, their markets and the streams of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from runner.market.instruments import Instrument
from runner.spec.parts import SecretRef

AMEND_RATES: Final[Mapping[str, float]] = {"binance_usdm": 20.0, "bybit_linear": 10.0}
"""Exchange type -> changes of orders per second that it takes for ever (1,200 orders a minute on
Binance, the default quota of order/amend on Bybit); where it is not, orders are replaced."""
CONDITIONAL_ORDERS: Final[Mapping[str, int]] = {"bybit_linear": 10}
"""Exchange type -> stops and targets that may stand on a symbol at once; where it is not, the
limit is not known, and the exchange says no by itself."""
SPARE_CONDITIONAL: Final = 1
"""of them are kept free by entries: one that is too large is replaced before it is cancelled"""


class Network(StrEnum):
    """Which of an exchange's networks."""

    LIVE = "live"
    TESTNET = "testnet"
    DEMO = "demo"
    SIM = "sim"
    CUSTOM = "custom"


class StreamKind(StrEnum):
    """What a stream carries."""

    BOOK = "book"
    TRADES = "trades"
    MARK = "mark"
    FUNDING = "funding"
    BARS = "bars"


@dataclass(frozen=True, slots=True)
class ExchangePlan:
    """One exchange of the file. `type` is the adapter's name (`binance_usdm`)."""

    name: str
    type: str
    network: Network
    auth: Mapping[str, SecretRef]
    order_entry: str = "websocket"
    recv_window_ns: int = 5_000_000_000
    leverage: int = 2
    margin_mode: str = "cross"
    position_mode: str = "one_way"
    dead_man_ns: int | None = None
    endpoints: Mapping[str, str] | None = None
    line: int = 0

    @property
    def amends(self) -> bool:
        """Whether it changes price and quantity of a resting order in place."""
        return self.type in AMEND_RATES


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream of a market; `key` is `bin.book`.

    `every_ns` and `warmup` (how many) belong to bars, `warmup_ns` to funding.
    """

    key: str
    market: str
    kind: StreamKind
    max_age_ns: int | None
    depth: int | None = None
    every_ns: int | None = None
    warmup: int = 0
    warmup_ns: int = 0
    implied: bool = False
    """added by us (mark and funding of every traded perpetual), not written in the file"""


@dataclass(frozen=True, slots=True)
class MarketPlan:
    """One market of the file, with the instrument of the catalogue (facts replace it at start)."""

    name: str
    exchange: str
    symbol: str
    instrument: Instrument
    streams: Mapping[StreamKind, StreamPlan]
    traded: bool
    line: int = 0
