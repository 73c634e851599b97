"""Ledgers: the money equals an independent calculation in Decimal."""

from __future__ import annotations

from decimal import Decimal
from math import isnan, nan

from hypothesis import given
from hypothesis import strategies as st

from runner.engine.events import Fill
from runner.engine.ledger import Ledger, Ledgers
from runner.market.instruments import Side
from tests.engine.stage import BIN, SPOT

MOVES = st.lists(
    st.tuples(st.sampled_from(list(Side)), st.integers(1, 50), st.integers(500_000, 700_000)),
    max_size=40,
)


@given(MOVES)
def test_realised_and_open_equal_the_sum_of_all_cash_flows(
    moves: list[tuple[Side, int, int]],
) -> None:
    ledger, cash, lots = Ledger("r", "bin"), Decimal(0), 0
    for side, count, ticks in moves:
        price = Decimal(ticks) / 10
        ledger.move(side, count, float(price), 0.001)
        cash -= side.sign * count * price * Decimal("0.001")
        lots += side.sign * count
    last = Decimal(60_000)
    expected = cash + lots * last * Decimal("0.001")
    assert ledger.lots == lots
    assert abs(ledger.realised + ledger.unrealised(60_000.0, 0.001) - float(expected)) < 1e-8
    assert isnan(ledger.entry) is (lots == 0)


def fill(**changes: object) -> Fill:
    plain = {"cid": "c", "trade_id": "1", "lots": 10, "price": 60_000.0}
    return Fill(**(plain | changes))  # type: ignore[arg-type]


def booked(price: float = nan, **changes: object) -> Ledger:
    ledgers = Ledgers({"bin": BIN, "spot": SPOT})
    return ledgers.book("r", "bin", Side.BUY, fill(**changes), lambda asset, quote: price)


def test_fees_are_taken_as_told_valued_or_kept_apart_never_dropped() -> None:
    assert booked(fee=0.3, fee_asset="USDT").fees == 0.3
    assert booked(fee=0.00001, fee_asset="BTC").fees == 0.00001 * 60_000
    assert booked(600.0, fee=0.001, fee_asset="BNB").fees == 0.6
    apart = booked(fee=0.001, fee_asset="BNB")
    assert (apart.fees, apart.other_fees) == (0.0, {"BNB": 0.001})


def test_a_fee_not_told_is_the_accounts_rate() -> None:
    assert booked(fee=None).fees == 600.0 * 0.0005
    assert booked(fee=None, maker=True).fees == 600.0 * 0.0002


def test_funding_is_shared_by_what_each_rule_holds() -> None:
    ledgers = Ledgers({"bin": BIN})
    ledgers.of("a", "bin").move(Side.BUY, 3, 1.0, 0.001)
    ledgers.of("b", "bin").move(Side.BUY, 1, 1.0, 0.001)
    ledgers.of("c", "bin")
    ledgers.fund("bin", -4.0)
    assert [ledgers.of(r, "bin").funding for r in "abc"] == [-3.0, -1.0, 0.0]


def test_what_the_exchange_should_show_is_ours_and_known_others() -> None:
    ledgers = Ledgers({"bin": BIN})
    ledgers.of("a", "bin").move(Side.SELL, 3, 1.0, 0.001)
    ledgers.external["bin"] = 5
    assert (ledgers.lots("bin"), ledgers.expected("bin")) == (-3, 2)
