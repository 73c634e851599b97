"""The limits of a plan in words: what is refused, and what stops the run."""

from __future__ import annotations

from collections.abc import Iterator

from runner.base.units import format_duration, format_ratio, plain
from runner.spec.parts import Quantity
from runner.spec.risk_plan import RiskPlan

_THEN = {
    "pause": "takes no new risk{}; open trades go on and leave by their own words",
    "halt": "takes no new risk and closes all trades, in pairs, until `resume`",
    "freeze": "cancels what rests but stops and targets; no exits either, until `resume`",
}


def refusing(risk: RiskPlan) -> Iterator[str]:
    """Yield the limits at which an order is not sent."""
    for name, quantity in risk.max_position.items():
        yield f"{_q(quantity)} on {name}"
    for asset, value in risk.max_net_position.items():
        yield f"{plain(value)} {asset} unmatched"
    if not risk.max_net_position and len(risk.max_position) > 1:
        yield "no limit on what is unmatched (`max_net_position` is not set)"
    for name, quantity in risk.max_exposure.items():
        yield f"{_q(quantity)} exposure of {name}"
    if risk.max_order is not None:
        yield f"{_q(risk.max_order)} an order"
    for name, quantity in risk.max_order_by_market.items():
        yield f"{_q(quantity)} an order on {name}"
    if risk.max_open_trades is not None:
        yield f"{risk.max_open_trades} open trade{'s' if risk.max_open_trades > 1 else ''}"
    for name, leverage in risk.max_leverage.items():
        yield f"{leverage:g} times the equity of {name} in its perpetuals"
    if risk.max_spend is not None:
        per = format_duration(risk.max_spend.per_ns)
        yield f"{_q(risk.max_spend.amount)} spent on spot in {per}"
    if risk.max_daily_loss is not None:
        yield f"{_q(risk.max_daily_loss.amount)} lost a day, then {risk.max_daily_loss.then}"
    if risk.max_orders is not None:
        yield f"{risk.max_orders.count} entries in {format_duration(risk.max_orders.per_ns)}"
    if risk.min_free_margin is not None:
        yield f"and {format_ratio(risk.min_free_margin)} of each equity stays free"


def tripping(risk: RiskPlan) -> Iterator[str]:
    """Yield the limits that change the state of the run, and what follows."""
    if risk.max_daily_loss is not None:
        day = risk.max_daily_loss
        yield f"{_q(day.amount)} are lost in a day: {_then(day.then, None)}"
    if risk.max_drawdown is not None:
        fall = risk.max_drawdown
        text = f"{_q(fall.amount)} are lost from the highest value"
        yield f"{text}: {_then(fall.then, fall.rest_ns)}"
    if risk.max_losing_streak is not None:
        streak = risk.max_losing_streak
        text = f"{streak.trades} trades in a row lose" if streak.trades > 1 else "a trade loses"
        yield f"{text}: {_then(streak.then, streak.rest_ns)}"
    for breaker in risk.breakers:
        held = f" for {format_duration(breaker.for_ns)}" if breaker.for_ns else ""
        yield f"{breaker.when_text}{held}: {_then(breaker.then, breaker.rest_ns)}"


def _then(then: str, rest_ns: int | None) -> str:
    if rest_ns is None:
        return _THEN[then].format(" until `resume`")
    return _THEN[then].format(f" for {format_duration(rest_ns)}")


def _q(quantity: Quantity) -> str:
    return f"{plain(quantity.value)} {quantity.unit}"
