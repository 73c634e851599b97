"""The tests beside the rules have teeth: a strategy that was made worse fails one of its own.

Each mutation is made in the text of a shipped file; the file must still validate, for otherwise it
is the check that noticed and not the tests. Where a file's tests play hours, the one that must
notice is named, so that the others need not be played.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.app.trial.suite import Suite

STRATEGIES = Path(__file__).resolve().parents[1] / "strategies"
Mutation = Callable[[str], str]


def sub(pattern: str, new: str, count: int = 0) -> Mutation:
    return lambda text: re.sub(pattern, new, text, count=count, flags=re.MULTILINE)


def swap_sides(text: str) -> str:
    turned = re.sub(r"side: sell", "side: BUY", text)
    return re.sub(r"side: buy", "side: sell", turned).replace("side: BUY", "side: buy")


def drop_last_legs(text: str) -> str:
    """Leave every trade its first leg alone, and so without a hedge."""
    text = re.sub(r"(legs:\n\s+- .*\n)\s+- \{market.*\n", r"\1", text)
    return re.sub(r"^\s+hedge: .*\n", "", text, flags=re.MULTILINE)


ANY: dict[str, Mutation] = {
    "sides swapped": swap_sides,
    "it never leaves": sub(r"^    (until|max_hold): .*\n(      .*\n)*", ""),
    "books never go stale": sub(r"(book: \{[^}]*max_age: )\w+", r"\g<1>1h"),
    "ten times the largest order": sub(r"max_order: (\d+)", r"max_order: \g<1>0"),
    "another size": sub(r"(clip|size):(.*default: )(\d+) USDT", r"\1:\2 2_\3 USDT"),
}
"""what every shipped strategy's tests must notice, where its text has the like"""
OWN: dict[str, dict[str, Mutation]] = {
    "arb": {
        "a leg dropped": drop_last_legs,
        "twice the profit": sub(r"(profit:.*default: )6bps", r"\g<1>15bps"),
        "half the profit": sub(r"(profit:.*default: )6bps", r"\g<1>3bps"),
        "the mirror knows nothing insane": sub(r"sell_byb < params.insane", "sell_byb"),
        "nothing is insane": sub(r"(insane:.*default: )80bps", r"\g<1>300bps"),
        "an absolute threshold": sub(r"\) - basis$", ")"),
        "the mirror rule wants more": sub(r"profit < sell_byb", "profit * 5 < sell_byb"),
        "any gap will do": sub(r"max_gap: 0.002", "max_gap: 0.02"),
    },
    "pairs": {
        "a leg dropped": drop_last_legs,
        "a lower threshold": sub(r"(enter:.*default: )2.2", r"\g<1>1.5"),
        "a higher threshold": sub(r"(enter:.*default: )2.2", r"\g<1>3.4"),
        "at once": sub(r"^    for:   params.patience\n", ""),
        "whether they move alike does not matter": sub(r" and sane and", " and"),
        "the way back need not pay": sub(r" and way > params.pays \* this.cost", ""),
        "sizes without weight": sub(r"weight: 1", "weight: 0.5", 1),
        "a failed leg is undone": sub(r"repair: cheaper", "repair: unwind"),
    },
    "carry": {
        "the guard sleeps": sub(r"50% < account", "74% < account"),
        "the alarm sleeps": sub(r"margin_used > 75%", "margin_used > 95%"),
        "the guard takes the alarm's turn": sub(r"margin_used <= 75%", "margin_used <= 95%"),
        "paid once is enough": sub(r"(pays:.*default: )2,", r"\g<1>1.5,"),
        "the basis does not matter": sub(r" and basis > -5bps", ""),
        "the next payment does not matter": sub(r" and p.funding.next_in > params.early", ""),
        "a clip too large": sub(r"(clip:.*default: )250", r"\g<1>350"),
        "at once": sub(r"^    for:   params.patience\n", ""),
        "what rests asks too much": sub(r"price: p.ask", "price: p.ask * 1.01"),
        "it leaves by taking": sub(r"close: \{tif: post_only.*give_up: \S+ ", "close: {tif: ioc, "),
        "the other way round": sub(r"yearly < 0 and", "yearly > 0 and"),
    },
    "dca": {
        "every day": sub(r"\* MON\"", "* *\""),
        "at nine": sub(r"0 8 \* \* MON", "0 9 * * MON"),
        "never given up": sub(r"^      give_up: .*\n", ""),
        "whether it is cheap does not matter": sub(r" \* \(2 if cheap else 1\)", " * 1"),
        "ten times the budget": sub(r"max_spend: \{amount: 100", "max_spend: {amount: 1000"),
        "not tried again": sub(r", retry: \{every: 10s, within: 30m\}", ""),
        "at the ask": sub(r"price: btc.bid", "price: btc.ask"),
    },
    "maker": {
        "a wide market does not matter": sub(r"btc.book.spread < 10bps and ", ""),
        "half the width": sub(r"(half:.*default: )5bps", r"\g<1>3bps"),
        "quotes in a wild market": sub(r"(calm|wild):(.*default: )\d", r"\1:\g<2>9"),
        "no leaning": sub(r"qty: \"params.lot .*?\"", "qty: params.lot * 2"),
        "at once": sub(r"^    for:   1s\n", ""),
        "quotes rest where they were": sub(r"when_moved: 1.5bps", "when_moved: 90bps"),
        "inventory crosses the spread": sub(r"on_leave: passive", "on_leave: flatten"),
    },
    "signal": {
        "any symbol": sub(r' and voc.symbol == "BTCUSDT" and', " and"),
        "a close for any symbol": sub(r'voc.symbol == "BTCUSDT" and voc.act', "voc.act"),
        "any confidence": sub(r"voc.confidence >= 0.7", "voc.confidence >= 0"),
        "any stop": sub(r"(nearest_stop:.*default: )30bps", r"\g<1>0.1bps"),
        "no late close": sub(r"^    late: .*\n", ""),
        "no stop at the exchange": sub(r"^      stop: \{price.*\n", ""),
        "any stop, however far": sub(r" and gap\(btc.ask, voc.stop\) < 5%", ""),
        "no target at the exchange": sub(r"^      target: \{price.*\n", ""),
        "twice the reward": sub(r"(reward:.*default: )2", r"\g<1>4"),
        "the service's target does not count": sub(r"default\(voc.target, (.*)\)\"", r'\1"'),
        "signals stay good for long": sub(r"    max_age: 10s", "    max_age: 9m"),
        "twice the size": sub(r"size: params.risk_per_trade", "size: 2 * params.risk_per_trade"),
    },
    "sentiment": {
        "overbought does not matter": sub(r" and rsi\(.*?\) < 75", ""),
        "no veto": sub(r" and mood > -0.2", ""),
        "silence lets pass": sub(r"confidence, -1\)", "confidence, 0)"),
        "dire news is held through": sub(r" or \(known\(news.score\).*?\)", ""),
        "silence sells": sub(r"\(known\(news.score\) and mood < -0.5\)", "news.score < 2"),
        "no stop at the exchange": sub(r"^      stop: \{price.*\n", ""),
        "twice the momentum": sub(r"(edge:.*default: )12bps", r"\g<1>60bps"),
    },
}  # fmt: skip
MUST_NOTICE = {
    "carry": {
        "it never leaves": "funding that has turned",
        "books never go stale": "book is stale",
        "ten times the largest order": "over the limit",
        "the guard sleeps": "a margin that is used up",
        "the alarm sleeps": "a margin that jumps",
        "the guard takes the alarm's turn": "a margin that jumps",
        "paid once is enough": "does not pay it twice",
        "the basis does not matter": "cheaper than spot",
        "the next payment does not matter": "about to be paid",
        "it leaves by taking": "leaves at rest",
    },
    "pairs": {
        "books never go stale": "book is stale",
        "ten times the largest order": "over the limit",
        "whether they move alike does not matter": "against each other",
        "the way back need not pay": "does not pay the way back",
        "a failed leg is undone": "is made whole",
    },
    "sentiment": {"ten times the largest order": "over the limit"},
}
"""a part of the name of the test; any test of the file may notice the others"""
HARMLESS = {
    ("signal", "ten times the largest order"),  # `max_size` comes before
    ("dca", "ten times the largest order"),  # `max_spend` comes before
    ("dca", "sides swapped"),  # `validate` refuses it
}


