"""One market of the paper exchange: its book, what of it we took, our orders on it, their turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from runner.exchanges.paper.books import BookView, Consumption, touch
from runner.exchanges.paper.orders import PaperOrder
from runner.exchanges.paper.queue import PROB, QueueModel, Queues
from runner.exchanges.paper.stops import Stops
from runner.market.instruments import Instrument, Side


@dataclass(slots=True)
class Market:
    """One market of the exchange as paper keeps it."""

    name: str
    instrument: Instrument
    view: BookView
    model: QueueModel = PROB
    own: Consumption = field(init=False)
    queues: Queues = field(init=False)
    mark: Decimal | None = None
    last_mid: Decimal | None = None
    working: dict[str, PaperOrder] = field(default_factory=dict)
    """waiting and resting orders by client id, oldest first"""

    stops: Stops = field(init=False)

    def __post_init__(self) -> None:
        self.own = Consumption(self.instrument)
        self.queues = Queues(self.instrument, self.model)
        self.stops = Stops(self.instrument, self.view)

    @property
    def follows(self) -> bool:
        """Tell whether a change of the book matters."""
        return bool(self.working or self.own or self.stops.armed)

    def ready(self, now: int) -> bool:
        """Tell whether orders may be judged: the book is valid and there is a price to judge by."""
        return self.view.valid(now) and self.reference(now) is not None

    def reference(self, now: int) -> Decimal | None:
        """Return the mark, else the mid, else the last mid known."""
        if self.mark is not None:
            return self.mark
        if self.view.valid(now):
            bid = touch(self.view, Side.BUY, self.instrument)
            ask = touch(self.view, Side.SELL, self.instrument)
            if bid is not None and ask is not None:
                self.last_mid = self.instrument.tick * (bid + ask) / 2
        return self.last_mid
