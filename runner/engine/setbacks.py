"""What goes against a trade: exits that the exchange refuses, positions that others changed.

A definitive no must never loop. Each refusal of an exit or a repair doubles the wait before the
next one, up to 30 s, and asks for a picture of the account, because the usual reason is that the
position is not what we think. From the third in a row on the run is REDUCING and a person knows; a
fill ends the count.
"""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final

from runner.engine.commands import Purpose, Reconcile, Topic
from runner.engine.limits import Cause, Mode
from runner.engine.order import Order, OrderState
from runner.engine.rule import RuleRun, RuleState
from runner.engine.timers import MS, SECOND
from runner.engine.trade import new_trade
from runner.market.instruments import Side

if TYPE_CHECKING:
    from runner.engine.desk import Desk
    from runner.engine.ledger import Ledger
    from runner.engine.trade import Trade

FIRST_WAIT: Final = 250 * MS
LONGEST_WAIT: Final = 30 * SECOND
TELL_AFTER: Final = 3


def backed_off(wait: int, refused: int) -> int:
    """Return how long to wait after so many refusals in a row, from `wait` up to 30 s."""
    return max(wait, min(wait << min(refused, 20), LONGEST_WAIT))


def note_refusal(desk: Desk, run: RuleRun, order: Order, filled: bool) -> None:
    """Count refused exits and repairs; a fill of one ends the count."""
    trade = run.trade
    if trade is None or order.intent.purpose is Purpose.ENTRY:
        return
    if filled:
        forget_refusals(desk, run, trade)
    elif order.state is OrderState.REJECTED and not order.filled and not order.by_terms:
        _refused(desk, run, trade, order)


def forget_refusals(desk: Desk, run: RuleRun, trade: Trade) -> None:
    """The exchange takes exits again, or none is left to send."""
    trade.refused = trade.refused_until = 0
    desk.limits.drop(f"refused:{run.plan.name}")


def _refused(desk: Desk, run: RuleRun, trade: Trade, order: Order) -> None:
    intent = order.intent
    desk.emit(Reconcile(exchange=intent.exchange, reason=f"refused {intent.cid}"))
    if trade.refused_attempt == intent.attempt:
        return  # another leg of the same pass
    trade.refused_attempt = intent.attempt
    trade.refused += 1
    trade.refused_until = desk.now + backed_off(FIRST_WAIT, trade.refused)
    if trade.refused == TELL_AFTER:
        text = f"{run.plan.name}: {trade.refused} {intent.purpose}s refused, the last {order.code}"
        desk.limits.add(f"refused:{run.plan.name}", Mode.REDUCING, "refused", text)
        desk.tell("page", text, Topic.HELD)


def still_refused(desk: Desk, trade: Trade) -> None:
    """An earlier run was refused its exits so often that nobody may enter: that stands."""
    if trade.refused >= TELL_AFTER:
        name = trade.rule.name
        text = f"{name}: {trade.refused} exits refused before this start"
        desk.limits.causes[f"refused:{name}"] = Cause(Mode.REDUCING, "refused", text)


def moved_outside(desk: Desk, run: RuleRun, cause: str) -> None:
    """A ledger changed unexpectedly: even the legs, or close what is there."""
    trade = run.trade if run.trade is not None else run.last_trade
    trade = trade if trade is not None else _found(desk, run)
    if run.plan.order is not None or trade is None:
        return
    desk.rules.touch(run.plan.name)
    if any(leg.ledger.lots for leg in trade.legs):
        desk.tell("page", f"{run.plan.name}: {cause}", Topic.UNHEDGED)
        if run.state is RuleState.ACTIVE:
            _even(desk, run, trade, cause)
            desk.rules.guards.look(run)
        elif run.state is RuleState.ENTERING:
            trade.incompletable = True  # what others took is not bought back
            _judge(desk, run)
            desk.rules.guards.look(run)
        elif run.state is RuleState.LEAVING:
            desk.trades.go_on_leaving(run)
            desk.rules.guards.look(run)
        else:
            run.trade = trade
            trade.leaving = None
            trade.failed = True
            desk.trades.leave(run, cause)
    elif run.state is RuleState.ACTIVE:
        desk.trades.leave(run, cause)
    elif run.state is RuleState.ENTERING:
        _judge(desk, run)
        desk.rules.guards.look(run)
    elif run.state is RuleState.LEAVING:
        desk.trades.go_on_leaving(run)


