"""Why something was refused: stable codes, the gate's in the order of its checks (R-02)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Why(StrEnum):
    """Codes of refusals. The comment is the number of the gate's check."""

    HALTED = "halted"  # 1
    FROZEN = "frozen"
    PAUSED = "paused"
    REDUCING = "reducing"
    RULE_DISABLED = "rule_disabled"
    SYMBOL_REDUCING = "symbol_reducing"
    ID_USED = "id_used"  # 2
    NOT_OPEN = "not_open"
    PARENT_BUDGET = "parent_budget"
    EXIT_OVER_LEDGER = "exit_over_ledger"
    EXIT_OVER_POSITION = "exit_over_position"
    STARTING = "exchange_starting"  # 3
    RECONCILING = "exchange_reconciling"
    DOWN = "exchange_down"
    MAINTENANCE = "exchange_maintenance"
    EXCHANGE_FROZEN = "exchange_frozen"
    STREAM_WAITING = "stream_waiting"  # 4
    STALE = "stale"
    CROSSED = "crossed"
    GAP = "gap"
    STREAM_DOWN = "stream_down"
    SKEW = "skew"
    CLOCK_UNREAD = "clock_unread"  # 5
    CLOCK_UNCERTAIN = "clock_uncertain"
    CLOCK_STEPPED = "clock_stepped"
    CLOCK_OLD = "clock_old"
    INSTRUMENT_UNKNOWN = "instrument_unknown"  # 6
    INSTRUMENT_HALTED = "instrument_halted"
    TICK = "tick"  # 7
    SIZE_ZERO = "size_zero"
    MIN_QTY = "min_qty"
    MAX_QTY = "max_qty"
    MIN_NOTIONAL = "min_notional"
    NO_REFERENCE = "no_reference"  # 8
    COLLAR = "price_collar"
    PRICE_WALK = "price_walk"
    MAX_ORDER = "max_order"  # 9
    MAX_POSITION = "max_position"  # 10
    MAX_NET_POSITION = "max_net_position"
    MAX_EXPOSURE = "max_exposure"  # 11
    MAX_LEVERAGE = "max_leverage"
    EQUITY_UNKNOWN = "equity_unknown"
    BALANCE_UNKNOWN = "balance_unknown"  # 12
    BALANCE = "balance"
    MIN_FREE_MARGIN = "min_free_margin"
    MAX_OPEN_ORDERS = "max_open_orders"  # 13
    MAX_OPEN_TRADES = "max_open_trades"
    SELF_CROSS = "self_cross"  # 14
    SAME_ORDER = "same_order"  # 15
    MAX_ORDERS = "max_orders"  # 16
    MAX_FIRINGS = "max_firings"
    MAX_SPEND = "max_spend"
    LOSS_UNCERTAIN = "loss_uncertain"  # 17
    DAILY_LOSS = "max_daily_loss"
    DRAWDOWN = "max_drawdown"
    RATE_BUDGET = "rate_budget"  # 18
    # before the gate
    OPPOSED = "opposed"
    BUSY = "busy"
    MISSING_SIZE = "missing_size"
    MISSING_WEIGHT = "missing_weight"
    MISSING_PRICE = "missing_price"
    SIZE_MIN = "size_min"
    STOP_SIDE = "stop_side"
    TARGET_SIDE = "target_side"
    STOP_OPEN = "stop_open"
    STOP_ROOM = "stop_room"
    KEY_USED = "key_used"
    # a side of a quote
    INVENTORY = "inventory"
    WOULD_CROSS = "would_cross"
    # a message at the engine
    NO_SOURCE = "no_source"
    BAD_FIELD = "bad_field"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    FUTURE = "from_the_future"
    LATE = "late"
    # a message that would start a rule
    WARMING = "warming"
    COOLDOWN = "cooldown"
    IN_TRADE = "in_trade"
    RULE_OVER = "rule_over"
    WHEN_FALSE = "when_false"
    WHEN_MISSING = "when_missing"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no, with its code and the figures: `max_position.bin: 0.024 BTC / 0.02 BTC`."""

    code: Why
    text: str
