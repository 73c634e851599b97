"""What keeps each side of a quote from resting, for `why`: it reads and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from runner.engine.blocking import Block, Kind
from runner.engine.codes import Refusal
from runner.engine.limits import Mode
from runner.engine.quote_exit import quote_of
from runner.market.instruments import Side

if TYPE_CHECKING:
    from runner.engine.quoting import Quoting
    from runner.engine.rule import RuleRun


def sides(quoting: Quoting, run: RuleRun) -> Iterator[tuple[str, Block | None]]:
    """Yield the sides that a rule quotes, and what each lacks; None while it is there."""
    quote = quote_of(run)
    if quote.bid is not None:
        yield "bid", _lacks(quoting, run, Side.BUY)
    if quote.ask is not None:
        yield "ask", _lacks(quoting, run, Side.SELL)


def _lacks(quoting: Quoting, run: RuleRun, side: Side) -> Block | None:
    order = quoting.resting(run, side)
    if order is not None and not order.cancel_asked and not order.terminal:
        return None
    limits = quoting.desk.limits
    if limits.mode is not Mode.ACTIVE:
        return Block(Kind.RUN, limits.code, f"{limits.mode.shown}: {limits.reason}")
    wanted, state = quoting.wanted(run, side, order), quoting.side(run.plan.name, side)
    no = wanted if isinstance(wanted, Refusal) else state.no
    if no is not None:
        return Block(Kind.REFUSED, no.code.value, no.text)
    waits = quoting.desk.now < state.next_at
    return Block(Kind.SENDING, "", "waits for `at_most_every`" if waits else "about to be placed")