def _found(desk: Desk, run: RuleRun) -> Trade | None:
    """Return a trade for what a rule's ledgers hold though no trade of this run put it there."""
    held = [abs(desk.ledgers.of(run.plan.name, leg.market).lots) for leg in run.plan.legs]
    if not any(held):
        return None
    entered = [nan] * len(run.plan.entered)
    trade = new_trade(desk, run.plan, [max(lots, 1) for lots in held], entered)
    for leg in trade.legs:
        leg.start = leg.fee_start = 0
    return trade


def _even(desk: Desk, run: RuleRun, trade: Trade, cause: str) -> None:
    if trade.within_gap():
        return
    run.cell.active = False
    trade.incompletable = True
    desk.trades.again_entering(run, cause)
    _judge(desk, run)


def _judge(desk: Desk, run: RuleRun) -> None:
    """Decide now, unless orders are under way or an exchange has not spoken yet."""
    groups = desk.rules.groups
    if desk.rules.known_to_all(run) and not groups.unsettled(run):
        groups.judge(run)


def take_out(desk: Desk, market: str, lots: int, price: float, why: str) -> int:
    """Take a signed change of a position out of the ledgers that held it; partners follow (R-79).

    A `price` of NaN books each ledger at its own entry. Returns what no ledger explains.
    """
    left = lots
    for ledger in list(desk.ledgers.by_market.get(market, ())):
        if not left or ledger.lots * left >= 0:
            continue
        taken = min(abs(left), abs(ledger.lots))
        change = taken if left > 0 else -taken
        book_out(desk, ledger, change, price, why)
        left -= change
        moved_outside(desk, desk.rules.runs[ledger.rule], f"{why} {market}")
    return left


def book_out(desk: Desk, ledger: Ledger, lots: int, price: float, why: str) -> None:
    """Book a signed change that no order of ours made; a `price` of NaN is the ledger's entry."""
    market, at = ledger.market, price if price == price else ledger.entry
    side = Side.BUY if lots > 0 else Side.SELL
    ledger.move(side, abs(lots), at, desk.markets[market].instrument.lot_base_f)
    desk.record(
        "adjusted", rule=ledger.rule, market=market, lots=lots, price=at, why=why,
        position=ledger.lots,
    )  # fmt: skip
    _rebase(desk.rules.runs[ledger.rule], market)
    desk.rules.touch(ledger.rule)


def adopt(desk: Desk, market: str, held: int) -> None:
    """Take the exchange's word on a position as the truth, booked as an explicit adjustment.

    What it lacks is taken from what others are known to hold, then from our ledgers, at the live
    mid (without one at the entry: what it really brought is not known). What it has beyond that
    belongs to others.
    """
    external = desk.ledgers.external
    left = held - desk.ledgers.expected(market)
    theirs = external.get(market, 0)
    if theirs * left < 0:
        part = min(abs(theirs), abs(left)) * (1 if left > 0 else -1)
        external[market] = theirs + part
        left -= part
    left = take_out(desk, market, left, desk.markets[market].mid(), "adopted")
    if left:
        external[market] = external.get(market, 0) + left
    desk.record("adopted", market=market, lots=held, external=external.get(market, 0))
    desk.rules.touch_run()
    desk.limits.evaluate()


def _rebase(run: RuleRun, market: str) -> None:
    """A residual of earlier trades cannot be more than what is left."""
    if run.trade is None:
        return
    for leg in run.trade.legs:
        lots, start = leg.ledger.lots, leg.start
        if leg.market == market and abs(start) > (abs(lots) if lots * start > 0 else 0):
            leg.start = lots if lots * start > 0 else 0
