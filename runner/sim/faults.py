"""Faults on purpose: what goes wrong, where, from which time on, how often.

A fault is matched by exchange and route. A route is a shell pattern over a label: requests are
labelled `POST /fapi/v1/order` or `trade order.place`, pushes `public btcusdt@bookTicker` or
`private ORDER_TRADE_UPDATE`, sockets `public`, `market`, `private`, `trade`. `after` matches pass
untouched, then at most `count` are hit (None: all), each with probability `args.p` drawn from the
fault's own seed.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from runner.base.rng import seeded

NAMES: dict[str, str] = {
    "disconnect": "close the connection: sockets at once, a request before it is read",
    "stall": "keep the socket open and say nothing any more; args.for_s ends it",
    "delay_request": "wait args.ms before a request is processed",
    "delay_message": "wait args.ms before a message that came over a socket is read",
    "delay_response": "wait args.ms after a request was processed",
    "duplicate": "send a push twice",
    "drop": "do not send a push",
    "reorder": "send a push after the next one of its socket",
    "late": "send a push args.ms later",
    "gap": "skip one event of a stream of differences",
    "crossed": "send a book whose bid is above its ask",
    "truncated": "send the first half of a push",
    "accepted_but_lost": "process a request, then cut the connection without an answer",
    "reject": "answer args.code, args.msg without processing",
    "429": "answer that the rate limit is exceeded; args.retry_after seconds",
    "418": "ban the address for args.retry_after seconds (Binance; Bybit answers 403)",
    "unavailable": "answer args.status (503), args.body; processed before when args.executed",
    "key_rights": "change what the exchange says a key may do, by args",
    "listen_key_expired": "expire the listen key (Binance)",
}


class UnknownFault(ValueError):
    """The control API was asked for a fault that does not exist."""


class FaultSpec(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A fault as the control API takes it."""

    name: str
    exchange: str | None = None
    route: str = "*"
    after: int = 0
    count: int | None = None
    seed: int = 0
    args: dict[str, Any] = msgspec.field(default_factory=dict)


@dataclass(slots=True)
class Fault:
    """An active fault: its specification, how often it matched and hit."""

    spec: FaultSpec
    rng: Random
    matched: int = 0
    hits: int = 0

    def number(self, name: str, default: float) -> float:
        """Return a numeric argument."""
        return float(self.spec.args.get(name, default))


@dataclass(slots=True)
class Faults:
    """All active faults of a simulator; `on_add` sees each new one (for faults at once).

    `exchanges` are the names a fault may have; empty: any.
    """

    exchanges: tuple[str, ...] = ()
    active: dict[str, Fault] = field(default_factory=dict)
    on_add: list[Callable[[Fault], None]] = field(default_factory=list)
    on_remove: list[Callable[[Fault], None]] = field(default_factory=list)
    _made: int = 0

    def add(self, spec: FaultSpec) -> str:
        """Activate a fault; returns its id. Raises UnknownFault."""
        if spec.name not in NAMES:
            raise UnknownFault(f"no fault {spec.name!r}; there are {', '.join(NAMES)}")
        if self.exchanges and spec.exchange not in (None, *self.exchanges):
            known = ", ".join(self.exchanges)
            raise UnknownFault(f"no exchange {spec.exchange!r} here; there are {known}")
        self._made += 1
        key = f"f{self._made}"
        fault = Fault(spec, seeded("sim-fault", spec.seed, self._made))
        self.active[key] = fault
        for listener in self.on_add:
            listener(fault)
        return key

    def remove(self, key: str) -> bool:
        """End a fault."""
        fault = self.active.pop(key, None)
        if fault is None:
            return False
        for listener in self.on_remove:
            listener(fault)
        return True

    def hit(self, name: str, exchange: str, label: str) -> Fault | None:
        """Return the fault of this name that strikes here and now, counting the match."""
        if not self.active:
            return None
        for fault in self.active.values():
            spec = fault.spec
            if spec.name != name or spec.exchange not in (None, exchange):
                continue
            if not fnmatch.fnmatchcase(label, spec.route):
                continue
            fault.matched += 1
            if fault.matched <= spec.after:
                continue
            if spec.count is not None and fault.hits >= spec.count:
                continue
            if fault.rng.random() >= fault.number("p", 1.0):
                continue
            fault.hits += 1
            return fault
        return None
