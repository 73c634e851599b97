"""What an account of Binance USD-M pays and is set to, and what its key may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from runner.exchanges.api import AccountSetup, HttpRequest, KeyFacts
from runner.exchanges.binance_usdm import answers, wire
from runner.exchanges.binance_usdm.sign import Signer
from runner.exchanges.wire import parse

MARGIN_MODES: Final[Mapping[str, str]] = {"cross": "CROSSED", "isolated": "ISOLATED"}


class Settings:
    """The part of an `OrderCodec` that no order needs: read and set before trading begins."""

    def __init__(self, network: str, urls: Mapping[str, str], signer: Signer) -> None:
        self.network = network
        self._urls = urls
        self._signer = signer

    def fees(self, symbol: str, now_ms: int) -> HttpRequest | None:
        """Return the request for the account's own fee rates."""
        query = f"symbol={symbol}"
        return self._signer.signed("GET", "/fapi/v1/commissionRate", query, now_ms, weight=20)

    def parse_fees(self, body: bytes) -> tuple[float, float]:
        """Return (maker, taker) as ratios."""
        rates = parse(body, wire.Commission, "binance_usdm commissionRate")
        return rates.makerCommissionRate, rates.takerCommissionRate

    def setup(self, symbols: Sequence[str], now_ms: int) -> list[HttpRequest]:
        """Return the requests for position mode, leverage and margin mode."""
        configs = [
            self._signer.signed(
                "GET", "/fapi/v1/symbolConfig", f"symbol={symbol}", now_ms, weight=5
            )
            for symbol in symbols
        ]
        return [
            self._signer.signed("GET", "/fapi/v1/positionSide/dual", "", now_ms, weight=30),
            *configs,
        ]

    def parse_setup(self, bodies: Sequence[bytes]) -> AccountSetup:
        """Return the settings; ExchangeError on nonsense."""
        return answers.setup(bodies)

    def set_leverage(self, symbol: str, leverage: int, now_ms: int) -> HttpRequest:
        """Return the request that sets a symbol's leverage."""
        query = f"symbol={symbol}&leverage={leverage}"
        return self._signer.signed("POST", "/fapi/v1/leverage", query, now_ms)

    def set_margin_mode(self, symbol: str, mode: str, now_ms: int) -> HttpRequest | None:
        """Return the request that sets a symbol's margin mode: cross or isolated."""
        query = f"symbol={symbol}&marginType={MARGIN_MODES[mode]}"
        return self._signer.signed("POST", "/fapi/v1/marginType", query, now_ms)

    def set_position_mode(self, mode: str, now_ms: int) -> HttpRequest | None:
        """Return the request that sets the account's position mode: one_way or hedge."""
        query = f"dualSidePosition={'true' if mode == 'hedge' else 'false'}"
        return self._signer.signed("POST", "/fapi/v1/positionSide/dual", query, now_ms)

    def parse_set(self, status: int, body: bytes) -> None:
        """Accept the answer to a setting; Rejected unless it is so now."""
        answers.done(status, body)

    def key_facts(self, now_ms: int) -> HttpRequest | None:
        """Return the request for the key's permissions; None where the network has none."""
        base = self._urls.get("sapi")
        if base is None and self.network in ("sim", "custom"):
            base = self._urls["rest"]
        if base is None:
            return None
        return self._signer.signed("GET", "/sapi/v1/account/apiRestrictions", "", now_ms, base=base)

    def parse_key_facts(self, body: bytes) -> KeyFacts:
        """Return what the exchange says of the key."""
        return answers.key_facts(body)
