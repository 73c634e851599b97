"""Orders and codecs for tests of the private halves."""

from __future__ import annotations

from collections.abc import Mapping

from runner.base.secret import Secret
from runner.engine.commands import Intent, OrderType, Purpose, Tif
from runner.engine.proof import Approved, Journaled
from runner.exchanges.api import Credentials, OrderCodec
from runner.exchanges.registry import order_codec
from runner.market.instruments import Side
from tests.exchanges.captures import binding

KEY = "testkey0123456789"
SECRET = "testsecret0123456789"
CID = "rabcde0123456789000000000000"
NOW = 1795430445206


def credentials(key: str = KEY, secret: str = SECRET) -> Credentials:
    return Credentials(Secret(key), Secret(secret))


def codec(
    type: str,
    order_entry: str = "rest",
    key: str = KEY,
    secret: str = SECRET,
    network: str = "live",
    endpoints: Mapping[str, str] | None = None,
) -> OrderCodec:
    return order_codec(
        type, network, [binding(type, "m", "BTCUSDT")], credentials(key, secret), endpoints,
        order_entry, exchange="x",
    )  # fmt: skip


def intent(
    cid: str = CID,
    side: Side = Side.BUY,
    type: OrderType = OrderType.LIMIT,
    tif: Tif = Tif.GTC,
    reduce_only: bool = False,
    qty: str = "0.002",
    price: str = "50000.5",
    window_ns: int = 5_000_000_000,
) -> Intent:
    return Intent(
        cid=cid, rule="r", group=1, leg=0, attempt=0, purpose=Purpose.ENTRY, exchange="x",
        market="m", symbol="BTCUSDT", side=side, type=type, tif=tif, lots=2, ticks=500005,
        qty_text=qty, price_text=price if type is OrderType.LIMIT else "",
        reduce_only=reduce_only, window_ns=window_ns, t=0, wall=0,
    )  # fmt: skip


def journaled(order: Intent) -> Journaled:
    """Seal an order as the gate and the journal would; tests send nothing."""
    sealed = Journaled.__new__(Journaled)
    sealed.intent = order
    assert not isinstance(sealed, Approved)
    return sealed
