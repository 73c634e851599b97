"""What would have to change for a rule to trade: one line a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from runner.engine.blocking import Kind
from runner.engine.codes import Why

_EXCHANGE: Final = "it must be connected and reconciled: see `runner status` and the log"
_BY_KIND: Final[Mapping[Kind, str]] = {
    Kind.DISABLED: "find out what the rejects or firings say, then `runner resume --rule RULE`",
    Kind.DONE: "nothing: the file says `once`",
    Kind.RUN: "the cause must go; a halt, a pause and a freeze go by `runner resume --yes`",
    Kind.EXCHANGE: _EXCHANGE,
    Kind.FACTS: "the exchange must list the symbol, and say so",
    Kind.WINDOW: "the window must fill; a start fills those of 5 minutes and more from bars",
    Kind.CELL: "the account, or the source, must have told it: see `runner status`",
    Kind.MISSING: "a book deep enough, a divisor that is not 0, a root of what is not negative",
    Kind.FALSE: "another market, or another number in the file",
    Kind.FOR: "`when` must stay true for as long as `for` says; shorten it, or drop it",
    Kind.COOLDOWN: "a shorter `cooldown`",
    Kind.TRIGGER: "a message of the source (does its sender run, does it arrive?), or its time",
    Kind.UNARMED: "`when` must be false once; `rearm: level` lifts that",
}
_BY_STREAM: Final[Mapping[str, str]] = {
    "stale": "frames that come sooner, or a larger `max_age` where the strategy can bear it",
    "waiting": "the first frame, or the book's snapshot: is the symbol right, does the feed run?",
    "gap": "a fresh snapshot after missed differences; it is asked for by itself",
    "crossed": "a book whose bid is below its ask; a snapshot is asked for by itself",
    "down": "the connection; it is opened again by itself",
}
_BY_SOURCE: Final[Mapping[str, str]] = {
    "stale": "messages that come sooner, or a larger `max_age`: see the source in `runner status`",
    "waiting": "its first message: does its sender run, does it arrive? See `runner status`",
    "down": "its other end: see the source in `runner status`; it is tried again by itself",
}
_BY_CODE: Final[Mapping[Why, str]] = {
    Why.HALTED: "`runner resume --yes`",
    Why.FROZEN: "`runner resume --yes`, once the cause is understood",
    Why.PAUSED: "its rest must be over, or `runner resume`",
    Why.REDUCING: "the cause must go: a difference, an unknown order, a stream that is down",
    Why.RULE_DISABLED: "`runner resume --rule RULE`",
    Why.SYMBOL_REDUCING: "journal and exchange must agree on the position again",
    Why.STALE: "books that are younger when the order is decided, or a larger `max_age`",
    Why.SKEW: "books of the same moment, or a larger `max_skew`",
    Why.CLOCK_UNREAD: "a time sync with the exchange: see `runner status`",
    Why.CLOCK_OLD: "a time sync with the exchange: see `runner status`",
    Why.CLOCK_UNCERTAIN: "a quicker road to the exchange, or a quieter machine",
    Why.CLOCK_STEPPED: "a machine whose clock does not jump (chrony, not ntpdate)",
    Why.MIN_QTY: "a larger `size`: the exchange takes no order this small",
    Why.MIN_NOTIONAL: "a larger `size`: the exchange takes no order this small",
    Why.SIZE_ZERO: "a larger `size`: rounded down to the lot nothing is left",
    Why.SIZE_MIN: "a lower `sizing.min`, or a size that is not cut this far",
    Why.MAX_QTY: "a smaller `size`: the exchange takes no order this large",
    Why.MISSING_SIZE: "whatever `size` reads must be known at the entry",
    Why.MISSING_WEIGHT: "whatever `weight` reads must be known at the entry",
    Why.MISSING_PRICE: "whatever `price` reads, or the leg's book, must be known at the entry",
    Why.COLLAR: "a limit nearer to the mid, or a larger `risk.price_collar`",
    Why.PRICE_WALK: "a calmer market, or a larger `risk.price_collar`",
    Why.NO_REFERENCE: "a live book of the leg",
    Why.MAX_ORDER: "a smaller `size`, or a larger `risk.max_order`",
    Why.MAX_POSITION: "a smaller position or `size`, or a larger `risk.max_position`",
    Why.MAX_NET_POSITION: "legs that offset each other, or a larger `risk.max_net_position`",
    Why.MAX_EXPOSURE: "a smaller position or `size`, or a larger `risk.max_exposure`",
    Why.BALANCE: "money on the account, a smaller `size`, or more `leverage`",
    Why.BALANCE_UNKNOWN: "the account must have told its balance: see `runner status`",
    Why.MAX_OPEN_ORDERS: "fewer orders resting at once, or a larger `risk.max_open_orders`",
    Why.SELF_CROSS: "the own order on the other side must be gone",
    Why.SAME_ORDER: "a pause between equal orders; `risk.same_order_within` says how long",
    Why.MAX_ORDERS: "fewer entries, or a larger `risk.max_orders`",
    Why.MAX_FIRINGS: "a rule that fires less often, or a larger `risk.max_firings`",
    Why.LOSS_UNCERTAIN: "a live price of what is held",
    Why.DAILY_LOSS: "the next day, or a larger `risk.max_daily_loss`",
    Why.RATE_BUDGET: "fewer requests, or a higher tier at the exchange",
    Why.STARTING: _EXCHANGE,
    Why.RECONCILING: _EXCHANGE,
    Why.DOWN: _EXCHANGE,
    Why.MAINTENANCE: _EXCHANGE,
    Why.EXCHANGE_FROZEN: "a key that it accepts: renew it, and cancel there by hand what the page"
    " names, for our cancels may be refused too; a fill of that is hedged elsewhere, what is even"
    " is kept; it is tried again by itself",
    Why.INSTRUMENT_UNKNOWN: "the exchange must list the symbol, and say so",
    Why.INSTRUMENT_HALTED: "the exchange must trade the symbol again",
    Why.STREAM_WAITING: _BY_STREAM["waiting"],
    Why.CROSSED: _BY_STREAM["crossed"],
    Why.GAP: _BY_STREAM["gap"],
    Why.STREAM_DOWN: _BY_STREAM["down"],
    Why.STOP_SIDE: "a stop price beyond the market on the losing side",
    Why.TARGET_SIDE: "a target price beyond the market on the winning side",
    Why.STOP_OPEN: "the last trade's stop and target must have ended; they are asked about",
    Why.STOP_ROOM: "another trade on the symbol must end: its exchange lets only so many stand",
    Why.MAX_LEVERAGE: "more equity, a smaller exposure, or a larger `risk.max_leverage`",
    Why.EQUITY_UNKNOWN: "the exchange must have told the account's equity: see `runner status`",
    Why.MIN_FREE_MARGIN: "more money, a smaller exposure, or a smaller `risk.min_free_margin`",
    Why.MAX_OPEN_TRADES: "another rule's trade must end, or a larger `risk.max_open_trades`",
    Why.MAX_SPEND: "the window must move on, or a larger `risk.max_spend`",
    Why.DRAWDOWN: "`runner resume --yes`, or a larger `risk.max_drawdown`",
    Why.NO_SOURCE: "the sender must name a source of the file",
    Why.BAD_FIELD: "the sender must send what `fields:` of the source says",
    Why.DUPLICATE: "nothing: this message was heard before",
    Why.OUT_OF_ORDER: "the sender must count its messages upwards",
    Why.FUTURE: "a sender whose clock is right",
    Why.LATE: "a quicker sender, or a larger `max_age` of the source",
    Why.WARMING: "the rule must be warm when the message comes",
    Why.COOLDOWN: "a shorter `cooldown`",
    Why.IN_TRADE: "the rule's trade must have ended when the message comes",
    Why.RULE_OVER: "`runner resume --rule RULE`, where the rule is disabled",
    Why.WHEN_FALSE: "the market, or the number in the file",
    Why.WHEN_MISSING: "whatever `when` reads must be known when the message comes",
    Why.BUSY: "what is under way must have ended first",
    Why.KEY_USED: "another `key`: this one has bought already",
    Why.INVENTORY: "the other side must fill, or a larger `inventory.limit`",
    Why.WOULD_CROSS: "a price that the market does not reach, or `if_crossing: join`",
    Why.OPPOSED: "the other rule must have left; `mode: net` on both lifts this",
}


def all_hints() -> list[tuple[str, str]]:
    """Return all reasons there can be, and what each wants."""
    return [
        *((kind.value, hint) for kind, hint in _BY_KIND.items()),
        *((f"stream {state}", hint) for state, hint in _BY_STREAM.items()),
        *((f"stream {state} (a source)", hint) for state, hint in _BY_SOURCE.items()),
        *((f"refused {code}", hint) for code, hint in _BY_CODE.items()),
    ]


def change(kind: str, subject: str, missed_by: str = "") -> str:
    """Return what would have to change; "" where nothing general can be said.

    missed_by: of a comparison, how near it came.
    """
    if kind == Kind.FALSE and missed_by:
        return f"a market that comes {missed_by} nearer than it did, or a number so much looser"
    if kind == Kind.STREAM:
        stream, _, state = subject.rpartition(" ")
        return (_BY_STREAM if "." in stream else _BY_SOURCE).get(state, "")
    if kind == Kind.REFUSED:
        code = next((why for why in _BY_CODE if why == subject), None)
        return _BY_CODE[code] if code is not None else ""
    return _BY_KIND.get(Kind(kind), "")
