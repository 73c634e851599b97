"""A test of a strategy passes when all holds, and fails at the first thing that does not."""

from __future__ import annotations

import pytest

from runner.app.trial.play import play
from runner.lang.render import as_text
from runner.spec import load
from tests.app.trial.lab import HEAD, WIDE, difference, played

BOTH = "orders: [{market: a, side: sell, qty: 0.008 BTC}, {market: b, side: buy, qty: 0.008 BTC}]"


def test_a_spread_opens_fills_and_closes() -> None:
    outcome = played(
        WIDE
        + f"""\
expect:
  - {{t: 900ms, orders: [], rule: {{fade: idle}}, signal: {{edge: ["> -1bps", "< 1bps"]}}}}
  - {{t: 1500ms, {BOTH}, rule: {{fade: active}}, position: {{a: -0.008 BTC, b: 0.008 BTC}}}}
  - t: 2500ms
    orders: [{{market: a, side: buy, purpose: close}}, {{market: b, side: sell, rule: fade}}]
    position: {{a: 0 BTC, b: 0 BTC}}
    signal: {{calm: true}}
    run: active
never: {{net_position: "> 0.002 BTC for 100ms"}}
"""
    )
    assert outcome.mismatch is None
    assert (outcome.virtual_ns, outcome.ticks) == (2_900_000_000, 120)
    assert [line.text for line in outcome.lines if "fade" in line.text] == [
        "sell 0.008 BTC a @ 60294   entry of fade",
        "buy 0.008 BTC b @ 60006   entry of fade",
        "fade pending -> entering: approved",
        "fade entering -> active: filled",
        "buy 0.008 BTC a @ 60013   close of fade",
        "sell 0.008 BTC b @ 59987.1   close of fade",
        "fade active -> leaving: until",
        "fade leaving -> cooldown: until",
    ]


def test_fees_are_paid_and_the_account_is_the_paper_exchange_s() -> None:
    block = WIDE + "balance: 20 USDT\nexpect: [{t: 1500ms, orders: [], why: {fade: balance}}]\n"
    assert difference(block) is None


