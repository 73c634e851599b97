"""The user stream of Binance USD-M turned into events of orders, fills and accounts.

TRADE_LITE is left out on purpose: it tells a trade some milliseconds before ORDER_TRADE_UPDATE, but
without its fee, and a fill is booked once. Orders whose client id is not of this program are
external: of them only what moves a position is told.

Funding of a cross position comes without the position (Binance, Balance and Position Update): it is
shared by notional among all that is held in its asset, on foreign symbols too.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from runner.engine.events import (
    Account,
    Ack,
    Amended,
    Balance,
    Done,
    End,
    Event,
    External,
    Fill,
    Position,
)
from runner.exchanges.api import Decoded, MarketBinding
from runner.exchanges.binance_usdm import wire
from runner.exchanges.binance_usdm.algo import Algos
from runner.exchanges.wire import MS, is_ours, lots, number, ticks, units

ENDS: Final[Mapping[str, End]] = {
    "FILLED": End.FILLED,
    "CANCELED": End.CANCELED,
    "EXPIRED": End.EXPIRED,
    "EXPIRED_IN_MATCH": End.EXPIRED,
    "REJECTED": End.REJECTED,
}
"""Terminal statuses; any other is still open, as far as we know."""
_TRADES: Final = frozenset(("TRADE", "CALCULATED"))
_KNOWN: Final = _TRADES | {
    "NEW", "AMENDMENT", "CANCELED", "EXPIRED", "REJECTED", "TRADE_PREVENTION",
}  # fmt: skip
_OPEN: Final = frozenset(("NEW", "PARTIALLY_FILLED"))
_ONE: Final = Decimal(1)
_FORCED: Final = (
    ("autoclose-", "liquidation"),
    ("adl_autoclose", "adl"),
    ("settlement_autoclose-", "settlement"),
)
_TRANSFERS: Final = frozenset(
    "DEPOSIT WITHDRAW ADMIN_DEPOSIT ADMIN_WITHDRAW ASSET_TRANSFER MARGIN_TRANSFER".split()
)


def forced_by(cid: str) -> str | None:
    """Return what the exchange did by an order of this client id; None: it is not its own."""
    return next((name for mark, name in _FORCED if cid.startswith(mark)), None)


class UserStream:
    """Decodes the events of one account."""

    __slots__ = (
        "_account", "_algos", "_by_symbol", "_config", "_exchange", "_notional", "_order",
        "_prefix",
    )  # fmt: skip

    def __init__(
        self, exchange: str, by_symbol: Mapping[str, MarketBinding], prefix: str, algos: Algos
    ) -> None:
        self._exchange = exchange
        self._algos = algos
        self._by_symbol = by_symbol
        self._prefix = prefix
        self._order = msgspec.json.Decoder(wire.OrderUpdate, strict=False)
        self._account = msgspec.json.Decoder(wire.AccountUpdate, strict=False)
        self._config = msgspec.json.Decoder(wire.ConfigUpdate, strict=False)
        self._notional: dict[str, float] = {}
        """symbol -> what is held there is worth, in quote"""

    def hold(self, notional: Mapping[str, float]) -> None:
        """Take over what is held, from a whole picture: symbol -> notional."""
        self._notional = dict(notional)

    def order(
        self, frame: bytes, t: int, wall: int, out: Decoded, held: bool = False
    ) -> tuple[str, str]:
        """Decode ORDER_TRADE_UPDATE; return exchange id and client id of an own order, else "".

        An order that a stop became goes by the stop's client id; `held`: the frame was kept back
        once. A kind of execution or a status that the documents do not have is counted.
        """
        update = self._order.decode(frame)
        part = update.o
        binding = self._by_symbol.get(part.s)
        if part.x not in _KNOWN or (part.X not in _OPEN and part.X not in ENDS):
            out.unrecognised += 1
        exchange_id, cid = str(part.i), part.c
        if not is_ours(cid, self._prefix):
            cid = self._algos.cid(exchange_id)
            if not cid and not held and self._algos.holds(exchange_id, part.s, part.R, frame, t):
                return "", ""
        if binding is None or not cid:
            out.events.extend(self._external(update, binding, t, wall))
            return "", ""
        ts = update.T * MS
        events = out.events
        if part.x == "AMENDMENT":
            events.append(
                Amended(cid=cid, lots=lots(binding.instrument, part.q),
                        ticks=ticks(binding.instrument, part.p), ts=ts, t=t, wall=wall)
            )  # fmt: skip
        elif part.x == "NEW":
            events.append(Ack(cid=cid, exchange_id=exchange_id, ts=ts, t=t, wall=wall))
        elif part.x in _TRADES:
            events.append(
                Fill(cid=cid, trade_id=str(part.t), lots=lots(binding.instrument, part.l),
                     price=number(part.L), fee=number(part.n) if part.n else None,
                     fee_asset=part.N, maker=part.m, ts=ts, t=t, wall=wall)
            )  # fmt: skip
        end = ENDS.get(part.X)
        if end is not None:
            filled = lots(binding.instrument, part.z)
            events.append(
                Done(cid=cid, end=end, filled_lots=filled, ts=ts, t=t, wall=wall,
                     code="" if part.X in ("FILLED", "CANCELED") else part.X)
            )  # fmt: skip
        return exchange_id, cid

    def account(self, frame: bytes, t: int, wall: int) -> list[Event]:
        """Decode ACCOUNT_UPDATE: what changed, and what was paid or moved.

        What is free of a balance is not told: the stream does not know the margin in use.
        """
        update = self._account.decode(frame)
        part = update.a
        self._notional.update((p.s, abs(number(p.pa)) * p.ep) for p in part.P)
        events: list[Event] = [
            Account(
                exchange=self._exchange,
                balances=tuple(Balance(asset=b.a, total=b.wb) for b in part.B),
                positions=tuple(
                    Position(symbol=p.s, lots=self.position_lots(p.s, p.pa), entry=p.ep)
                    for p in part.P
                ),
                t=t,
                wall=wall,
            )
        ]
        what = "funding" if part.m == "FUNDING_FEE" else ""
        if part.m in _TRANSFERS:
            what = "transfer"
        for change in part.B if what else ():
            # Several of one moment differ in their amount at least.
            name = f"{what}-{update.T}-{change.a}-{change.bc:.8f}"
            whose = {self._market(part.P[0].s): 1.0} if part.P else {"": 1.0}
            if what == "funding" and not part.P:
                whose = self._shares(change.a)
            events.extend(
                External(exchange=self._exchange, what=what, market=market, id=name, asset=change.a,
                         amount=change.bc * share, t=t, wall=wall)
                for market, share in whose.items()
                if change.bc
            )  # fmt: skip
        return events

    def config(self, frame: bytes, t: int, wall: int) -> list[Event]:
        """Decode ACCOUNT_CONFIG_UPDATE: somebody changed the leverage."""
        part = self._config.decode(frame).ac
        if part is None:
            return []
        return [
            External(exchange=self._exchange, what="leverage", market=self._market(part.s),
                     amount=float(part.l), t=t, wall=wall)
        ]  # fmt: skip

    def position_lots(self, symbol: str, amount: str) -> int:
        """Return a signed position in lots; of a foreign symbol whole units, at least one."""
        binding = self._by_symbol.get(symbol)
        if binding is not None:
            return lots(binding.instrument, amount)
        value = number(amount)
        whole = int(value)
        return whole or (value > 0) - (value < 0)

    def _external(
        self, update: wire.OrderUpdate, binding: MarketBinding | None, t: int, wall: int
    ) -> list[Event]:
        part = update.o
        if part.x not in _TRADES:
            return []
        what = forced_by(part.c) or "fill"
        if binding is not None:
            size = lots(binding.instrument, part.l)
        else:
            size = max(units(part.l, _ONE), 1)
        return [
            External(exchange=self._exchange, what=what, market=self._market(part.s),
                     lots=size if part.S == "BUY" else -size, price=number(part.L),
                     amount=-number(part.n), asset=part.N, id=str(part.t), ts=update.T * MS, t=t,
                     wall=wall)
        ]  # fmt: skip

    def _shares(self, asset: str) -> dict[str, float]:
        """Return market -> part of the notional held in an asset; "" stands for foreign symbols."""
        found: dict[str, float] = {}
        for symbol, notional in self._notional.items():
            binding = self._by_symbol.get(symbol)
            quote = binding.instrument.quote if binding is not None else ""
            if quote == asset or (not quote and symbol.endswith(asset)):
                market = self._market(symbol)
                found[market] = found.get(market, 0.0) + notional
        total = sum(found.values())
        return {m: n / total for m, n in found.items() if n} if total else {"": 1.0}

    def _market(self, symbol: str) -> str:
        binding = self._by_symbol.get(symbol)
        return binding.market if binding is not None else ""