def notices(strategy: str, mutation: str) -> str:
    return MUST_NOTICE.get(strategy, {}).get(mutation, "")


CASES = [
    pytest.param(path, mutation, notices(path.stem, name), id=f"{path.stem}: {name}")
    for path in sorted(STRATEGIES.glob("*.yaml"))
    for name, mutation in {**ANY, **OWN.get(path.stem, {})}.items()
    if (path.stem, name) not in HARMLESS
]


def rules_of(text: str) -> tuple[str, str]:
    """Part a file into what is mutated and its tests."""
    at = text.index("\ntests:")
    return text[:at], text[at:]


@pytest.mark.parametrize(("path", "mutation", "test"), CASES)
def test_a_strategy_made_worse_fails_one_of_its_tests(
    path: Path, mutation: Mutation, test: str, tmp_path: Path
) -> None:
    rules, tests = rules_of(path.read_text(encoding="utf-8"))
    worse = mutation(rules)
    if worse == rules:
        pytest.skip("its text has nothing of the kind")
    other = tmp_path / path.name
    other.write_text(worse + tests, encoding="utf-8")
    suite = Suite.load(other, {})
    found = [(d.code, d.message) for d in suite.checked.findings if d.is_error]
    assert suite.checked.plan is not None, found
    assert any(not result.passed for result in suite.run(test))


@pytest.mark.parametrize("stem", sorted(OWN))
def test_every_mutation_of_its_own_changes_the_file(stem: str) -> None:
    rules, _ = rules_of((STRATEGIES / f"{stem}.yaml").read_text(encoding="utf-8"))
    assert [name for name, mutation in OWN[stem].items() if mutation(rules) == rules] == []
