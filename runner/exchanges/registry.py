"""The adapters by the name that a strategy file gives in `type`.

A folder is imported when its name is first asked for. The public and the private half are made
apart: a dry-run calls `market_codec` only and so never imports a signer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final, cast

from runner.base.errors import FileError
from runner.exchanges.api import Credentials, MarketBinding, MarketCodec, OrderCodec

TYPES: Final[Mapping[str, str]] = {
    "binance_spot": "runner.exchanges.binance_spot",
    "binance_usdm": "runner.exchanges.binance_usdm",
    "bybit_linear": "runner.exchanges.bybit_linear",
}
ORDER_TYPES: Final = frozenset(("binance_usdm", "bybit_linear"))
"""Adapters that can trade."""


def market_codec(
    type: str,
    network: str,
    bindings: Sequence[MarketBinding],
    endpoints: Mapping[str, str] | None = None,
) -> MarketCodec:
    """Make the public half. FileError: no such type, network or endpoint."""
    module = import_module(f"{_folder(type)}.market")
    return cast(MarketCodec, module.market_codec(network, bindings, endpoints))


def order_codec(
    type: str,
    network: str,
    bindings: Sequence[MarketBinding],
    credentials: Credentials,
    endpoints: Mapping[str, str] | None = None,
    order_entry: str = "websocket",
    *,
    exchange: str = "",
    prefix: str = "",
) -> OrderCodec:
    """Make the private half. FileError: no such type, network or endpoint, or it cannot trade.

    `exchange` is the name in the strategy file that its events carry (default: the type);
    `prefix` marks our own client order ids (base/ids.py; default: those of any strategy).
    """
    if type not in ORDER_TYPES and type in TYPES:
        raise FileError(f"{type} offers market data only; orders cannot be sent there yet")
    module = import_module(f"{_folder(type)}.orders")
    codec = module.order_codec(
        network, bindings, credentials, endpoints, order_entry, exchange or type, prefix
    )
    return cast(OrderCodec, codec)


def _folder(type: str) -> str:
    folder = TYPES.get(type)
    if folder is None:
        raise FileError(f"there is no exchange type {type!r}; there are {', '.join(TYPES)}")
    return folder
