"""Generated code against the tree walker: the same three truths on any input."""

from __future__ import annotations

import math
from dataclasses import replace
from math import inf, nan
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from runner.lang import treewalk
from runner.lang.codegen import Generator
from runner.lang.display import show
from runner.lang.program import Program
from runner.lang.types import Sort
from tests.lang.material import SCOPE as MATERIAL
from tests.lang.material import World, findings, tree_of

SPECIAL = [nan, inf, -inf, 0.0, -1.0, 1.0, 2.2, 6e4, 1e-300, 1e300, -1e300, 1.7e308]


def any_value(random: Random) -> float:
    """A float as it may come, or as it should never."""
    kind = random.random()
    if kind < 0.3:
        return random.choice(SPECIAL)
    return random.uniform(-10, 10) if kind < 0.5 else random.uniform(59_000, 61_000)


PRICES = [
    "bin.bid", "bin.ask", "bin.mid", "byb.bid", "byb.ask", "bin.book.micro", "bin.mark.price",
    "bin.trades.last", "bin.bars.close", "fill_price(bin.book, buy, 500 USDT)",
    "fill_price(byb.book, sell, params.clip)", "fill_price(bin.book, sell, position.bin.qty)",
    "fill_price(byb.book, buy, 0.1 BTC)", "position.bin.entry",
    "ema(bin.mid, 1s)", "sma(bin.mid, 1s)", "stdev(bin.mid, 1s)", "min_over(byb.mid, 1s)",
    "max_over(byb.mid, 1s)", "ema(bin.bars.close, 3bars)", "sma(bin.bars.close, params.count)",
    "median(bin.mid, 1s)", "delta(byb.mid, 1s)", "median(bin.bars.close, 2bars)",
]  # fmt: skip
NUMBERS = [
    "params.enter", "params.zero", "2", "0", "-1.5", "bin.book.imbalance", "1", "0.5",
    "(bin.funding.next_in / 1h)", "(bin.funding.interval / 1h)",
    "zscore(bin.mid, 1s)", "corr(bin.mid, byb.mid, 1s)", "position.bin.open_orders",
    "beta(bin.mid, byb.mid, 1s)", "count(bin.book, 1s)", "rsi(bin.bars.close, 1bars)",
    "(rate(bin.mid, 1s) / (1 USDT / 1 BTC / 1s))", "(risk_size(5 USDT, bin.ask, byb.bid) / 1 BTC)",
    "(vol_target(5 USDT, bin.mid, 1s) / 1 BTC)", "kelly(params.enter / 4, bin.book.imbalance)",
]  # fmt: skip
RATIOS = [
    "g", "gap(bin.bid, byb.ask)", "params.profit", "this.cost", "this.exit_return", "15bps",
    "bin.book.spread", "bin.funding.rate", "ret(bin.mid, 1s)", "vol(bin.mid, 1s)",
    "account.binance.margin_used", "position.bin.liq_gap", "bin.funding.yearly",
    "carry_cost(bin, sell, 9h)", "carry_cost(bin, buy, bin.funding.next_in + 1s)",
    "gap(fill_price(bin.book, sell, params.clip), fill_price(byb.book, buy, params.clip))",
]  # fmt: skip


SIGNALS = {"g": "gap(bin.bid, byb.ask)", "ok": "bin.mid > byb.mid and g < 1"}
SCOPE = replace(MATERIAL, signals={"g": tree_of(SIGNALS["g"]), "ok": tree_of("bin.mid > byb.mid")})
OPS = ["<", "<=", ">", ">=", "==", "!="]
BOOLS = [
    "ok", "true", "false", "rule.r.active", "params.live", 'params.mood == "calm"',
    'params.mood in ["wild"]', 'params.mood != "wild"', "age(bin.book) > 5s",
    '("calm" if bin.bid > 0 else params.mood) == default(params.mood, "wild")',
    'weekday() in ["mon", "tue", "wed"]', 'between_utc("08:00", "20:00")',
    "account.binance.position.BTCUSDT > 0.1 BTC",
    "crosses_above(bin.mid, byb.mid)", "crosses_below(bin.book.imbalance, 0)", "changed(bin.bid)",
    'changed(weekday())', "changed(rule.r.active)", "held(bin.mid > byb.mid, 1s)",
    "held(position.bin.qty > 0 and this.exit_pnl < 0, 100ms)", "changed(bin.mid > byb.mid)",
    'held(between_utc("22:00", "06:00"), 1s)', "held(ema(bin.mid, 1s) > byb.mid, 10ms)",
]  # fmt: skip
FORMS = [
    "({a} + {b})", "({a} - {b})", "({a} * {n})", "({a} / {n})", "(-{a})", "abs({a})",
    "min({a}, {b})", "max({a}, {b}, {a})", "clamp({a}, {b}, {c})", "round_to({a}, {b})",
    "default({a}, {b})", "({a} if {t} else {b})",
]  # fmt: skip
NUMBER_FORMS = [
    *FORMS, "sqrt({a})", "log({a})", "sign({p})", "({p} / {q} / 100%)", "(gap({p}, {q}) / 100%)",
    "({r} / (1 + {r}))",
]  # fmt: skip
CONDITION_FORMS = [
    "({t} and {u})", "({t} or {u})", "(not {t})", "({t} and {u} and {t})", "({t} if {u} else {t})",
    "default({t}, {u})", "known({t})", "({t} == {u})", "({t} != {u})",
]  # fmt: skip
COMPARE_FORMS = [
    "({a} {x} {b})", "({a} {x} {b} {y} {c})", "({a} < {b} < {c})", "({a} >= {b} > {c})",
    "({a} in [{b}, {c}])", "known({a})",
]  # fmt: skip


