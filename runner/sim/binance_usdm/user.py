"""User data of Binance USD-M: listen keys and the events of the private socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.sim.binance_errors import ApiError
from runner.sim.binance_public import Params
from runner.sim.binance_streams import encode
from runner.sim.binance_usdm.algo import Algo, update
from runner.sim.binance_usdm.orders import STATUS, tif_text
from runner.sim.catalogue import money_text
from runner.sim.orders import Fill, Happening, Order, Status
from runner.sim.venue import Venue
from runner.sim.wire import Session, Wire

KEY_LIFE_MS = 60 * 60_000
_NO_KEY = (-1125, "This listenKey does not exist.")


class UserData:
    """One listen key at a time, and the sockets that hold it."""

    def __init__(self, venue: Venue, wire: Callable[[], Wire], seed_text: str) -> None:
        self._venue = venue
        self._wire = wire
        self._stem = seed_text
        self._made = 0
        self.key = ""
        self._until = 0
        self.sessions: set[Session] = set()

    # -- listen keys

    def start(self, params: Params) -> Any:
        """POST listenKey: a new key, or the present one for another hour."""
        now = self._venue.now_ms()
        if not self.key or now >= self._until:
            self._made += 1
            self.key = f"{self._stem}{self._made:08d}"
        self._until = now + KEY_LIFE_MS
        return {"listenKey": self.key}

    def keep(self, params: Params) -> Any:
        """PUT listenKey: another hour; -1125 without a key."""
        now = self._venue.now_ms()
        if not self.key or now >= self._until:
            raise ApiError(*_NO_KEY)
        self._until = now + KEY_LIFE_MS
        return {"listenKey": self.key}

    def stop(self, params: Params) -> Any:
        """DELETE listenKey."""
        self.expire()
        return {}

    def tick(self, now_ms: int) -> None:
        """Expire the key when its hour is over."""
        if self.key and now_ms >= self._until:
            self.expire()

    def expire(self) -> None:
        """End the key: its sockets are told, and hear nothing more."""
        now = self._venue.now_ms()
        event = {"e": "listenKeyExpired", "E": now, "listenKey": self.key}
        for session in list(self.sessions):
            self._push(session, "listenKeyExpired", event)
        self.sessions.clear()
        self.key = ""

    # -- sockets

    def opened(self, session: Session) -> None:
        """Admit a socket that names the key in its URL; close any other."""
        parts = session.path.split("/")
        names = [session.query.get("listenKey", ""), *parts[3:]]
        names += session.query.get("streams", "").split("/")
        session.combined = parts[2] == "stream"
        session.tag = session.query.get("events", "")
        self.tick(self._venue.now_ms())
        if self.key and self.key in names:
            self.sessions.add(session)
        else:
            session.close(1008, "Invalid listenKey")

    def closed(self, session: Session) -> None:
        """Forget a socket."""
        self.sessions.discard(session)

    def _tell(self, event: dict[str, Any]) -> None:
        for session in tuple(self.sessions):
            self._push(session, str(event["e"]), event)

    def _push(self, session: Session, name: str, event: dict[str, Any]) -> None:
        if session.tag and name not in session.tag.split("/"):
            return
        text = encode(event)
        if session.combined:
            text = f'{{"stream":"{self.key}","data":{text}}}'
        self._wire().push(session, name, text)

    # -- events

    def order(self, order: Order, happening: Happening, fill: Fill | None) -> None:
        """Tell an event of an order; a trade is told lite first."""
        if not self.sessions:
            return
        now = self._venue.now_ms()
        if fill is not None:
            self._tell(_lite(order, fill, now))
        head = {"e": "ORDER_TRADE_UPDATE", "E": now, "T": order.updated_ms}
        self._tell(head | {"o": _order(order, happening, fill)})

    def algo(self, algo: Algo) -> None:
        """Tell a change of a conditional order."""
        if self.sessions:
            self._tell(update(algo, self._venue.now_ms()))

    def account(self, reason: str, symbol: str, paid: int = 0) -> None:
        """Tell a change of wallet and position; funding of a cross position without the latter."""
        if not self.sessions:
            return
        now = self._venue.now_ms()
        position = self._venue.account.positions[symbol]
        wallet = money_text(self._venue.account.wallet)
        mark = self._venue.mark(symbol)
        change = {
            "m": reason,
            "B": [{"a": "USDT", "wb": wallet, "cw": wallet, "bc": money_text(-paid)}],
            "P": [] if reason == "FUNDING_FEE" and not position.isolated else [
                {"s": symbol, "pa": position.instrument.qty(position.lots),
                 "ep": position.entry(), "bep": position.entry(),
                 "cr": money_text(position.realised),
                 "up": money_text(position.unrealised(mark)),
                 "mt": "isolated" if position.isolated else "cross", "iw": "0", "ps": "BOTH"}
            ],
        }  # fmt: skip
        self._tell({"e": "ACCOUNT_UPDATE", "E": now, "T": now, "a": change})

    def configured(self, symbol: str, leverage: int) -> None:
        """Tell a changed leverage."""
        now = self._venue.now_ms()
        change = {"s": symbol, "l": leverage}
        self._tell({"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ac": change})


def _lite(order: Order, fill: Fill, now: int) -> dict[str, Any]:
    instrument = order.instrument
    return {
        "e": "TRADE_LITE", "E": now, "T": fill.ts_ms, "s": instrument.symbol,
        "q": instrument.qty(order.lots),
        "p": instrument.price(order.tick) if order.tick else "0",
        "m": fill.maker, "c": order.cid, "S": order.side.name,
        "L": instrument.price(fill.tick), "l": instrument.qty(fill.lots),
        "t": fill.trade_id, "i": order.oid,
    }  # fmt: skip


_HAPPENING = {
    Happening.NEW: "NEW",
    Happening.TRADE: "TRADE",
    Happening.CANCELED: "CANCELED",
    Happening.EXPIRED: "EXPIRED",
    Happening.AMENDED: "AMENDMENT",
    Happening.TRIGGERED: "NEW",
}


def _order(order: Order, happening: Happening, fill: Fill | None) -> dict[str, Any]:
    instrument = order.instrument
    done = fill.filled_after if fill else order.filled
    status = order.status
    if fill is not None:
        status = Status.FILLED if done == order.lots else Status.PARTIAL
    return {
        "s": instrument.symbol, "c": order.cid, "S": order.side.name, "o": order.kind.name,
        "f": tif_text(order), "q": instrument.qty(order.lots),
        "p": instrument.price(order.tick) if order.tick else "0",
        "ap": order.average, "sp": "0", "x": _HAPPENING[happening], "X": STATUS[status],
        "i": order.oid, "l": instrument.qty(fill.lots if fill else 0),
        "z": instrument.qty(done), "L": instrument.price(fill.tick) if fill else "0",
        "n": money_text(fill.fee) if fill else "0", "N": "USDT",
        "T": fill.ts_ms if fill else order.updated_ms, "t": fill.trade_id if fill else 0,
        "b": "0", "a": "0", "m": fill.maker if fill else False, "R": order.reduce_only,
        "wt": "CONTRACT_PRICE", "ot": order.kind.name, "ps": "BOTH", "cp": False,
        "rp": money_text(fill.realised) if fill else "0", "pP": False, "si": 0, "ss": 0,
        "V": "NONE" if order.stp.value == "none" else order.stp.name, "pm": "NONE", "gtd": 0,
    }  # fmt: skip
