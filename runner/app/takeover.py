"""What a run takes over from an earlier one, in its report: positions, and orders on their way.

A position that was open counts as bought at its average entry: what closing it brings is this run's
profit, the fees of opening it stand in the report of the run that paid them. The end compares the
report with the engine's ledgers, so that a report that missed something says so itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

import msgspec

from runner.app.collector import Collector
from runner.base.units import plain
from runner.engine.commands import Intent
from runner.engine.saved import Saved

_FATES = {
    "adopt": "{rule} went on with the open trade of {of}, by --adopt",
    "close": "{rule}: what {of} held had no rule in the file and was to be closed first",
    "hold": "{rule}: what {of} held has no rule in the file and was kept, by --hold-orphans",
}


class LedgerLike(Protocol):
    """What is compared of an engine's ledger."""

    rule: str
    market: str
    lots: int
    fee_lots: int


class _Ledger(msgspec.Struct):
    market: str
    lots: int
    entry: float | None = None


class _Order(msgspec.Struct):
    intent: Intent


class _Row(msgspec.Struct):
    """Of a rule's saved row (`engine/snapshot.py`), what matters to money."""

    ledgers: list[_Ledger] = []
    orders: list[_Order] = []


def take_over(collector: Collector, saved: Saved) -> None:
    """Open the report with what an earlier run left to the rules of the file."""
    earlier: dict[str, set[str]] = defaultdict(set)
    for key in saved.fills:
        cid, _, trade = key.partition(":")
        earlier[cid].add(trade)
    for name, text in saved.rules.items():
        money = collector.rules.get(name)
        if money is None:
            continue
        row = msgspec.json.decode(text, type=_Row)
        for ledger in row.ledgers:
            instrument = collector.instruments.get(ledger.market)
            if not ledger.lots or ledger.entry is None or instrument is None:
                continue
            leg = money.take_over(ledger.market, instrument, ledger.lots, ledger.entry)
            collector.notes.append(
                f"{name}: {plain(leg.base)} {instrument.base} of {ledger.market} are from an "
                f"earlier run, valued from their entry at {plain(Decimal(repr(ledger.entry)))}; "
                "the fees of opening them are that run's"
            )
        for order in row.orders:
            collector.expect(order.intent, earlier[order.intent.cid])
    collector.notes += [_FATES[x.how].format(rule=x.rule, of=x.of) for x in saved.settled]


def compare(
    collector: Collector, ledgers: Iterable[LedgerLike], external: dict[str, int]
) -> list[str]:
    """Return where report and ledgers differ, and what the account holds that is not ours."""
    notes = []
    for ledger in ledgers:
        money = collector.rules.get(ledger.rule)
        leg = money.legs.get(ledger.market) if money is not None else None
        shown = leg.lots if leg is not None else 0
        if shown != ledger.lots + ledger.fee_lots:  # fees kept in base are a cost in the report
            notes.append(
                f"{ledger.rule}: this report shows {shown} lots of {ledger.market}, the ledger "
                f"{ledger.lots}: trust the ledger"
            )
    for market, lots in external.items():
        instrument = collector.instruments.get(market)
        if lots and instrument is not None:
            qty = plain(instrument.base_qty(lots))
            notes.append(f"{market}: {qty} {instrument.base} on the account are not the strategy's")
    return notes
