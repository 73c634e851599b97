"""The checker: what each mistake is called, where it is shown, and what the user is told to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.lang import check as checking
from runner.lang import tree, types
from runner.lang.check import Want
from runner.lang.diagnostics import Mark, Text
from runner.lang.functions import FUNCTIONS
from runner.lang.scope import MarketScope, Scope, pegs
from tests.lang.material import SCOPE, findings, tree_of


@pytest.mark.parametrize(
    ("source", "code", "start", "end", "message", "told"),
    [
        ("gap(bin.book.bid, byb.book.askk)", "E0304", 27, 31, "`byb.book` has no field `askk`",
         "did you mean `ask`?"),
        ("ema(bin.mid, 20)", "E0313", 13, 15, "`ema` needs a window, found number",
         "write `20s` or `20bars`"),
        ("bin.bid - 15bps", "E0306", 0, 15, "cannot subtract ratio from price in USDT/BTC",
         "to move a price by a ratio, multiply: `bin.bid * (1 - ...)`"),
        ("bin.bid - byb.ask > 15bps", "E0306", 0, 25,
         "cannot compare price in USDT/BTC with ratio",
         "to compare two markets as a ratio use `gap(a, b)`, which is a/b - 1"),
        ("gap(bin.bid, byb.ask) > 15", "E0309", 24, 26, "a ratio compared with a plain number",
         "write `15bps` or `15%`"),
        ("bni.bid > 0", "E0304", 0, 3, "nothing is named `bni`", "did you mean `bin`?"),
        ("profit > 0", "E0304", 0, 6, "nothing is named `profit`",
         "did you mean `params.profit`?"),
        ("params.clp > 0", "E0304", 7, 10, "no param is named `clp`", "did you mean `clip`?"),
        ("position.bni.qty", "E0304", 9, 12, "no market is named `bni`", "did you mean `bin`?"),
        ("byb.trades.last", "E0304", 4, 10, "market `byb` has no stream `trades`",
         "add it: streams: {trades: {max_age: ...}}"),
        ("bin.spread", "E0304", 4, 10, "`bin` has no field `spread`",
         "did you mean `book.spread`?"),
        ("bin.bid.x", "E0304", 8, 9, "`bin.bid` is a value, it has no fields", ""),
        ("bin.book", "E0305", 0, 8, "`bin.book` is not a value", "a stream"),
        ("bin.bid + bin.book", "E0305", 10, 18, "`bin.book` is not a value", "a stream"),
        ("bin", "E0305", 0, 3, "`bin` is not a value", ""),
        ("bin.bid > 500 USD", "E0303", 14, 17, "`USD` is no currency of this file",
         "did you mean `USDT`?"),
        ("1 / 0", "E0307", 4, 5, "division by zero", ""),
        ('params.mood == "clam"', "E0308", 15, 21, '"clam" is not one of its values',
         "did you mean `calm`?"),
        ("bin.bid > 0 and byb.bid", "E0310", 16, 23,
         "`and` needs a condition, found price in USDT/BTC", "compare it with something: `x > 0`"),
        ("gapp(1, 2)", "E0311", 0, 4, "no function is named `gapp`", "did you mean `gap`?"),
        ("gap(1)", "E0312", 0, 6, "`gap` takes 2 arguments, found 1", ""),
        ("min(1)", "E0312", 0, 6, "`min` takes at least 2 arguments, found 1", ""),
        ("ema(bin.mid, 2 * 20s)", "E0314", 13, 20, "the window of `ema` must be constant", ""),
        ("ema(byb.mid, 20bars)", "E0313", 13, 19,
         "a window of bars needs one stream of bars: no market here has bars", ""),
        ("sma(bin.mid, 1ms)", "E0313", 13, 16, "the window of `sma` must be from 10ms to 400d", ""),
        ("fill_price(bin.book, buy, 5 ETH)", "E0306", 26, 31,
         "the size to take is an amount of BTC or of USDT, found amount in ETH", ""),
        ("fill_price(bin.trades, buy, 5 BTC)", "E0316", 11, 21,
         "`fill_price` needs a book, found `bin.trades`", ""),
        ("age(bin.mid) > 1s", "E0316", 4, 11,
         "`age` needs a stream such as `bin.book`, found price in USDT/BTC", ""),
        ("bin.funding.yearlyy", "E0304", 12, 19, "`bin.funding` has no field `yearlyy`",
         "did you mean `yearly`?"),
        ("carry_cost(bin.book, sell, 8h)", "E0316", 11, 19,
         "`carry_cost` needs the name of a market", "one of: bin, byb, eth"),
        ("carry_cost(byb, sell, 8h)", "E0304", 11, 14, "market `byb` has no stream `funding`", ""),
        ("carry_cost(bin, sell, 3)", "E0306", 0, 24,
         "`carry_cost` needs a duration such as `8h`, found number", ""),
        ("min(bin.bid, 15bps)", "E0306", 0, 19,
         "`min` needs values of one unit, found price in USDT/BTC and ratio", ""),
        ("bin.book.imbalance > 15bps", "E0306", 0, 26, "cannot compare number with ratio",
         "a number becomes a ratio by `* 100%`, a ratio a number by `/ 100%`"),
        ("1 if bin.bid else 2", "E0310", 5, 12,
         "`if` needs a condition, found price in USDT/BTC", ""),
        ("-true", "E0306", 1, 5, "`-` needs a number, found bool", ""),
        ("account.binance.position.BTCUSD", "E0304", 25, 31,
         "no market of `binance` has the symbol `BTCUSD`", "did you mean `BTCUSDT`?"),
        ("account.binance.position", "E0305", 0, 24, "`account.binance.position` is not a value",
         "of which symbol?"),
        ("rsi(bin.bars.close, 14m)", "E0313", 20, 23,
         "`rsi` needs a count of bars such as `14bars`", ""),
        ("rate(bin.bars.close, 3bars)", "E0313", 21, 26,
         "`rate` needs a duration such as `20s`", ""),
        ("held(bin.bid, 3s)", "E0310", 5, 12,
         "`held` needs a condition, found price in USDT/BTC", ""),
        ('between_utc("8:00", "16:00")', "E0316", 12, 18, "`between_utc` needs a time of day",
         'written out, in UTC: `"08:00"` or `"08:00:30"`'),
        ('between_utc("08:00", "08:00")', "E0316", 0, 29,
         "`between_utc` from 08:00 to 08:00 is no time at all", "never true"),
        ('weekday() == "sunday"', "E0308", 13, 21, '"sunday" is not one of its values', ""),
        ("crosses_above(bin.mid, 15bps)", "E0306", 0, 29,
         "`crosses_above` needs values of one unit, found price in USDT/BTC and ratio", ""),
        ("held(changed(bin.bid), 3s)", "E0316", 5, 21,
         "`changed` is true at an instant only, `held` would not see it", ""),
        ("risk_size(5 BTC, bin.ask, byb.bid)", "E0306", 0, 34, "the loss must be in the quote of "
         "the price, found amount in BTC and price in USDT/BTC", ""),
        ("vol_target(5 USDT, 3, 1h)", "E0306", 0, 25, "a price is needed, found number", ""),
        ("kelly(500 USDT, 2)", "E0306", 0, 18, "`kelly` needs numbers, found amount in USDT", ""),
        ("bin.mid if true else 1s", "E0306", 0, 23,
         "both sides of `if` need one type, found price in USDT/BTC and duration", ""),
    ],
)  # fmt: skip
def test_a_mistake_gives_one_diagnostic(
    source: str, code: str, start: int, end: int, message: str, told: str
) -> None:
    expr, found = findings(source)
    assert expr is None and len(found) == 1, found
    (only,) = found
    assert (only.code, only.message) == (code, message)
    assert only.mark == Mark(1, start + 1, end + 1)
    assert told == "" or told in (only.label, *only.help)


def test_two_mistakes_in_one_expression_are_two_diagnostics() -> None:
    _, found = findings("bin.bidd > 0 and gap(bin.bid, byb.ask) > 15")
    assert [d.code for d in found] == ["E0304", "E0309"]


def test_a_signal_in_error_gives_no_second_diagnostic() -> None:
    scope = replace(SCOPE, signals={"bad": None})
    expr, found = findings("bad > 15bps and bad + bin.mid > 0", scope, checking.CONDITION)
    assert not found and tree.is_broken(expr)


def test_a_market_without_known_currencies_fits_what_stands_beside_it() -> None:
    """Its exchange did not resolve: that was said, and nothing else is."""
    lost = MarketScope("byb", "bybti", None, None, frozenset({"book"}))
    scope = replace(SCOPE, markets={**SCOPE.markets, "byb": lost})
    expr, found = findings("gap(bin.bid, byb.ask)", scope)
    assert expr is not None and expr.type.is_ratio and not found
    assert findings("bin.bid - byb.ask", scope)[1] == []


def test_this_belongs_to_rules_and_entered_to_until() -> None:
    assert findings("this.cost > 0", SCOPE.at(None))[1][0].code == "E0304"
    assert SCOPE.this is not None
    entering = SCOPE.at(replace(SCOPE.this, holding=False))
    assert findings("this.cost > 0", entering)[1] == []
    for source in ("this.exit_return > 0", "entered(bin.mid) > bin.mid"):
        (only,) = findings(source, entering)[1]
        assert (only.code, only.label) == ("E0304", "allowed in `until`")
        assert findings(source)[1] == []


def test_where_text_and_file_differ_the_whole_scalar_is_marked() -> None:
    folded = Text("bin.bidd > 0", Mark(7, 9, 30), exact=False)
    found = checking.Findings()
    assert checking.check(folded, SCOPE, checking.ANY, found, "x") is None
    assert [d.mark for d in found] == [Mark(7, 9, 30)]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("500 USDT / bin.ask", "amount in BTC"),
        ("bin.bid / byb.ask", "ratio"),
        ("bin.mid / eth.mid", "price in ETH/BTC"),
        ("stdev(bin.mid / eth.mid, 2h) / sma(bin.mid / eth.mid, 2h)", "ratio"),
        ("15bps / 5bps", "number"),
        ("2 * 15bps", "ratio"),
        ("1 - 15bps", "ratio"),
        ("bin.bid * (1 - 15bps)", "price in USDT/BTC"),
        ("20% * account.binance.equity", "amount in USDT"),
        ("bin.funding.rate * 21d / 365d", "ratio"),
        ("(bin.bid - byb.ask) / 1s", "speed in USDT/BTC/s"),
        ("10s", "duration"),
        ("sqrt(15bps * 15bps)", "ratio"),
        ("beta(bin.mid, byb.mid, 1h)", "number"),
        ("beta(bin.mid, eth.mid, 1h) * eth.mid", "price in USDT/BTC"),
        ("params.clip * (2 if bin.bid > 0 else 1)", "amount in USDT"),
        ("clamp(gap(bin.bid, byb.bid), -1, 1)", "ratio"),
        ("default(bin.bid > 0, false)", "bool"),
        ("min(vol(bin.mid, 1m), 0)", "ratio"),
        ("-position.bin.qty", "amount in BTC"),
        ("entered(bin.mid) - bin.mid", "price in USDT/BTC"),
        ("ema(bin.bars.close, params.count)", "price in USDT/BTC"),
    ],
)
def test_arithmetic_of_types(source: str, name: str) -> None:
    assert str(tree_of(source).type) == name


def test_pegged_currencies_are_one() -> None:
    usdc = MarketScope("byb", "bybit", "BTC", "USDC", frozenset({"book"}))
    apart = Scope(markets={**SCOPE.markets, "byb": usdc})
    assert findings("bin.bid - byb.bid", apart)[1][0].code == "E0306"
    together = replace(apart, pegs=pegs(["USDT", "USDC"]))
    assert findings("bin.bid - byb.bid", together)[1] == []
    assert pegs([]) == {}


@pytest.mark.parametrize(
    ("source", "want", "code"),
    [
        ("bin.bid", checking.CONDITION, "E0310"),
        ("15bps", checking.DURATION, "E0316"),
        ("0", checking.RATIO, None),
        ("5", checking.RATIO, "E0316"),
        ("40ms", checking.DURATION, None),
        ("5 BTC", Want((types.amount("USDT"), types.amount("BTC")), "a size"), None),
        ("params.mood", checking.TEXT, None),
    ],
)
def test_the_place_fixes_the_type(source: str, want: Want, code: str | None) -> None:
    assert [d.code for d in findings(source, SCOPE, want)[1]] == ([code] if code else [])


def test_signals_that_double_each_other_are_bounded() -> None:
    """2^n nodes written out would take the checker, or the generator, for ever."""
    scope, source = SCOPE, "bin.mid"
    trees: dict[str, tree.Expr | None] = {}
    for level in range(40):
        expr, found = findings(source, scope)
        if expr is None:
            assert [d.code for d in found] == ["E0302"]
            return
        trees[f"s{level}"] = expr
        scope, source = replace(scope, signals=dict(trees)), f"s{level} + s{level}"
    raise AssertionError("no bound")


def test_conditions_inside_conditions_are_bounded() -> None:
    """Each level is written twice into generated code, once for each truth."""
    source = "bin.book.imbalance"
    for _ in range(25):
        source = f"(1 if {source} > 0 else 2)"
    assert [d.code for d in findings(source)[1]] == ["E0302"]


def test_every_function_has_words_and_its_own_name() -> None:
    for name, function in FUNCTIONS.items():
        assert function.signature.startswith(f"{name}(") and function.doc


def test_units_are_exact() -> None:
    for source, value in (("15bps", 0.0015), ("0.1%", 0.001), ("40ms", 0.04), ("1_000", 1000.0)):
        node = tree_of(source)
        assert isinstance(node, tree.Number) and node.value == value


def test_equal_expressions_have_equal_keys() -> None:
    scope = replace(SCOPE, signals={"g": tree_of("gap(bin.bid,byb.ask)")})
    assert tree.key(tree_of("g", scope)) == tree.key(tree_of("gap( bin.book.bid, byb.ask )"))
    assert tree.streams_of(tree_of("g", scope)) == ("bin.book", "byb.book")