@pytest.mark.parametrize(
    ("expect", "at", "expected", "got"),
    [
        ("orders: []", 1.5, "no orders", "2"),
        ("orders: [{market: a}]", 1.5, "1 order", "2"),
        ("orders: [{market: a}, {market: a}]", 1.5, "market a; market a", "other orders"),
        ("orders: [{market: a, qty: 0.009 BTC}, {}]", 1.5,
         "market a, qty 0.009 BTC; any order", "other orders"),
        ("orders: [{market: a, price: 60_295}, {}]", 1.5,
         "market a, price 60_295; any order", "other orders"),
        ("orders: [{reduce_only: true}, {}]", 1.5, "reduce_only true; any order", "other orders"),
        ("rule: {fade: [idle, cooldown]}", 1.5, "fade idle or cooldown", "active"),
        ("position: {a: 0 BTC}", 1.5, "a 0 BTC", "-0.008 BTC by the ledger"),
        ('position: {a: ["< 0 BTC", "> -0.008 BTC"]}', 1.5, "a > -0.008 BTC",
         "-0.008 BTC by the ledger"),
        ('signal: {edge: "< 2bps"}', 1.5, "edge < 2bps", "50bps"),
        ("signal: {edge: missing}", 1.5, "edge missing", "50bps"),
        ("signal: {calm: true}", 1.5, "calm true", "false"),
        ("why: {fade: stale}", 1.5, 'fade because of "stale"',
         "in_trade: active; false edge < 10bps: 50bps < 10bps, 40bps short"),
        ("run: halted", 1.5, "the run halted", "active"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_told(expect: str, at: float, expected: str, got: str) -> None:
    assert difference(WIDE + f"expect: [{{t: 1500ms, {expect}}}]\n") == (at, expected, got)


def test_orders_are_those_since_the_last_expectation_that_named_them() -> None:
    assert (
        difference(
            WIDE + f"expect: [{{t: 1200ms, {BOTH}}}, {{t: 1500ms, rule: {{fade: active}}}},"
            " {t: 1900ms, orders: []}]\n"
        )
        is None
    )


def test_the_first_difference_ends_a_test() -> None:
    block = WIDE + "expect: [{t: 500ms, rule: {fade: active}}, {t: 1500ms, orders: []}]\n"
    outcome = played(block)
    assert outcome.mismatch is not None and outcome.mismatch.t == 500_000_000
    assert outcome.virtual_ns == 500_000_000 and outcome.lines == ()


HOLE = """\
every: 100ms
series:
  a.book.bid: "60_000x10 60_300x20"
  a.book.ask: "60_001x10 60_301x20"
  b.book.bid: "59_999x5 {0} 59_999x10"
  b.book.ask: "60_000x5 {0} 60_000x10"
"""


@pytest.mark.parametrize(
    ("values", "reason"),
    [("_x15", "b.book stale 700ms"), ("_x5 stalex10", "b.book stale 1.3s")],
)
def test_a_book_goes_stale_without_updates_or_by_late_ones(values: str, reason: str) -> None:
    block = HOLE.format(values) + (
        f'expect: [{{t: 1199ms, orders: [], why: {{fade: "{reason[:12]}"}}}},'
        " {t: 1900ms, orders: []}, {t: 2050ms, orders: [{market: a}, {market: b}]}]\n"
    )
    assert difference(block) is None


def test_a_lost_connection_is_down_until_the_next_update() -> None:
    block = """\
ticks:
  - {t: 0s, a.book: {bid: 60_000, ask: 60_001}, b.book: {bid: 59_999, ask: 60_000}}
  - {t: 100ms, b.book: down}
  - {t: 200ms, a.book: {bid: 60_300, ask: 60_301}}
  - {t: 250ms, b.book: {bid: 59_999, ask: 60_000}}
expect:
  - {t: 240ms, orders: [], why: {fade: b.book down}, signal: {edge: missing}}
  - {t: 300ms, orders: [{market: a}, {market: b}]}
"""
    assert difference(block) is None


def test_levels_behind_the_touch_are_walked() -> None:
    block = """\
ticks:
  - {t: 0s, b.book: {bid: 59_999, ask: 60_000}}
  - t: 0s
    a.book: {bids: [[60_300, 0.004], [60_296, 0.002], [60_200, 1]], asks: [[60_301, 1]]}
expect:
  - {t: 100ms, rule: {fade: active}, position: {a: "-0.006 BTC", b: 0.008 BTC}}
"""
    assert difference(block) is None


def test_fills_follow_the_script() -> None:
    half = WIDE + "fills: {a: {after: 5ms, ratio: 0.5}, b: {after: 5ms}}\n"
    assert difference(half + "expect: [{t: 1500ms, position: {b: 0.008 BTC}}]\n") == (
        1.5, "b 0.008 BTC", "0.004 BTC by the ledger",
    )  # fmt: skip
    lone = WIDE + 'fills: {b: {reject: "-2019"}}\n'
    assert difference(lone + "expect: [{t: 1500ms, position: {a: 0 BTC, b: 0 BTC}}]\n") is None


def test_the_truth_of_the_exchange_counts_too() -> None:
    lost = WIDE + "fills: {a: [{after: 5ms, lose_reply: true}], b: {after: 5ms}}\n"
    expect = "expect: [{t: 1100ms, position: {a: 0 BTC}}]\n"
    assert difference(lost + expect) == (1.1, "a 0 BTC", "-0.008 BTC by the exchange")


def test_an_invariant_is_broken_when_it_lasted_too_long() -> None:
    lone = WIDE + "fills: {a: {after: 5ms}, b: {after: 45ms}}\n"
    for limit, broken in (("30ms", 1.035), ("39ms", 1.044), ("41ms", None)):
        found = difference(lone + f'never: {{net_position: "> 0.002 BTC for {limit}"}}\n')
        assert (None if found is None else found[0]) == broken
    assert found is None


@pytest.mark.parametrize(
    ("never", "found"),
    [
        ("rule: {fade: active}", (1.01, "never rule fade active", "active since 1.01s")),
        ("rule: {fade: entering for 1s}", None),
        ('position: {a: "< -0.007 BTC"}',
         (1.005, "never position a < -0.007 BTC", "-0.008 since 1.005s")),
        ('signal: {edge: "> 40bps for 500ms"}',
         (1.5, "never signal edge > 40bps for 500ms", "0.005 since 1s")),
        ('signal: {edge: "> 40bps for 2s"}', None),
        ("net_position: [\"> 1 BTC\", \"> 0 BTC for 1us\"]", None),
    ],
)  # fmt: skip
def test_states_can_be_invariants(never: str, found: tuple[float, str, str] | None) -> None:
    assert difference(WIDE + f"never: {{{never}}}\n") == found


def test_the_same_test_gives_the_same_result() -> None:
    block = WIDE + "expect: [{t: 2500ms, orders: []}]\n"
    first, second = played(block), played(block)
    assert first.mismatch is not None
    assert first.lines == second.lines
    assert str(first.mismatch.orders[0].intent) == str(second.mismatch.orders[0].intent)  # type: ignore[union-attr]


def test_time_of_day_is_that_of_the_test() -> None:
    block = WIDE + 'starts: "2026-03-01T23:59:59Z"\nexpect: [{t: 2s, run: active}]\n'
    assert difference(block) is None


def test_history_warms_windows_and_ends_with_the_start() -> None:
    head = HEAD.replace("  calm: edge", "  slow: sma(a.mid, 10m)\n  calm: edge")
    block = """\
    history: {a.mid: 60_000x6 60_100x6}
    ticks: [{t: 0s, a.book: {bid: 60_000, ask: 60_001}, b.book: {bid: 59_999, ask: 60_000}}]
    expect: [{t: 100ms, signal: {slow: ["> 60_040", "< 60_060"]}}]
"""
    checked = load(f"{head}  one:\n{block}")
    assert checked.plan is not None, as_text(checked)
    assert play(checked.plan, checked.plan.trials[0]).mismatch is None
    cold = load(f"{head}  one:\n{block.split(chr(10), 1)[1]}")
    assert cold.plan is not None
    mismatch = play(cold.plan, cold.plan.trials[0]).mismatch
    assert mismatch is not None and mismatch.got == "missing"
