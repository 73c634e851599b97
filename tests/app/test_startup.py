"""Account settings at a start: read, changed only while flat, refused otherwise (E0504)."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from runner.app.startup import check_account
from runner.base.errors import WorldError
from runner.engine.events import Account, Position
from runner.exchanges.api import AccountSetup
from tests.engine.stage import arb_plan


class Codec:
    """An account whose settings are these, and what was asked to be changed."""

    def __init__(self, lots: int, **setup: Any) -> None:
        self.lots = lots
        plain: dict[str, Any] = {"position_mode": "one_way", "leverage": {"BTCUSDT": 2},
                                 "margin_mode": {"BTCUSDT": "cross"}}  # fmt: skip
        self._setup = AccountSetup(**(plain | setup))
        self.changed: list[str] = []

    def key_facts(self, now_ms: int) -> None:
        return None

    def setup(self, symbols: list[str], now_ms: int) -> list[str]:
        return symbols

    def parse_setup(self, bodies: object) -> AccountSetup:
        return self._setup

    def account(self, now_ms: int) -> list[str]:
        return []

    def parse_account(self, bodies: object, t: int, wall: int) -> Account:
        position = Position(symbol="BTCUSDT", lots=self.lots)
        return Account(exchange="binance", balances=(), positions=(position,), full=True)

    def set_position_mode(self, mode: str, now_ms: int) -> str:
        return f"position {mode}"

    def set_margin_mode(self, symbol: str, mode: str, now_ms: int) -> str:
        return f"margin {symbol} {mode}"

    def set_leverage(self, symbol: str, leverage: int, now_ms: int) -> str:
        return f"leverage {symbol} {leverage}"


def check(codec: Codec) -> list[str]:
    plan = arb_plan()

    async def fetch(request: str) -> bytes:
        codec.changed.append(request)
        return b""

    async def fetch_all(requests: object) -> list[bytes]:
        return []

    link = SimpleNamespace(
        plan=plan.exchanges["binance"],
        order_codec=codec,
        sync=SimpleNamespace(now_ms=lambda: 0),
        rest=SimpleNamespace(fetch=fetch, fetch_all=fetch_all),
    )
    asyncio.run(check_account(link, plan, [], lambda _text: None))  # type: ignore[arg-type]
    return codec.changed


@pytest.mark.parametrize(
    ("setup", "change"),
    [
        ({"leverage": {"BTCUSDT": 20}}, "leverage BTCUSDT 2"),
        ({"leverage": {}}, "leverage BTCUSDT 2"),
        ({"margin_mode": {"BTCUSDT": "isolated"}}, "margin BTCUSDT cross"),
        ({"position_mode": "hedge"}, "position one_way"),
    ],
)
def test_a_setting_is_changed_while_flat_and_refused_with_a_position(
    setup: dict[str, Any], change: str
) -> None:
    assert check(Codec(0, **setup)) == [change]
    held = Codec(-8, **setup)
    with pytest.raises(WorldError, match="E0504"):
        check(held)
    assert held.changed == []


def test_what_is_as_the_file_says_is_left_alone() -> None:
    assert check(Codec(-8)) == []
