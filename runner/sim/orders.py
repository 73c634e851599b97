"""Orders, fills and refusals of an account, in no exchange's dialect."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from runner.sim.catalogue import Instrument
from runner.sim.matching import Resting, Side
from runner.sim.stops import Trigger


class Kind(enum.Enum):
    """How an order is priced."""

    LIMIT = "limit"
    MARKET = "market"


class Tif(enum.Enum):
    """How long an order lives."""

    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    POST = "post"


class Stp(enum.Enum):
    """What happens when an account would trade with itself."""

    NONE = "none"
    EXPIRE_TAKER = "taker"
    EXPIRE_MAKER = "maker"
    EXPIRE_BOTH = "both"


class Status(enum.Enum):
    """The state of an order; the last five are terminal."""

    UNTRIGGERED = "untriggered"
    NEW = "new"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    EXPIRED_IN_MATCH = "expired_in_match"
    POST_ONLY_WOULD_TAKE = "post_only_would_take"

    @property
    def open(self) -> bool:
        """Tell whether the order still works."""
        return self in (Status.NEW, Status.PARTIAL)


class Happening(enum.Enum):
    """What an event on the user's stream tells."""

    NEW = "new"
    TRADE = "trade"
    CANCELED = "canceled"
    EXPIRED = "expired"
    AMENDED = "amended"
    TRIGGERED = "triggered"


class Why(enum.Enum):
    """Why the exchange refuses; each dialect has its own code for each."""

    MARGIN = "margin"
    REDUCE_ONLY = "reduce_only"
    POST_ONLY = "post_only"
    FOK = "fok"
    DUPLICATE = "duplicate"
    NO_ORDER = "no_order"
    TOO_MANY_OPEN = "too_many_open"
    TOO_MANY_STOPS = "too_many_stops"
    SAME = "same"
    TRIGGERED = "triggered"


class Refusal(Exception):
    """The venue refuses a request."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(slots=True, eq=False)
class Order:
    """One order of the account. `tick` is 0 for a market order; `quote` and `fee` are money."""

    cid: str
    instrument: Instrument
    side: Side
    kind: Kind
    tif: Tif
    tick: int
    lots: int
    reduce_only: bool = False
    stp: Stp = Stp.NONE
    oid: int = 0
    created_ms: int = 0
    updated_ms: int = 0
    filled: int = 0
    quote: int = 0
    fee: int = 0
    status: Status = Status.NEW
    resting: Resting | None = None
    external_id: str = ""
    trigger: Trigger | None = None
    fired: bool = False
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Lots that are not filled."""
        return self.lots - self.filled

    @property
    def average(self) -> str:
        """Average price as text in the instrument's decimals plus two, "0" without fills."""
        if not self.filled:
            return "0"
        decimals = self.instrument.price_decimals
        per_tick = self.quote * 10**decimals * int(self.instrument.tick * 10**decimals)
        scaled = per_tick // (self.filled * self.instrument.value)
        whole, rest = divmod(scaled, 10 ** (2 * decimals))
        return f"{whole}.{rest:0{2 * decimals}d}" if decimals else str(whole)


@dataclass(slots=True, frozen=True)
class Fill:
    """One trade of the account."""

    trade_id: int
    order: Order
    tick: int
    lots: int
    quote: int
    fee: int
    maker: bool
    realised: int
    closed: int
    ts_ms: int
    filled_after: int
