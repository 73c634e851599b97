"""What an account of Bybit pays and is set to, and what its key may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from runner.base.errors import ExchangeError
from runner.exchanges.api import AccountSetup, HttpRequest, KeyFacts, MarketBinding
from runner.exchanges.bybit_linear import answers, private, wire
from runner.exchanges.bybit_linear.sign import Signer
from runner.exchanges.wire import number

MARGIN_MODES: Final[Mapping[str, str]] = {"cross": "REGULAR_MARGIN", "isolated": "ISOLATED_MARGIN"}


class Settings:
    """The part of an `OrderCodec` that no order needs: read and set before trading begins."""

    def __init__(self, signer: Signer, by_symbol: Mapping[str, MarketBinding]) -> None:
        self._signer = signer
        self._by_symbol = by_symbol

    def fees(self, symbol: str, now_ms: int) -> HttpRequest | None:
        """Return the request for the account's own fee rates."""
        return self._signer.get("/v5/account/fee-rate", f"category=linear&symbol={symbol}", now_ms)

    def parse_fees(self, body: bytes) -> tuple[float, float]:
        """Return (maker, taker) as ratios."""
        rows = answers.result(body, wire.Listing[private.FeeRate], "fee-rate").rows
        if not rows:
            raise ExchangeError("bybit_linear fee-rate: no rates")
        return number(rows[0].makerFeeRate), number(rows[0].takerFeeRate)

    def setup(self, symbols: Sequence[str], now_ms: int) -> list[HttpRequest]:
        """Return the requests for margin mode, position mode and leverage."""
        info = self._signer.get("/v5/account/info", "", now_ms)
        return [info, *self._position_lists(symbols, now_ms)]

    def parse_setup(self, bodies: Sequence[bytes]) -> AccountSetup:
        """Return the settings; ExchangeError on nonsense."""
        return answers.setup(bodies)

    def set_leverage(self, symbol: str, leverage: int, now_ms: int) -> HttpRequest:
        """Return the request that sets a symbol's leverage, both ways alike."""
        body = (
            f'{{"category":"linear","symbol":"{symbol}","buyLeverage":"{leverage}",'
            f'"sellLeverage":"{leverage}"}}'
        )
        return self._signer.post("/v5/position/set-leverage", body, now_ms)

    def set_margin_mode(self, symbol: str, mode: str, now_ms: int) -> HttpRequest | None:
        """Return the request that sets the margin mode, which is the whole account's."""
        body = f'{{"setMarginMode":"{MARGIN_MODES[mode]}"}}'
        return self._signer.post("/v5/account/set-margin-mode", body, now_ms)

    def set_position_mode(self, mode: str, now_ms: int) -> HttpRequest | None:
        """Return the request that sets the position mode: of the symbol, or of all USDT ones."""
        symbols = list(self._by_symbol)
        whose = f'"symbol":"{symbols[0]}"' if len(symbols) == 1 else '"coin":"USDT"'
        body = f'{{"category":"linear",{whose},"mode":{3 if mode == "hedge" else 0}}}'
        return self._signer.post("/v5/position/switch-mode", body, now_ms)

    def parse_set(self, status: int, body: bytes) -> None:
        """Accept the answer to a setting; Rejected unless it is so now."""
        answers.done(status, body)

    def key_facts(self, now_ms: int) -> HttpRequest | None:
        """Return the request for the key's permissions."""
        return self._signer.get("/v5/user/query-api", "", now_ms)

    def parse_key_facts(self, body: bytes) -> KeyFacts:
        """Return what the exchange says of the key."""
        return answers.key_facts(body)

    def _position_lists(
        self, symbols: Sequence[str] | Mapping[str, object], now_ms: int
    ) -> list[HttpRequest]:
        return [
            self._signer.get("/v5/position/list", f"category=linear&symbol={symbol}", now_ms)
            for symbol in symbols
        ]
