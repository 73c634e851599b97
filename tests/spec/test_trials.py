"""The `tests:` block: what it means, and every mistake in it with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from runner.engine.commands import OrderType, Purpose, Tif
from runner.engine.limits import Mode
from runner.engine.rule import RuleState
from runner.lang.functions import FIELDS
from runner.market.instruments import Side
from runner.spec import load
from runner.spec.schema import find, root
from runner.spec.trial_expect import RULE_STATES
from runner.spec.trial_feed import NEEDED, SETTABLE
from runner.spec.trial_plan import TickPlan, TrialPlan

ARB = (Path(__file__).parents[2] / "strategies" / "arb.yaml").read_text(encoding="utf-8")
HEAD = ARB[: ARB.index("\ntests:")]


def trial(block: str) -> TrialPlan:
    checked = load(f"{HEAD}\ntests:\n  one:\n{block}")
    assert checked.plan is not None, [(d.code, d.message) for d in checked.findings]
    (only,) = checked.plan.trials
    return only


def mistakes(block: str) -> list[tuple[str, int, int, str]]:
    """Return code, line counted from the test's first, column and message of each finding."""
    text = f"{HEAD}\ntests:\n  one:\n{block}"
    first = HEAD.count("\n") + 4
    found = load(text).findings
    return [(d.code, d.mark.line - first + 1, d.mark.column, d.message) for d in found]


WHOLE = """\
    set: {profit: 8bps}
    starts: "2026-03-01T12:00:00+01:00"
    balance: 2000 USDT
    every: 50ms
    series:
      bin.book.bid: "60_120x4"
      bin.ask: 60_121
      byb.book.bid_qty: "0.5 BTCx2"
    ticks:
      - {t: 2s, byb.book: {bid: 60_000, ask: 60_001}}
      - {t: 1s, byb.book: stale}
    fills: {bin: {after: 5ms, ratio: 50%}, byb: [{reject: 110007}, {lose_reply: true}]}
    expect:
      - {t: 1s, orders: [], rule: {sell_bin_buy_byb: [idle, pending]}, run: active}
      - t: 2s
        orders: [{market: bin, side: sell, qty: 0.008 BTC, price: 60_194.0, reduce_only: false}]
        position: {bin: -0.008 BTC, byb: ["> 0 BTC", "<= 0.008 BTC"]}
        signal: {sell_bin: "< 2bps", basis: missing}
        why: {sell_bin_buy_byb: byb.book stale}
    never:
      net_position: "> 0.002 BTC for 400ms"
      rule: {sell_bin_buy_byb: "entering for 3s"}
"""


def test_all_of_it_is_read() -> None:
    one = trial(WHOLE)
    assert one.sets == {"profit": "8bps"} and one.balance == Decimal(2000)
    assert one.starts_ns == 1_772_362_800 * 10**9
    assert [(s.stream, s.field, s.values.count) for s in one.series] == [
        ("bin.book", "bid", 4),
        ("bin.book", "ask", 1),
        ("byb.book", "bid_qty", 2),
    ]
    assert [(t.t, t.key, t.state, dict(t.values)) for t in one.ticks] == [
        (10**9, "byb.book", "stale", {}),
        (2 * 10**9, "byb.book", "", {"bid": 60_000.0, "ask": 60_001.0}),
    ]
    bin_, byb = one.fills["bin"], one.fills["byb"]
    assert not isinstance(bin_, tuple) and isinstance(byb, tuple)
    assert (bin_.after_ns, bin_.ratio) == (5_000_000, 0.5)
    assert [(f.reject, f.lose_reply) for f in byb] == [("110007", False), ("", True)]
    early, late = one.expect
    assert early.orders == () and early.rules == {"sell_bin_buy_byb": ("idle", "pending")}
    assert late.orders is not None and late.orders[0].qty == Decimal("0.008")
    assert late.orders[0].price == 60_194 and late.orders[0].reduce_only is False
    assert [(b.op, b.value) for b in late.positions["byb"]] == [(">", 0.0), ("<=", 0.008)]
    assert late.positions["bin"][0].value == -0.008
    assert (late.signals["sell_bin"][0].op, late.signals["sell_bin"][0].value) == ("<", 2e-4)
    assert late.signals["basis"][0].op == "missing"
    net, rule = one.never
    assert (net.name, net.bound.op, net.bound.value, net.for_ns) == (
        "BTC", ">", 0.002, 400_000_000,
    )  # fmt: skip
    assert (rule.kind, rule.bound.value, rule.for_ns) == ("rule", "entering", 3 * 10**9)
    assert one.until_ns == 2 * 10**9


