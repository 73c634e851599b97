"""Account, positions and settings of Bybit: wallet, position list, fees, leverage, key rights."""

from __future__ import annotations

from typing import Any

from runner.sim.account import Position
from runner.sim.bybit.errors import RetError, bad_parameter
from runner.sim.bybit.market import Params, instrument_of, need_linear
from runner.sim.catalogue import money_text
from runner.sim.faults import Faults
from runner.sim.venue import Venue


def wallet_row(venue: Venue) -> dict[str, Any]:
    """Write the unified account."""
    account = venue.account
    equity, wallet = money_text(account.equity()), money_text(account.wallet)
    initial, held = account.margin(), account.position_margin()
    return {
        "accountType": "UNIFIED",
        "accountLTV": "0",
        "accountIMRate": "0",
        "accountMMRate": "0",
        "totalEquity": equity,
        "totalWalletBalance": wallet,
        "totalMarginBalance": equity,
        "totalAvailableBalance": money_text(account.available()),
        "totalPerpUPL": money_text(account.unrealised()),
        "totalInitialMargin": money_text(initial),
        "totalMaintenanceMargin": money_text(held // 5),
        "coin": [
            {"coin": "USDT", "equity": equity, "usdValue": equity, "walletBalance": wallet,
             "free": "", "locked": "0", "spotHedgingQty": "0", "borrowAmount": "0",
             "availableToBorrow": "", "availableToWithdraw": "", "accruedInterest": "0",
             "totalOrderIM": money_text(initial - held), "totalPositionIM": money_text(held),
             "totalPositionMM": money_text(held // 5),
             "unrealisedPnl": money_text(account.unrealised()),
             "cumRealisedPnl": money_text(account.wallet - venue.terms.balance),
             "bonus": "0", "marginCollateral": True, "collateralSwitch": True}
        ],
    }  # fmt: skip


def position_row(venue: Venue, position: Position) -> dict[str, Any]:
    """Write a position; a flat one has the side "" and the size "0"."""
    instrument = position.instrument
    mark = venue.mark(instrument.symbol)
    held = position.position_margin(mark)
    side = "" if position.lots == 0 else "Buy" if position.lots > 0 else "Sell"
    return {
        "category": "linear",
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": "2000000",
        "symbol": instrument.symbol,
        "side": side,
        "size": instrument.qty(abs(position.lots)) if position.lots else "0",
        "avgPrice": position.entry(),
        "entryPrice": position.entry(),
        "positionValue": money_text(abs(position.notional(mark))) if position.lots else "",
        "tradeMode": 0,
        "autoAddMargin": 0,
        "positionStatus": "Normal",
        "leverage": str(position.leverage),
        "markPrice": instrument.price(mark),
        "liqPrice": "",
        "bustPrice": "",
        "positionIM": money_text(held),
        "positionMM": money_text(held // 5),
        "positionBalance": "0",
        "tpslMode": "Full",
        "takeProfit": "",
        "stopLoss": "",
        "trailingStop": "0",
        "sessionAvgPrice": "",
        "unrealisedPnl": money_text(position.unrealised(mark)),
        "curRealisedPnl": money_text(position.realised),
        "cumRealisedPnl": money_text(position.realised),
        "adlRankIndicator": 0,
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "createdTime": str(position.updated_ms),
        "updatedTime": str(position.updated_ms),
        "seq": venue.books[instrument.symbol].u,
    }


class BybitAccount:
    """The account handlers over one venue."""

    def __init__(self, venue: Venue, faults: Faults) -> None:
        self.venue = venue
        self._faults = faults
        self._margin_mode = "REGULAR_MARGIN"

    def _fresh(self) -> None:
        for symbol in self.venue.instruments:
            self.venue.refresh(symbol)

    def wallet(self, params: Params) -> Any:
        """account/wallet-balance of the unified account."""
        if params.get("accountType") != "UNIFIED":
            raise bad_parameter("accountType only supports UNIFIED.")
        self._fresh()
        return {"list": [wallet_row(self.venue)]}

    def positions(self, params: Params) -> Any:
        """position/list: one symbol, flat or not; or all that are not flat."""
        need_linear(params)
        self._fresh()
        if params.get("symbol"):
            chosen = [self.venue.account.positions[instrument_of(self.venue, params).symbol]]
        elif params.get("settleCoin"):
            chosen = [p for p in self.venue.account.positions.values() if p.lots]
        else:
            raise bad_parameter("symbol or settleCoin is required")
        rows = [position_row(self.venue, position) for position in chosen]
        return {"category": "linear", "list": rows, "nextPageCursor": ""}

    def fee_rate(self, params: Params) -> Any:
        """account/fee-rate."""
        need_linear(params)
        rules = self.venue.rules
        chosen = list(self.venue.instruments)
        if params.get("symbol"):
            chosen = [instrument_of(self.venue, params).symbol]
        rows = [
            {"symbol": symbol, "baseCoin": "", "takerFeeRate": f"{rules.taker_ppm / 1e6:.5f}",
             "makerFeeRate": f"{rules.maker_ppm / 1e6:.4f}"}
            for symbol in chosen
        ]  # fmt: skip
        return {"category": "linear", "list": rows}

    def info(self, params: Params) -> Any:
        """account/info."""
        return {
            "marginMode": self._margin_mode,
            "updatedTime": str(self.venue.now_ms()),
            "unifiedMarginStatus": 6,
            "dcpStatus": "OFF",
            "timeWindow": 10,
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
        }

    def query_api(self, params: Params) -> Any:
        """user/query-api: what the key may do; the fault `key_rights` changes it."""
        rights: dict[str, Any] = {
            "id": "13770661",
            "note": "simulator",
            "apiKey": "",
            "readOnly": 0,
            "secret": "",
            "permissions": {
                "ContractTrade": ["Order", "Position"], "Spot": [], "Wallet": [], "Options": [],
                "Derivatives": ["DerivativesTrade"], "CopyTrading": [], "BlockTrade": [],
                "Exchange": [], "NFT": [], "Affiliate": [], "Earn": [],
            },
            "ips": ["127.0.0.1"],
            "type": 1,
            "deadlineDay": 83,
            "expiredAt": "2099-01-01T00:00:00Z",
            "createdAt": "2024-01-01T00:00:00Z",
            "unified": 0,
            "uta": 1,
            "userID": 24600000,
            "inviterID": 0,
            "vipLevel": "No VIP",
            "mktMakerLevel": "0",
            "affiliateID": 0,
            "rsaPublicKey": "",
            "isMaster": True,
            "parentUid": "0",
            "kycLevel": "LEVEL_1",
            "kycRegion": "",
        }  # fmt: skip
        fault = self._faults.hit("key_rights", self.venue.name, "GET query-api")
        return rights | (fault.spec.args if fault else {})

    def coins(self, params: Params) -> Any:
        """asset/coin/query-info: the coins of the catalogue; nothing can be moved here."""
        names = ["USDT", *(i.base for i in self.venue.instruments.values())]
        wanted = params.get("coin")
        rows = [
            {"name": name, "coin": name, "remainAmount": "0", "chains": []}
            for name in names
            if wanted in (None, "", name)
        ]
        return {"rows": rows}

    def set_leverage(self, params: Params) -> Any:
        """position/set-leverage: 110043 unchanged; both sides alike in one-way mode."""
        need_linear(params)
        instrument = instrument_of(self.venue, params)
        buy, sell = params.get("buyLeverage"), params.get("sellLeverage")
        if buy != sell or not isinstance(buy, str) or not buy.replace(".", "", 1).isdecimal():
            raise bad_parameter("buyLeverage and sellLeverage must be equal strings")
        if not 1 <= float(buy) <= instrument.max_leverage:
            raise RetError(110013, "cannot set leverage due to risk limit")
        position = self.venue.account.positions[instrument.symbol]
        if position.leverage == int(float(buy)):
            raise RetError(110043, "leverage not modified")
        position.leverage = int(float(buy))
        return {}

    def switch_mode(self, params: Params) -> Any:
        """position/switch-mode: this account is in one-way mode (110025), hedge is refused."""
        need_linear(params)
        if str(params.get("mode")) == "0":
            raise RetError(110025, "Position mode is not modified")
        raise RetError(10001, "hedge mode is not simulated")

    def set_margin_mode(self, params: Params) -> Any:
        """account/set-margin-mode."""
        mode = params.get("setMarginMode")
        if mode not in ("ISOLATED_MARGIN", "REGULAR_MARGIN", "PORTFOLIO_MARGIN"):
            raise bad_parameter("setMarginMode invalid")
        self._margin_mode = mode
        return {"reasons": []}