class Writer:
    """Writes random expressions of a wanted unit."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def number(self, leaves: list[str], depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.3:
            return self.random.choice(leaves)
        form = self.random.choice(NUMBER_FORMS if leaves is NUMBERS else FORMS)
        return self.filled(form, leaves, depth - 1)

    def condition(self, depth: int) -> str:
        if self.random.random() < 0.15:
            return self.random.choice(BOOLS)
        if depth <= 0 or self.random.random() < 0.4:
            leaves = self.random.choice([NUMBERS, PRICES, RATIOS])
            return self.filled(self.random.choice(COMPARE_FORMS), leaves, min(depth, 1))
        return self.filled(self.random.choice(CONDITION_FORMS), NUMBERS, depth - 1)

    def filled(self, form: str, leaves: list[str], depth: int) -> str:
        makers = {
            **dict.fromkeys("abc", lambda: self.number(leaves, depth)),
            "n": lambda: self.random.choice([n for n in NUMBERS if n not in ("0", "1")]),
            **dict.fromkeys("pq", lambda: self.number(PRICES, min(depth, 1))),
            "r": lambda: self.number(RATIOS, min(depth, 1)),
            **dict.fromkeys("tu", lambda: self.condition(min(depth, 2))),
            **dict.fromkeys("xy", lambda: self.random.choice(OPS)),
        }
        return form.format(**{k: make() for k, make in makers.items() if f"{{{k}}}" in form})


def checked(source: str) -> bool:
    """Whether an expression says something the checker takes (not so `0 + 15bps * 0 > 2`)."""
    return findings(source, SCOPE)[0] is not None


def fill(world: World, program: Program, random: Random) -> int:
    """Play random values through the windows; return the last instant."""
    now = 0
    for _ in range(random.randint(1, 4)):
        now += random.choice([1, 5_000_000, 100_000_000, 1_000_000_000])
        for key, stream in world.streams.items():
            values = [abs(any_value(random)) for _ in range(4)]  # no price is negative
            if key.endswith("book"):
                stream.quote(*sorted(values[:2]), *values[2:])  # a crossed book is not live
                stream.slope = random.choice([0.0, 1e-16, 0.001])
                stream.seq, stream.aged = random.randint(0, 1), random.choice([0, 6_000_000_000])
            else:
                stream.last = stream.price = stream.rate = stream.close = values[0]
                stream.closed += random.randint(0, 1)
                stream.state = random.choice(["live", "live", "stale"])
                stream.next_at = random.choice([0, 10, random.randrange(10**18)])
                stream.interval = random.choice([0, 3_600_000_000_000, 28_800_000_000_000])
        world.rule.cost, world.rule.worth = any_value(random), any_value(random)
        world.rule.active = random.random() < 0.5
        world.rule.entered = [any_value(random)] * random.randint(0, 2)
        position = world.positions["bin"]
        position.qty, position.entry = any_value(random), abs(any_value(random))
        position.gap = position.account_qty = any_value(random)
        world.accounts["binance"].margin_used = abs(any_value(random))
        world.clock.wall = random.choice([0, 1, random.randrange(10**18)])
        if program.due <= now:
            program.on_timer(now)
        for feed in [*program.on_stream.values(), *program.on_edge.values()]:
            feed(now)
        program.look(now)
    return now + random.choice([0, 0, 1_000_000_000])


@settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
@given(seed=st.integers(0, 2**64))
def test_generated_code_and_tree_walker_agree(seed: int) -> None:
    """Definitely true, definitely false and missing are the same for both, and so are values."""
    writer = Writer(Random(seed))
    leaves = writer.random.choice([NUMBERS, PRICES, RATIOS])
    when, size = writer.condition(3), writer.number(leaves, 3)
    until = f"{writer.condition(2)} or entered({size}) < {size} or not {when}"
    assume(checked(when) and checked(size) and checked(until))
    world = World()
    program = world.program(SIGNALS, when=when, until=until, size=size)
    now = fill(world, program, writer.random)
    rule, exprs, env = program.rules["r"], program._request.rules["r"], program._env(now, "r")
    assert exprs.until is not None and rule.until is not None
    for condition, expr in ((rule.when, exprs.when), (rule.until, exprs.until)):
        wanted = treewalk.evaluate(expr, env)
        assert (condition.true(now), condition.false(now)) == (wanted is True, wanted is False)
    for part, expr in (("when", exprs.when), ("until", exprs.until)):
        parts = treewalk.parts(expr)
        told = [(e.source, show(treewalk.evaluate(e, env), e.type)) for e in parts]
        assert program.explain("r", part, now) == told
    expected = treewalk.evaluate(exprs.size, env)
    found = rule.size.value(now)
    assert found == expected if expected is not None else math.isnan(found)


@pytest.mark.parametrize(
    ("source", "truth"),
    [
        ("min(3, bin.book.imbalance) == 3", None),  # plain Python: min(3, nan) is 3
        ("not (bin.bid > byb.bid)", None),  # plain Python: not (nan > 1) is True
        ("bin.bid > byb.bid or true", True),
        ("bin.bid > byb.bid and false", False),
        ("1 / params.zero == 1 / params.zero", None),
        ("known(1 / params.zero)", False),
        ("sqrt(-params.enter) > 0", None),
        ("default(bin.bid > 0, false)", False),
        ("params.enter in [2.2, bin.book.imbalance]", True),
        ("params.enter in [1, bin.book.imbalance]", None),
        ('params.mood in ["wild", "calm"]', True),
        ("(bin.bid > 0) == (byb.bid > 0)", None),
    ],
)
def test_missing_is_neither_true_nor_false(source: str, truth: bool | None) -> None:
    world = World()
    condition = world.program(when=source).rules["r"].when
    assert (condition.true(0), condition.false(0)) == (truth is True, truth is False)


def test_nothing_of_the_user_gets_into_the_source() -> None:
    """A text literal is bound as a constant, names are numbered."""
    generator = Generator({"mood": "calm"})
    expr = tree_of('params.mood == "calm" or "calm" == "x\\\' + evil() + \'"')
    generator.condition("f", expr)
    code = generator.code()
    assert "evil" not in code.source and "calm" not in code.source
    assert set(code.names.values()) >= {("text", "calm")}


def test_the_walk_is_not_taken_where_the_touch_already_says_no() -> None:
    """`cost + profit < sell < insane` ends at the touch on most updates."""
    world = World()
    program = world.program(
        {"edge": "gap(fill_price(bin.book, sell, params.clip), "
                 "fill_price(byb.book, buy, params.clip))"},
        when="this.cost + params.profit < edge < params.insane",
    )  # fmt: skip
    world.rule.cost = 0.0021
    walked = []
    for key in ("bin.book", "byb.book"):
        stream = world.streams[key]
        stream.quote(60_000.0, 60_001.0)
        original = stream.fill_price
        stream.fill_price = lambda *a, o=original, k=key: (walked.append(k), o(*a))[1]  # type: ignore[method-assign]
    when = program.rules["r"].when
    assert not when.true(0) and walked == []
    world.streams["bin.book"].quote(60_200.0, 60_201.0)
    assert when.true(0) and sorted(walked) == ["bin.book", "byb.book"]


def test_types_of_all_samples_are_numbers() -> None:
    """The samples of the property above mean what their lists say."""
    assert all(tree_of(s).type.is_price for s in PRICES)
    assert all(tree_of(s).type.plain for s in NUMBERS)
    assert all(tree_of(s, SCOPE).type.is_ratio for s in RATIOS)
    assert tree_of("bin.bid > 0").type.sort is Sort.BOOL