TICK = "    ticks: [{t: 0s, bin.book: {bid: 60_000, ask: 60_001}}]\n"
EXPECT = "    expect: [{t: 1s, orders: []}]\n"


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (TICK, ("E0203", 0, 3, "this test expects nothing")),
        (
            EXPECT + "    series: {bin.book.bid: 60_000, bin.book.ask: 60_001}\n",
            ("E0203", 2, 5, "a test with `series` needs `every`, the step of its values"),
        ),
        (EXPECT + "    seris: {}\n", ("E0201", 2, 5, "`one` has no key `seris`")),
        (
            EXPECT + "    set: {profitt: 5bps}\n",
            ("E0204", 2, 11, "no param is named `profitt`"),
        ),
        (
            EXPECT + "    set: {profit: 5s}\n",
            ("E0316", 2, 19, "ratio is needed here, found duration"),
        ),
        (
            EXPECT + "    set: {profit: 90bps}\n",
            ("E0203", 2, 19, "the value of `profit` is outside of its range"),
        ),
        (
            EXPECT + "    ticks: [{t: 0s, bim.book: {bid: 1, ask: 2}}]\n",
            ("E0204", 2, 21, "no market is named `bim`"),
        ),
        (
            EXPECT + "    ticks: [{t: 0s, bin.mark: {price: 1}}]\n",
            ("E0304", 2, 21, "market `bin` has no stream `mark`"),
        ),
        (
            EXPECT + "    ticks: [{t: 0s, bin.book: {bidd: 1, ask: 2, bid: 1}}]\n",
            ("E0304", 2, 32, "`bin.book` has no field `bidd`"),
        ),
        (
            EXPECT + "    ticks: [{t: 0s, bin.book: {mid: 1, ask: 2, bid: 1}}]\n",
            ("E0304", 2, 32, "`mid` follows from what a test can set"),
        ),
        (
            EXPECT + "    ticks: [{t: 0s, bin.book: {bid: 1}}]\n",
            ("E0203", 2, 21, "the first update of `bin.book` lacks `ask`"),
        ),
        (
            EXPECT + "    ticks: [{t: 0s, bin.book: {bid: 1bps, ask: 2}}]\n",
            ("E0303", 2, 37, "`bps` is no unit of this field"),
        ),
        (
            EXPECT + "    ticks: [{t: 0s, bin.book: {bids: [[1]], ask: 2}}]\n",
            ("E0203", 2, 39, "a level is [price, amount]"),
        ),
        (
            EXPECT + "    ticks: [{t: 0s, bin.book: late}]\n",
            ("E0203", 2, 31, "`late` is not a value of `book`"),
        ),
        (EXPECT + "    ticks: [{t: 0s}]\n", ("E0203", 2, 13, "a tick updates something")),
        (
            EXPECT + "    ticks: [{bin.book: {bid: 1, ask: 2}}]\n",
            ("E0203", 2, 13, "`ticks` lacks `t`"),
        ),
        (
            EXPECT + '    every: 1s\n    series: {bin.bid: "1x2 1x_", bin.ask: 2}\n',
            ("E0302", 3, 28, "`1x_` is no value of a series"),
        ),
        (
            EXPECT + "    fills: {byy: {after: 5ms}}\n",
            ("E0204", 2, 13, "no market is named `byy`"),
        ),
        (
            EXPECT + "    fills: {byb: {after: 5}}\n",
            ("E0316", 2, 26, "a duration is needed here, found number"),
        ),
        (
            EXPECT + "    fills: {byb: {ratio: 1.5}}\n",
            ("E0203", 2, 26, "`ratio` lies between 0 and 1"),
        ),
        (
            "    expect: [{t: 1s, rule: {sell: idle}}]\n",
            ("E0204", 1, 29, "no rule is named `sell`"),
        ),
        (
            "    expect: [{t: 1s, rule: {sell_bin_buy_byb: activ}}]\n",
            ("E0203", 1, 47, "`activ` is not a value of `sell_bin_buy_byb`"),
        ),
        (
            "    expect: [{t: 1s, position: {bin: 3 USDT}}]\n",
            ("E0316", 1, 38, "amount in BTC is needed here, found amount in USDT"),
        ),
        (
            '    expect: [{t: 1s, signal: {sell_bin: "< 2"}}]\n',
            ("E0316", 1, 44, "ratio is needed here, found number"),
        ),
        (
            '    expect: [{t: 1s, signal: {sel_bin: "< 2bps"}}]\n',
            ("E0204", 1, 31, "no signal is named `sel_bin`"),
        ),
        (
            "    expect: [{t: 1s, orders: [{market: bin, qty: 1 EUR}]}]\n",
            ("E0303", 1, 52, "`EUR` is no currency of this file"),
        ),
        (
            "    expect: [{t: 2s, orders: []}, {t: 1s, orders: []}]\n",
            ("E0203", 1, 36, "expectations stand in the order of their times"),
        ),
        ("    expect: [{t: 2s}]\n", ("E0203", 1, 14, "this expects nothing")),
        (
            '    never: {net_position: "> 2 for 1s"}\n',
            ("E0316", 1, 30, "an amount is needed here, found number"),
        ),
        (
            '    never: {rule: {sell_bin_buy_byb: "actve for 1s"}}\n',
            ("E0203", 1, 38, "no state of a rule is `actve`"),
        ),
        (
            EXPECT + "    history: {bin.mid: 1 _}\n",
            ("E0203", 2, 24, "a history has no gaps"),
        ),
        (
            EXPECT + "    history: {bin.book.bid: 1}\n",
            ("E0304", 2, 15, "`bin.book.bid` has no history"),
        ),
        (
            EXPECT + '    starts: "noon"\n',
            ("E0203", 2, 13, "`starts` is no time"),
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(block: str, found: tuple[str, int, int, str]) -> None:
    assert mistakes(block) == [found]


def test_what_a_signal_in_error_is_compared_with_is_not_told_again() -> None:
    text = HEAD.replace("basis:    ema(", "basis:    emma(")
    block = '  one:\n    expect: [{t: 1s, signal: {basis: "< 2bps"}}]\n'
    assert [d.code for d in load(f"{text}\ntests:\n{block}").findings] == ["E0311"]


def test_words_are_those_of_the_engine_and_of_the_schema() -> None:
    assert set(RULE_STATES) == {state.value for state in RuleState}
    ((_, run),) = find("tests.expect.run")
    assert set(run["enum"]) == {mode.shown for mode in Mode}
    for key, words in (("side", Side), ("purpose", Purpose), ("type", OrderType), ("tif", Tif)):
        order = root()["definitions"]["test_order"]["properties"]
        assert order[key]["enum"] == [word.value for word in words], key


def test_every_kind_of_stream_can_be_fed() -> None:
    assert SETTABLE.keys() == NEEDED.keys() == FIELDS.keys()
    assert all(set(NEEDED[kind]) <= set(SETTABLE[kind]) for kind in SETTABLE)


SIGNAL = (Path(__file__).parents[2] / "strategies" / "signal.yaml").read_text(encoding="utf-8")
SIGNAL_HEAD = SIGNAL[: SIGNAL.index("\ntests:")]


def said(message: str) -> tuple[list[tuple[str, str]], list[TickPlan]]:
    """Check a test in which the source says this; return codes and messages, and its ticks."""
    block = f"    ticks: [{{t: 1s, voc: {message}}}]\n    expect: [{{t: 2s, orders: []}}]\n"
    checked = load(f"{SIGNAL_HEAD}\ntests:\n  one:\n{block}")
    ticks = list(checked.plan.trials[0].ticks) if checked.plan is not None else []
    return [(d.code, d.message) for d in checked.findings], ticks


def test_a_message_of_a_source_is_typed_as_at_the_door() -> None:
    found, (tick,) = said("{id: 7, action: close, symbol: BTCUSDT, confidence: 1, old: 12s}")
    assert found == [] and tick.source and (tick.t, tick.old_ns) == (10**9, 12 * 10**9)
    assert dict(tick.values) == {
        "id": "7", "action": "close", "symbol": "BTCUSDT", "stop": None, "target": None,
        "confidence": 1.0,
    }  # fmt: skip
    found, (tick,) = said("down")
    assert found == [] and tick.source and tick.state == "down"


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (
            "{id: a, action: sell, symbol: S}",
            ("E0203", "`sell` is not a value of `action`"),
        ),
        ("{id: a, action: long}", ("E0203", "a message of `voc` lacks `symbol`")),
        (
            "{id: a, action: long, symbol: S, stopp: 1}",
            ("E0304", "`voc` has no field `stopp`"),
        ),
        (
            "{id: a, action: long, symbol: S, confidence: 2}",
            ("E0203", "`confidence` is out of its range: the door would refuse it"),
        ),
        (
            "{id: a, action: long, symbol: S, target: 5s}",
            ("E0316", "price in USDT/BTC is needed here, found duration"),
        ),
        ("stale", ("E0203", "a source is `down` or `up`")),
    ],
)
def test_a_mistake_in_a_message_is_told(message: str, found: tuple[str, str]) -> None:
    assert said(message)[0] == [found]


def test_a_calendar_is_not_fed_by_hand() -> None:
    text = (Path(__file__).parents[2] / "strategies" / "dca.yaml").read_text(encoding="utf-8")
    head = text[: text.index("\ntests:")]
    block = "    ticks: [{t: 1s, weekly.cron: {}}]\n    expect: [{t: 2s, orders: []}]\n"
    found = load(f"{head}\ntests:\n  one:\n{block}").findings
    message = "the calendar `weekly.cron` comes at its own times"
    assert [(d.code, d.message) for d in found] == [("E0203", message)]
