"""Paper orders for the host: one paper exchange for each exchange of the plan, and the haircuts.

`PaperDesk` fulfils the host's `Orders`. The driver of the run calls, in this order for each market
event: `host.feed(event)`, `desk.on_market(event)`; and when `due` has come, before any market event
of a later time: `for event in desk.on_timer(t, wall): host.feed(event)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from runner.engine.commands import Cancel, CancelAll, Intent, Query, Reconcile
from runner.engine.events import Account, Depth, Event, Fill, Top, Trade
from runner.engine.proof import Journaled
from runner.exchanges.paper import (
    CONTESTED,
    REALISTIC,
    SLOWER,
    BookView,
    Haircut,
    LatencyModel,
    PaperExchange,
    Shadow,
    StreamBook,
)
from runner.exchanges.paper.exchange import Script
from runner.exchanges.paper.funding import NEVER
from runner.exchanges.paper.rules import RULES
from runner.exchanges.paper.venue import How
from runner.market.instruments import Instrument
from runner.market.streams import AnyStream, BookStream
from runner.spec.market_plan import StreamKind
from runner.spec.plan import Plan

DEFAULT_BALANCE = Decimal(10_000)

ASSUMPTIONS = (
    "an order meets the book that we see when its entry delay is over (its way there and the "
    "data's way back together)",
    "a taker walks the known levels; what it took stays taken while the level shows it; nothing "
    "fills beyond the known depth",
    "what rests stands behind all that its price shows then; trades at the price serve those ahead "
    "first, and of what is cancelled a part stood ahead of us, in proportion; without a stream of "
    "trades it fills only when the other side's book reaches it",
    "other traders do not react to our orders, and our orders never meet each other",
    "an order that meets no valid book waits at most its receive window, then is refused "
    "(stale_market)",
    "no borrowing on spot; perpetuals are one-way and cross, at the leverage of the file",
)


class NoBook:
    """A market without a book stream: never valid, so nothing fills on it."""

    def valid(self, now: int) -> bool:
        """There is no book."""
        return False

    def levels(self, side: object) -> tuple[tuple[float, float], ...]:
        """There are no levels."""
        return ()

    def shown(self, side: object, price: float) -> None:
        """Nothing is known of any price."""


def book_views(plan: Plan, streams: Mapping[str, AnyStream]) -> dict[str, BookView]:
    """Return the book of each market of the plan, as paper and the report read it."""
    views: dict[str, BookView] = {}
    for name, market in plan.markets.items():
        wanted = market.streams.get(StreamKind.BOOK)
        stream = streams.get(wanted.key) if wanted is not None else None
        views[name] = StreamBook(stream) if isinstance(stream, BookStream) else NoBook()
    return views


HAIRCUTS = (SLOWER, CONTESTED, Haircut("fees_worse", "fees one tier worse"))


def haircuts_of(type: str) -> tuple[Haircut, ...]:
    """Return the three haircuts for an exchange type: the tier's step is its own."""
    return (SLOWER, CONTESTED, replace(HAIRCUTS[2], fee_step=RULES[type].tier_step))


