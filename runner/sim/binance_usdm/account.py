"""Account, positions and settings of Binance USD-M."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.sim.account import Position
from runner.sim.binance_errors import ApiError, missing
from runner.sim.binance_public import Params, instrument_of
from runner.sim.catalogue import money_text
from runner.sim.faults import Faults
from runner.sim.venue import Venue


def _signed(money: int) -> str:
    return money_text(money)


class UsdmAccount:
    """The account handlers over one venue."""

    def __init__(
        self, venue: Venue, faults: Faults, configured: Callable[[str, int], None]
    ) -> None:
        self.venue = venue
        self._faults = faults
        self._configured = configured

    def _fresh(self) -> None:
        for symbol in self.venue.instruments:
            self.venue.refresh(symbol)

    def account(self, params: Params, version: int = 3) -> Any:
        """GET account; version 3 lists only positions that are, version 2 all."""
        self._fresh()
        account = self.venue.account
        initial, positions = account.margin(), account.position_margin()
        out: dict[str, Any] = {
            "totalInitialMargin": _signed(initial),
            "totalMaintMargin": _signed(positions // 5),
            "totalWalletBalance": _signed(account.wallet),
            "totalUnrealizedProfit": _signed(account.unrealised()),
            "totalMarginBalance": _signed(account.equity()),
            "totalPositionInitialMargin": _signed(positions),
            "totalOpenOrderInitialMargin": _signed(initial - positions),
            "totalCrossWalletBalance": _signed(account.wallet),
            "totalCrossUnPnl": _signed(account.unrealised()),
            "availableBalance": _signed(account.available()),
            "maxWithdrawAmount": _signed(account.available()),
            "assets": [self._asset()],
            "positions": [self._account_position(p) for p in self._positions(version == 3)],
        }
        if version == 2:
            out |= {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True,
                    "updateTime": 0, "multiAssetsMargin": False, "tradeGroupId": -1}  # fmt: skip
        return out

    def _asset(self) -> dict[str, Any]:
        account = self.venue.account
        initial, positions = account.margin(), account.position_margin()
        return {
            "asset": "USDT",
            "walletBalance": _signed(account.wallet),
            "unrealizedProfit": _signed(account.unrealised()),
            "marginBalance": _signed(account.equity()),
            "maintMargin": _signed(positions // 5),
            "initialMargin": _signed(initial),
            "positionInitialMargin": _signed(positions),
            "openOrderInitialMargin": _signed(initial - positions),
            "crossWalletBalance": _signed(account.wallet),
            "crossUnPnl": _signed(account.unrealised()),
            "availableBalance": _signed(account.available()),
            "maxWithdrawAmount": _signed(account.available()),
            "marginAvailable": True,
            "updateTime": self.venue.now_ms(),
        }

    def _positions(self, busy: bool) -> list[Position]:
        """Return positions; `busy`: only those with lots or working orders."""
        every = self.venue.account.positions.values()
        working = {order.instrument.symbol for order in self.venue.open.values()}
        return [p for p in every if not busy or p.lots or p.instrument.symbol in working]

    def _account_position(self, position: Position) -> dict[str, Any]:
        mark = self.venue.mark(position.instrument.symbol)
        return {
            "symbol": position.instrument.symbol,
            "positionSide": "BOTH",
            "positionAmt": position.instrument.qty(position.lots),
            "unrealizedProfit": _signed(position.unrealised(mark)),
            "isolatedMargin": "0",
            "notional": _signed(position.notional(mark)),
            "isolatedWallet": "0",
            "initialMargin": _signed(position.worst_margin(mark)),
            "maintMargin": _signed(position.position_margin(mark) // 5),
            "updateTime": position.updated_ms,
            "leverage": str(position.leverage),
            "entryPrice": position.entry(),
            "isolated": position.isolated,
        }

    def balance(self, params: Params) -> Any:
        """GET balance."""
        self._fresh()
        account = self.venue.account
        return [
            {"accountAlias": "SgsR", "asset": "USDT", "balance": _signed(account.wallet),
             "crossWalletBalance": _signed(account.wallet),
             "crossUnPnl": _signed(account.unrealised()),
             "availableBalance": _signed(account.available()),
             "maxWithdrawAmount": _signed(account.available()), "marginAvailable": True,
             "updateTime": self.venue.now_ms()}
        ]  # fmt: skip

    def position_risk(self, params: Params, version: int = 3) -> Any:
        """GET positionRisk; version 3 lists only symbols with a position or orders."""
        self._fresh()
        symbol = instrument_of(self.venue, params).symbol if params.get("symbol") else None
        chosen = self._positions(version == 3)
        return [self._risk(p) for p in chosen if symbol in (None, p.instrument.symbol)]

    def _risk(self, position: Position) -> dict[str, Any]:
        instrument = position.instrument
        mark = self.venue.mark(instrument.symbol)
        margin = position.position_margin(mark)
        worst = position.worst_margin(mark)
        return {
            "symbol": instrument.symbol,
            "positionSide": "BOTH",
            "positionAmt": instrument.qty(position.lots),
            "entryPrice": position.entry(),
            "breakEvenPrice": position.entry(),
            "markPrice": instrument.price(mark),
            "unRealizedProfit": _signed(position.unrealised(mark)),
            "liquidationPrice": "0",
            "isolatedMargin": "0",
            "notional": _signed(position.notional(mark)),
            "marginAsset": "USDT",
            "isolatedWallet": "0",
            "initialMargin": _signed(worst),
            "maintMargin": _signed(margin // 5),
            "positionInitialMargin": _signed(margin),
            "openOrderInitialMargin": _signed(worst - margin),
            "adl": 0,
            "bidNotional": "0",
            "askNotional": "0",
            "leverage": str(position.leverage),
            "marginType": "isolated" if position.isolated else "cross",
            "updateTime": position.updated_ms,
        }

    def symbol_config(self, params: Params) -> Any:
        """GET symbolConfig: leverage and margin type of each symbol."""
        symbol = instrument_of(self.venue, params).symbol if params.get("symbol") else None
        return [
            {"symbol": name, "marginType": "ISOLATED" if p.isolated else "CROSSED",
             "isAutoAddMargin": False, "leverage": p.leverage,
             "maxNotionalValue": "1000000000"}
            for name, p in self.venue.account.positions.items()
            if symbol in (None, name)
        ]  # fmt: skip

    def leverage(self, params: Params) -> Any:
        """POST leverage; -4028 beyond the symbol's bound."""
        instrument = instrument_of(self.venue, params)
        text = params.get("leverage", "")
        if not text:
            raise missing("leverage")
        if not text.isdecimal() or not 1 <= int(text) <= instrument.max_leverage:
            raise ApiError(-4028, f"Leverage {text} is not valid")
        self.venue.account.positions[instrument.symbol].leverage = int(text)
        self._configured(instrument.symbol, int(text))
        return {"leverage": int(text), "maxNotionalValue": "1000000", "symbol": instrument.symbol}

    def margin_type(self, params: Params) -> Any:
        """POST marginType; -4046 when it is so already, -4048 with a position."""
        position = self.venue.account.positions[instrument_of(self.venue, params).symbol]
        kind = params.get("marginType")
        if kind not in ("ISOLATED", "CROSSED"):
            raise missing("marginType")
        if position.isolated == (kind == "ISOLATED"):
            raise ApiError(-4046, "No need to change margin type.")
        if position.lots:
            raise ApiError(-4048, "Margin type cannot be changed if there exists position.")
        position.isolated = kind == "ISOLATED"
        return {"code": 200, "msg": "success"}

    def dual(self, params: Params) -> Any:
        """GET positionSide/dual: this account is in one-way mode."""
        return {"dualSidePosition": False}

    def set_dual(self, params: Params) -> Any:
        """POST positionSide/dual: -4059 for one-way, hedge mode is not simulated (-4067)."""
        wanted = params.get("dualSidePosition")
        if wanted not in ("true", "false"):
            raise missing("dualSidePosition")
        if wanted == "false":
            raise ApiError(-4059, "No need to change position side.")
        raise ApiError(-4067, "Position side cannot be changed if there exists open orders.")

    def multi_assets(self, params: Params) -> Any:
        """GET multiAssetsMargin."""
        return {"multiAssetsMargin": False}

    def commission(self, params: Params) -> Any:
        """GET commissionRate."""
        rules = self.venue.rules
        return {"symbol": instrument_of(self.venue, params).symbol,
                "makerCommissionRate": f"{rules.maker_ppm / 1e6:.6f}",
                "takerCommissionRate": f"{rules.taker_ppm / 1e6:.6f}"}  # fmt: skip

    def brackets(self, params: Params) -> Any:
        """GET leverageBracket, of one symbol or of all."""
        chosen = list(self.venue.instruments.values())
        if params.get("symbol"):
            chosen = [instrument_of(self.venue, params)]
        return [
            {"symbol": i.symbol, "notionalCoef": 1.0, "brackets": [
                {"bracket": 1, "initialLeverage": i.max_leverage, "notionalCap": 50_000_000,
                 "notionalFloor": 0, "maintMarginRatio": 0.004, "cum": 0.0}]}
            for i in chosen
        ]  # fmt: skip

    def restrictions(self, params: Params) -> Any:
        """GET apiRestrictions; the fault `key_rights` changes what it says."""
        rights: dict[str, Any] = {
            "ipRestrict": True,
            "createTime": 1_700_000_000_000,
            "enableReading": True,
            "enableWithdrawals": False,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": True,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": False,
            "enableSpotAndMarginTrading": False,
            "enablePortfolioMarginTrading": False,
        }
        fault = self._faults.hit("key_rights", self.venue.name, "GET apiRestrictions")
        return rights | (fault.spec.args if fault else {})
