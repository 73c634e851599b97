"""What is said of exchanges, accounts and the host, and what the operator commands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final

from runner.engine import cut_off, orderflow, setbacks
from runner.engine.accounts import FREEZE_AFTER, GRACE, NO_TIME
from runner.engine.build import with_facts
from runner.engine.cancels import still_open
from runner.engine.checks_world import clock_refusal
from runner.engine.commands import Reconcile, Topic
from runner.engine.events import (
    FORCED,
    Account,
    Budget,
    ClockReading,
    External,
    Facts,
    Host,
    Operator,
    OrderView,
    Position,
    Readiness,
    Ready,
    Reconciled,
)
from runner.engine.ledger import EPSILON
from runner.engine.limits import AWAY, CANCELS, STOP, Mode
from runner.engine.timers import MS, SECOND

if TYPE_CHECKING:
    from runner.engine.desk import Desk, Listed, MarketLike
    from runner.engine.order import Order
    from runner.market.instruments import Instrument

CONFIRM_AFTER: Final = 2 * SECOND
KEEP_EXTERNALS: Final = 10_000

_FAULTS: Final = {
    "journal": Mode.REDUCING,
    "disk": Mode.REDUCING,
    "loop": Mode.PAUSED,
    "memory": Mode.PAUSED,
    "ban": Mode.PAUSED,
    "task": Mode.KEPT,
}
_TOPICS: Final = {"journal": Topic.JOURNAL, "disk": Topic.JOURNAL, "auth": Topic.AUTH}


@dataclass(frozen=True, slots=True)
class Difference:
    """A position of the exchange that our ledgers do not explain, in lots."""

    market: str
    exchange_lots: int
    own_lots: int


class World:
    """The engine's relations to everything that is not a price or one of our orders."""

    def __init__(self, desk: Desk, market: MarketLike, *, adopt: bool) -> None:
        self.desk = desk
        self._market = market
        self._adopt = adopt
        self.differences: dict[str, Difference] = {}
        self.foreign_orders: dict[str, OrderView] = {}
        """open orders at the exchanges that are not ours, by client id, or the exchange's"""
        self._different_since: dict[str, int] = {}
        self._externals: dict[tuple[str, str, str, str], None] = {}
        """what others did and was booked, in its order"""
        self._strangers: set[str] = set()
        """markets of which it was told that others trade there"""
        desk.orders.doubted = lambda order: orderflow.silent(desk, order)

    # -- exchanges

    def on_ready(self, event: Ready) -> None:
        """An exchange's order side changed its readiness."""
        venue = self.desk.venues[event.exchange]
        venue.on_ready(event)
        self.desk.record(
            "ready", exchange=event.exchange, state=event.state.value, why=event.reason
        )
        key = f"{AWAY}{event.exchange}"
        if event.state is Readiness.READY:
            self.desk.limits.drop(key)
            for order in self.desk.orders.unsettled(event.exchange):
                if order.uncertain or order.cancel_asked:
                    self.desk.orders.ask(order, anew=True)
            self.desk.rules.guards.back(event.exchange)
        elif venue.was_ready:
            text = f"{event.exchange} is {event.state}: {event.reason}".rstrip(": ")
            self.desk.limits.add(key, Mode.REDUCING, f"exchange_{event.state.value}", text)
            cut_off.tell(self.desk, venue)
        for run in self.desk.rules.runs.values():
            leaving = run.trade is not None and run.trade.leaving is not None
            if leaving and self.desk.rules.known_to_all(run):
                self.desk.trades.go_on_leaving(run)

    def on_budget(self, event: Budget) -> None:
        """A rate budget's use."""
        self.desk.venues[event.exchange].budgets[event.name] = event

    def on_clock(self, event: ClockReading) -> None:
        """A time sync; tell once when it begins to forbid new risk."""
        venue = self.desk.venues[event.exchange]
        before = clock_refusal(venue, self.desk.now)
        venue.clock.read(event)
        after = clock_refusal(venue, self.desk.now)
        if after is not None and (before is None or before.code != after.code):
            self.desk.record(
                "clock", exchange=event.exchange, code=after.code.value, text=after.text
            )
            self.desk.tell("warn", after.text, Topic.HOST)

    def on_facts(self, event: Facts) -> None:
        """The exchange's own figures overrule the catalogue; what changed is told."""
        desk = self.desk
        for facts in event.instruments:
            listed = desk.markets.get(facts.market)
            if listed is None:
                continue
            fresh = with_facts(listed.instrument, facts)
            if self._other_grid(listed, fresh):
                text = f"{fresh.symbol}: tick or lot changed while a position is open"
                desk.limits.add(f"facts:{facts.market}", Mode.FROZEN, "facts", text)
                continue
            listed.use(fresh)
            desk.instruments[facts.market] = fresh
            desk.venues[event.exchange].facts.add(facts.market)

    def _other_grid(self, listed: Listed, fresh: Instrument) -> bool:
        """Whether what we hold is counted in other lots or ticks than the exchange's now.

        Until the exchange has told them in this run, those of the earlier run count; the
        catalogue's are a guess.
        """
        old, name = listed.instrument, listed.name
        if not self.desk.ledgers.lots(name) and not self.desk.orders.working(name):
            return False
        grid: tuple[str, ...] | None = (str(old.tick), str(old.lot))
        if name not in self.desk.venue_of(name).facts:
            grid = self.desk.grids.get(name)
        return grid is not None and (Decimal(grid[0]), Decimal(grid[1])) != (fresh.tick, fresh.lot)

    # -- accounts

    def on_account(self, event: Account) -> None:
        """Balances and positions as the exchange tells them."""
        self.desk.venues[event.exchange].on_account(event, partial(self._margin, event.exchange))
        for name, listed in self.desk.markets.items():
            if listed.plan.exchange == event.exchange and self._differs(name):
                self.desk.timers.at(self.desk.now + CONFIRM_AFTER, self._confirm, name)

    def _margin(self, exchange: str, told: Position) -> tuple[str, float]:
        """Return (asset, amount) that one lot of a position takes at the leverage of the file."""
        for listed in self.desk.markets.values():
            if (listed.plan.exchange, listed.instrument.symbol) == (exchange, told.symbol):
                mid, instrument = listed.last_mid(), listed.instrument
                price = mid if mid == mid else told.entry
                leverage = max(self.desk.plan.exchanges[exchange].leverage, 1)
                return instrument.quote, instrument.lot_base_f * price / leverage
        return "", 0.0

    def on_reconciled(self, event: Reconciled) -> None:
        """Merge a whole picture of one exchange: fills, what it did, open orders, account."""
        desk = self.desk
        for fill in event.fills:
            orderflow.on_fill(desk, fill)
        for external in event.externals:
            self.on_external(external)
        # Those placed by hand may have no client id: none may hide another.
        shown = {view.cid or view.exchange_id: view for view in event.open_orders}
        self._open_orders(event.exchange, shown, event.started)
        for order in desk.orders.prove_lost(event.exchange, event.started):
            if order.intent.cid not in shown:
                orderflow.lost(desk, order)
        venue = desk.venues[event.exchange]
        first = venue.picture_at == NO_TIME
        venue.picture_at = event.started
        if event.account is not None:
            asked_at = event.started or event.t
            venue.on_account(event.account, partial(self._margin, event.exchange), asked_at)
            self._compare(event.exchange, asked_at, first)

    def _open_orders(self, exchange: str, shown: dict[str, OrderView], started: int) -> None:
        desk, others = self.desk, Counter[str]()
        for cid, view in shown.items():
            order = desk.orders.all.get(cid)
            if order is None:
                self._foreign(exchange, cid, view)
                others[view.symbol] += view.waits
            else:
                self._seen_open(order, view, started)
        desk.venues[exchange].others_wait = others
        for order in desk.orders.unsettled(exchange):
            gone = order.intent.cid not in shown
            if gone and order.sent_at < started and not order.terminal:
                desk.orders.ask(order)

    def _seen_open(self, order: Order, view: OrderView, started: int) -> None:
        desk = self.desk
        if order.see(view):
            desk.orders.changed(order)
            desk.rules.on_order(order, False)
        if order.terminal and order.ended_at >= 0 and order.ended_at + GRACE < started:
            orderflow.undead(desk, order)
        still_open(desk, order)

    def _foreign(self, exchange: str, cid: str, view: OrderView) -> None:
        if cid in self.foreign_orders:
            return
        self.foreign_orders[cid] = view
        ours = view.cid.startswith(self.desk.prefixes[exchange])
        self.desk.record(
            "foreign_order", exchange=exchange, cid=cid, symbol=view.symbol, ours=ours,
            lots=view.lots, side=view.side,
        )  # fmt: skip
        text = f"{exchange} shows an order that is not in our journal: {cid}"
        self.desk.tell("warn", text, Topic.ACCOUNT)

    def _compare(self, exchange: str, asked_at: int, first: bool) -> None:
        """Set our ledgers against a whole picture. The first one shows what was there before us."""
        for name, listed in self.desk.markets.items():
            if listed.plan.exchange != exchange or not listed.plan.traded:
                continue
            if not self._differs(name):
                self._agree(name)
            elif first and self._adopt:
                self._adopt_difference(name)
            elif self._quiescent(name, asked_at) or first:
                self._disagree(name)

    def _held(self, market: str) -> int | None:
        listed = self.desk.markets[market]
        venue = self.desk.venue_of(market)
        if not venue.heard:
            return None
        if not listed.perpetual:
            # A balance may be anybody's; it says no more than whether it covers our own fills.
            own = self.desk.ledgers.expected(market)
            total = venue.totals.get(listed.instrument.base, 0.0)
            return min(own, int(total / listed.instrument.lot_base_f + EPSILON))
        held = venue.held.get(listed.instrument.symbol)
        return held.lots if held is not None else 0

    def _differs(self, market: str) -> bool:
        held = self._held(market)
        return held is not None and held != self.desk.ledgers.expected(market)

    def _quiescent(self, market: str, at: int) -> bool:
        """Whether nothing moved around `at`: no order in flight, no fill shortly before it."""
        last = self.desk.rules.last_fill.get(market, NO_TIME)
        return not self.desk.orders.working(market) and at - last >= GRACE

    def _confirm(self, market: str) -> None:
        """A difference was seen a moment ago: if it still stands in quiet, ask for a picture."""
        if self._differs(market) and self._quiescent(market, self.desk.now):
            exchange = self.desk.markets[market].plan.exchange
            self.desk.emit(Reconcile(exchange=exchange, reason=f"position of {market} differs"))

    def _agree(self, market: str) -> None:
        self.differences.pop(market, None)
        self._different_since.pop(market, None)
        if self.desk.gate.reducing_symbols.pop(market, None) is not None:
            self.desk.record("agrees", market=market)
            cause = self.desk.limits.causes.get(f"difference:{market}")
            if cause is not None and cause.mode is not Mode.FROZEN:  # frozen: until `resume`
                self.desk.limits.drop(f"difference:{market}")

    def _disagree(self, market: str) -> None:
        held, own = self._held(market) or 0, self.desk.ledgers.expected(market)
        self.differences[market] = Difference(market, held, own)
        text = f"{market}: the exchange holds {held} lots, we account for {own}"
        since = self._different_since.setdefault(market, self.desk.now)
        if market not in self.desk.gate.reducing_symbols:
            self.desk.gate.reducing_symbols[market] = text
            self.desk.record("difference", market=market, exchange=held, own=own)
            self.desk.tell("page", text, Topic.ACCOUNT)
            self.desk.limits.add(f"difference:{market}", Mode.REDUCING, "difference", text)
        if self.desk.now - since >= FREEZE_AFTER:
            self.desk.limits.add(f"difference:{market}", Mode.FROZEN, "difference", text)

    def _adopt_difference(self, market: str) -> None:
        setbacks.adopt(self.desk, market, self._held(market) or 0)
        self._agree(market)

    def sweep(self) -> None:
        """Ask regularly for whole pictures while anything is open (R-24), forget what is old."""
        self.desk.orders.forget_before(self.desk.now - 3600 * SECOND)
        for name, venue in self.desk.venues.items():
            if venue.state is not Readiness.READY:
                continue
            markets = [m for m, listed in self.desk.markets.items() if listed.plan.exchange == name]
            orders = any(self.desk.orders.working(m) for m in markets)
            if orders or any(self.desk.ledgers.lots(m) or m in self.differences for m in markets):
                self.desk.emit(Reconcile(exchange=name, reason="sweep"))

    # -- others

    def on_external(self, event: External) -> None:
        """Book what others did, once: `lots` is the signed change of the position."""
        desk = self.desk
        if event.id:
            if event.key in self._externals:
                return
            self._externals[event.key] = None
            if len(self._externals) > KEEP_EXTERNALS:
                del self._externals[next(iter(self._externals))]
        desk.record(
            "external", exchange=event.exchange, what=event.what, market=event.market,
            lots=event.lots, price=event.price, amount=event.amount, asset=event.asset, id=event.id,
        )  # fmt: skip
        if event.what == "funding":
            desk.ledgers.fund(event.market, event.amount)
            for ledger in desk.ledgers.by_market.get(event.market, ()):
                desk.rules.touch(ledger.rule)
            desk.limits.evaluate()
        elif event.what == "leverage":
            text = f"somebody set the leverage of {event.market} to {event.amount:g}"
            desk.tell("page", text, Topic.ACCOUNT)
        elif event.what in FORCED and event.market and event.lots:
            text = f"{event.what} of {event.lots} lots {event.market}"
            desk.tell("page", text, Topic.ACCOUNT)
            self._shrink(event)
        elif event.lots and event.market:
            external = desk.ledgers.external
            external[event.market] = external.get(event.market, 0) + event.lots
            desk.rules.touch_run()
            self._tell_stranger(event)

    def _tell_stranger(self, event: External) -> None:
        """Tell, once per market, that others trade on the account what we trade."""
        if event.market in self._strangers:
            return
        self._strangers.add(event.market)
        done = "bought" if event.lots > 0 else "sold"
        text = f"somebody else {done} {abs(event.lots)} lots of {event.market} on the account"
        self.desk.tell("warn", f"{text}; more of that is not told in this run", Topic.ACCOUNT)

    def _shrink(self, event: External) -> None:
        """Take what the exchange took out of the ledgers that held it; partners follow (R-79)."""
        desk = self.desk
        desk.rules.last_fill[event.market] = desk.now
        left = setbacks.take_out(desk, event.market, event.lots, event.price, event.what)
        if left:
            external = desk.ledgers.external
            external[event.market] = external.get(event.market, 0) + left
            desk.rules.touch_run()
        desk.limits.evaluate()

    def on_operator(self, event: Operator) -> None:
        """Obey: halt, resume, flatten, stop, adopt, cancel."""
        desk = self.desk
        desk.record(
            "operator", command=event.command, rule=event.rule, market=event.market, who=event.who,
            why=event.why,
        )  # fmt: skip
        if event.command == "halt":
            desk.limits.add(
                "operator", Mode.KEPT, "operator", event.why or "halted by the operator"
            )
        elif event.command == "resume":
            if event.rule:
                desk.rules.resume(event.rule)
            else:
                desk.limits.resume()
        elif event.command == "flatten":
            self._flatten(event)
        elif event.command == "stop":
            self._stop()
        elif event.command == "adopt":
            self._adopt_all()
        else:
            desk.tell("warn", f"no command {event.command!r}", Topic.HOST)

    def _adopt_all(self) -> None:
        for market in list(self.differences):
            if self._quiescent(market, self.desk.now):
                self._adopt_difference(market)
            else:
                text = f"{market}: not adopted while orders are under way"
                self.desk.tell("warn", text, Topic.ACCOUNT)

    def _flatten(self, event: Operator) -> None:
        rules = self.desk.rules
        if not event.rule and not event.market:
            self.desk.limits.causes.pop("flatten", None)  # said again: all closes begin anew
            text = event.why or "flattened by the operator"
            self.desk.limits.add("flatten", Mode.FLATTENED, "flatten", text)
            return
        for run in rules.runs.values():
            if event.rule and run.plan.name != event.rule:
                continue
            if event.market and all(leg.market != event.market for leg in run.plan.legs):
                continue
            self.desk.trades.reopen(run)
            self.desk.trades.leave(run, "operator", commanded=True, only=event.market)

    def _stop(self) -> None:
        """End the run by the file's `on_stop`: no new risk in any case."""
        policy = self.desk.plan.run.on_stop
        limits = self.desk.limits
        if policy == "flatten":
            limits.add(STOP, Mode.FLATTENED, "stop", "stopping, flat")
        elif policy == "keep":
            limits.add(STOP, Mode.PAUSED, "stop", "stopping, orders and positions stay")
        else:
            limits.add(STOP, Mode.REDUCING, "stop", "stopping, entries cancelled")

    def on_host(self, event: Host) -> None:
        """The process is in trouble, or out of it."""
        limits = self.desk.limits
        if not event.fault or event.ok:
            keys = [f"host:{event.fault}"] if event.fault else [
                key for key in limits.causes if key.startswith("host:")
            ]  # fmt: skip
            for key in keys:
                limits.drop(key)
            return
        what, before = event.fault.partition(":")[0], limits.mode
        mode = _FAULTS.get(what, Mode.PAUSED)
        limits.add(f"host:{event.fault}", mode, what, event.text or what)
        if mode is not Mode.PAUSED or limits.mode is before:  # beginning to pause pages by itself
            self.desk.tell("page", f"{what}: {event.text}", _TOPICS.get(what, Topic.HOST))

    def after_restore(self) -> None:
        """Take up what an earlier run left open."""
        desk = self.desk
        desk.limits.evaluate()
        desk.limits.settle()
        if desk.limits.mode in CANCELS and desk.limits.code != STOP:  # a start that is refused
            desk.limits.cancel_entries()
        for run in desk.rules.runs.values():
            desk.timers.at(desk.now + MS, desk.trades.take_up, run)
