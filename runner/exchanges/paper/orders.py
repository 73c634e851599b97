"""One order at the paper exchange, and what a test may script of its fate."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from runner.engine.commands import Intent, OrderType, Tif
from runner.engine.events import Fill, OrderView
from runner.market.instruments import Instrument


class Stage(StrEnum):
    """Where an order is; from OPEN on the values are those of `OrderView.status`."""

    FLYING = "flying"
    WAITING = "waiting"
    """it has arrived, but there is no valid book (R-48)"""
    ARMED = "armed"
    """a stop that waits for its trigger"""
    OPEN = "open"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A scripted fate, for tests of strategies (`fills:` in a `tests:` block).

    after_ns: the order meets the book, and its answer arrives, this long after sending.
    ratio: at most this share of the quantity fills (rounded down to lots), the rest expires.
    reject: refused with this code. lose_reply: it works, but nothing of it is told until the
    engine asks; after its receive window the outcome is unknown.
    """

    after_ns: int | None = None
    ratio: float | None = None
    reject: str = ""
    lose_reply: bool = False

    def __post_init__(self) -> None:
        if self.ratio is not None and not 0 <= self.ratio <= 1:
            raise ValueError(f"ratio {self.ratio} is not between 0 and 1")


NORMAL = Behaviour()


@dataclass(slots=True, eq=False)
class PaperOrder:
    """The exchange's side of one order. `turnover` is the sum of ticks x lots filled."""

    intent: Intent
    instrument: Instrument
    exchange_id: str
    behaviour: Behaviour = NORMAL
    stage: Stage = Stage.FLYING
    arrived: int = 0
    size: int = 0
    """lots in force: a reduce-only order is cut down to the position, changes may move it"""
    ticks: int = 0
    """the limit in force"""
    filled: int = 0
    turnover: int = 0
    ts: int = 0
    acked: bool = False
    """it was acknowledged; what becomes of it later is not a reject any more"""
    untold: list[Fill] = field(default_factory=list)
    """fills whose report was lost on purpose"""

    def __post_init__(self) -> None:
        self.size = self.intent.lots
        self.ticks = self.intent.ticks

    @property
    def cid(self) -> str:
        return self.intent.cid

    @property
    def left(self) -> int:
        """Lots not filled."""
        return self.size - self.filled

    @property
    def known(self) -> bool:
        """Tell whether the exchange knows the order: it has arrived and was not refused."""
        return self.stage not in (Stage.FLYING, Stage.REJECTED)

    @property
    def limit(self) -> int | None:
        """The limit in ticks, None for a market order."""
        return self.ticks if self.intent.type is OrderType.LIMIT else None

    @property
    def immediate(self) -> bool:
        """Tell whether what does not fill at once ends."""
        return self.limit is None or self.intent.tif in (Tif.IOC, Tif.FOK)

    def view(self) -> OrderView:
        """Show the order as a query would."""
        stage = Stage.OPEN if self.stage in (Stage.WAITING, Stage.ARMED) else self.stage
        status = "partial" if stage is Stage.OPEN and self.filled else str(stage)
        average = float(self.instrument.tick) * self.turnover / self.filled if self.filled else 0.0
        return OrderView(
            cid=self.cid,
            exchange_id=self.exchange_id,
            symbol=self.intent.symbol,
            side=str(self.intent.side),
            lots=self.size,
            filled_lots=self.filled,
            status=status,
            price_ticks=self.ticks,
            avg_price=average,
            reduce_only=self.intent.reduce_only,
            ts=self.ts,
        )