class PaperDesk:
    """All paper exchanges of a run behind one door.

    instruments: by market name, those in force (after the exchanges' facts). books: see
    `book_views`. seed: the run id. balance: of each exchange, in its quote.
    """

    def __init__(
        self,
        plan: Plan,
        instruments: Mapping[str, Instrument],
        books: Mapping[str, BookView],
        seed: str,
        *,
        balance: Decimal = DEFAULT_BALANCE,
        latency: Mapping[str, LatencyModel] | None = None,
        script: Script | None = None,
    ) -> None:
        self.balance = balance
        self.due = NEVER
        """monotonic ns of the next thing to happen on any of the exchanges"""
        self._idle = True
        """no order rests or waits and nothing is taken: books need not be followed"""
        self.exchanges: dict[str, PaperExchange] = {}
        self.shadows: dict[str, tuple[Shadow, ...]] = {}
        self._of_market = {m.name: m.exchange for m in plan.markets.values()}
        self._intents: dict[str, Intent] = {}
        for name, exchange in plan.exchanges.items():
            own = {m: instruments[m] for m, x in self._of_market.items() if x == name}
            model = (latency or {}).get(name, REALISTIC)
            self.exchanges[name] = PaperExchange(
                name,
                exchange.type,
                own,
                books,
                seed,
                balance=balance,
                leverage={i.symbol: exchange.leverage for i in own.values()},
                latency=model,
                script={m: s for m, s in (script or {}).items() if m in own},
            )
            self.shadows[name] = tuple(
                Shadow(cut, own, books, model, self.exchanges[name].seed)
                for cut in haircuts_of(exchange.type)
            )

    # -- the host's Orders

    def send(self, orders: list[Journaled], t: int, wall: int) -> None:
        """Send orders, each to its exchange, and to the haircuts."""
        for order in orders:
            intent = order.intent
            self._intents[intent.cid] = intent
            self.exchanges[intent.exchange].send([order], t, wall)
            for shadow in self.shadows[intent.exchange]:
                shadow.send(intent, t)
        self._rearm()

    def amend(self, order: Journaled, t: int, wall: int) -> None:
        """Ask to change one resting order."""
        self.exchanges[order.intent.exchange].amend(order, t)
        self._rearm()

    def cancel(self, command: Cancel, t: int, wall: int) -> None:
        """Ask to cancel one order."""
        self.exchanges[command.exchange].cancel(command.cid, command.symbol, t)
        self._rearm()

    def cancel_all(self, command: CancelAll, t: int, wall: int) -> None:
        """Ask to cancel all orders of a symbol."""
        self.exchanges[command.exchange].cancel_all(command.symbol, t)
        self._rearm()

    def query(self, command: Query, t: int, wall: int) -> None:
        """Ask about one order."""
        self.exchanges[command.exchange].query(command.cid, command.symbol, command.attempt, t)
        self._rearm()

    def reconcile(self, command: Reconcile, t: int, wall: int) -> None:
        """Ask for the whole picture of an exchange."""
        self.exchanges[command.exchange].reconcile(t)
        self._rearm()

    # -- what the driver calls

    def on_market(self, event: Event) -> None:
        """Follow a market event, after the engine."""
        kind = type(event)
        if self._idle and (kind is Top or kind is Depth or kind is Trade):
            return
        name = self._of_market.get(getattr(event, "market", ""))
        if name is not None:
            self.exchanges[name].on_market(event)
            self._rearm()

    def on_timer(self, t: int, wall: int) -> list[Event]:
        """Do what is due at `t`; return the events for the engine, in order."""
        out: list[Event] = []
        for name, exchange in self.exchanges.items():
            if exchange.due <= t:
                out += exchange.on_timer(t, wall)
            for shadow in self.shadows[name]:
                shadow.on_timer(t)
        for event in out:
            if isinstance(event, Fill):
                self._taken_over(event)
        self._rearm()
        return out

    def _rearm(self) -> None:
        """Keep `due` and `_idle` as plain values: both are read for every market event."""
        due = min(exchange.due for exchange in self.exchanges.values())
        shadows = (shadow.due for cuts in self.shadows.values() for shadow in cuts)
        self.due = min(due, *shadows)
        self._idle = not any(exchange.venue.busy for exchange in self.exchanges.values())

    def accounts(self, t: int) -> list[Account]:
        """Return the whole account of each exchange, as at the start of a run."""
        return [exchange.snapshot(t) for exchange in self.exchanges.values()]

    def _taken_over(self, fill: Fill) -> None:
        intent = self._intents[fill.cid]
        for shadow in self.shadows[intent.exchange]:
            shadow.filled(intent, fill)

    # -- for the report

    haircuts = HAIRCUTS

    def models(self) -> dict[str, str]:
        """Describe the model of each exchange."""
        return {
            name: f"taker-l2; {x.queue.text()}; {x.latency.text()}"
            for name, x in self.exchanges.items()
        }

    def fill_counts(self) -> dict[str, int]:
        """Count the fills of all exchanges by how they came about."""
        kinds = [exchange.venue.fill_kinds for exchange in self.exchanges.values()]
        return {str(how): sum(kind[how] for kind in kinds) for how in How}

    def haircut(self, index: int, exits: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Return the net of each rule under the haircut of this index, without funding.

        exits: by market, the price at which what is held is valued.
        """
        nets: dict[str, Decimal] = {}
        for cuts in self.shadows.values():
            for rule, market in cuts[index].held:
                net = cuts[index].net(rule, market, exits.get(market))
                nets[rule] = nets.get(rule, Decimal(0)) + net
        return nets

    def filled_share(self, index: int) -> float:
        """Return what share of all that was asked for was filled under a haircut (0..1)."""
        held = [each for cuts in self.shadows.values() for each in cuts[index].held.values()]
        asked = sum(each.asked for each in held)
        return sum(each.filled for each in held) / asked if asked else 0.0
