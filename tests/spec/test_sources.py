"""`sources:` and `trigger:` what is read, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.lang.render import as_text
from runner.spec import load
from runner.spec.cron import parse_cron
from runner.spec.patterns import endless
from runner.spec.plan import Plan
from runner.spec.source_plan import (
    FieldKind,
    HmacPlan,
    LlmPlan,
    RestPlan,
    SchedulePlan,
    SourceType,
    TelegramPlan,
    TokenPlan,
    WebhookPlan,
    WebSocketPlan,
)

STRATEGIES = Path(__file__).parents[2] / "strategies"
SIGNAL = (STRATEGIES / "signal.yaml").read_text(encoding="utf-8")


def planned(text: str) -> Plan:
    checked = load(text, environ={})
    assert checked.plan is not None, as_text(checked)
    return checked.plan


def with_source(source: str, rule: str = "when: btc.bid > 0 and x.n > 1") -> str:
    return f"""version: 1
name: a
exchanges:
  bybit: {{type: bybit_linear, network: testnet}}
markets:
  btc: {{exchange: bybit, symbol: BTCUSDT, streams: {{book: {{max_age: 1s}}}}}}
sources:
  x: {source}
rules:
  r:
    {rule}
    order: {{market: btc, side: buy, size: 200 USDT}}
risk:
  max_order: 300 USDT
  max_position: {{btc: 0.01 BTC}}
  max_orders: {{count: 10, per: 1m}}
  max_daily_loss: 20 USDT
"""


def test_the_signal_strategy_is_read_in_its_final_units() -> None:
    plan = planned(SIGNAL)
    voc = plan.sources["voc"]
    assert voc.type is SourceType.WEBHOOK and voc.event and voc.max_age_ns == 10 * 10**9
    assert voc.dedupe is not None and (voc.dedupe.by, voc.dedupe.within_ns) == ("id", 86400 * 10**9)
    assert voc.heartbeat_ns == 3600 * 10**9
    assert voc.late is not None and voc.late.max_age_ns == 600 * 10**9
    stop, confidence = voc.fields["stop"], voc.fields["confidence"]
    assert stop.kind is FieldKind.PRICE and stop.pointer == ("stop_loss",) and stop.optional
    assert str(stop.type) == "price in USDT/BTC"
    assert (confidence.low, confidence.high) == (0.0, 1.0)
    assert isinstance(voc.options, WebhookPlan) and isinstance(voc.options.auth, HmacPlan)
    assert voc.options.auth.secret.env == "VOC_SECRET"
    rule = plan.rules["go_long"]
    assert rule.trigger is not None and rule.trigger.source == "voc"
    assert rule.trigger.retry.within_ns == voc.max_age_ns
    assert "voc" in rule.when_streams and "voc" in rule.until_streams


def test_every_type_of_source_is_read() -> None:
    ws = planned(with_source(
        "{type: websocket, url: 'wss://e.invalid/a', subscribe: '{\"op\": 1}', as: state,"
        " max_age: 1m, items: /data, only: {from: /type, equals: s}, fields: {n: {type: number}}}"
    )).sources["x"]  # fmt: skip
    assert isinstance(ws.options, WebSocketPlan) and ws.options.subscribe == ('{"op": 1}',)
    assert ws.options.items == ("data",) and not ws.event
    rest = planned(with_source(
        "{type: rest, url: 'https://e.invalid/a', every: 30s, max_age: 1m,"
        " auth: {token: {env: T}, header: X-Key},"
        " fields: {n: {type: ratio, unit: percent}}}",
        "when: x.n > 1%",
    )).sources["x"]  # fmt: skip
    assert isinstance(rest.options, RestPlan) and rest.options.every_ns == 30 * 10**9
    assert rest.options.auth == TokenPlan(rest.options.auth.token, None, "X-Key")  # type: ignore
    assert rest.fields["n"].scale == 0.01
    tg = planned(with_source(
        "{type: telegram, token: {env: T}, chats: [-100123, '@room'], senders: [7],"
        " pattern: '(?P<n>[0-9]+)', max_age: 1m, fields: {n: {type: number}}}",
        "trigger: x",
    )).sources["x"]  # fmt: skip
    assert isinstance(tg.options, TelegramPlan) and tg.options.chats == ("-100123", "@room")
    llm = planned(with_source(
        "{type: llm, base_url: 'http://127.0.0.1:1/v1', model: m, about: [h], max_age: 1m,"
        " prompt: p, answer: {n: {type: number, range: [0, 2]}},"
        " price: {input: 0.5, output: 1}, budget: {calls: 3, money: 1, per: 1d}}\n"
        "  h: {type: rest, url: 'https://e.invalid/a', format: rss, every: 30s, max_age: 5m}"
    )).sources["x"]  # fmt: skip
    assert isinstance(llm.options, LlmPlan) and llm.options.about == ("h",) and not llm.event
    cron = planned(with_source(
        "{type: schedule, cron: '0 8 * * MON', zone: Europe/Berlin, missed: {run_once_within: 6h}}",
        "trigger: {source: x, retry: {every: 10s, within: 30m}}",
    ))  # fmt: skip
    assert isinstance(cron.sources["x"].options, SchedulePlan)
    assert cron.rules["r"].trigger is not None
    assert cron.rules["r"].trigger.retry.within_ns == 1800 * 10**9


def test_a_rule_can_have_a_time_of_its_own() -> None:
    text = with_source("{type: schedule, cron: '* * * * *'}", "trigger: {cron: '0 8 * * 1'}")
    plan = planned(text)
    own = plan.sources["r.cron"]
    assert own.rule == "r" and own.max_age_ns == 60 * 10**9
    assert plan.rules["r"].trigger is not None and plan.rules["r"].trigger.source == "r.cron"


HOOK = "{type: webhook, listen: {port: 80, path: /x}, auth: {token: {env: T}}, max_age: 1m, "
N = "fields: {n: {type: number}}, dedupe: {by: n, within: 1h}"


REST = "{type: rest, url: 'https://e.invalid/a', fields: {n: {type: number}}, "
CHAT = (
    "{type: telegram, token: {env: T}, chats: [1], max_age: 1m, fields: {n: {type: text}},"
    " pattern: '%s'}"
)
MODEL = (
    "{type: llm, base_url: 'http://127.0.0.1:1/v1', model: m, about: x, max_age: 1m,"
    " prompt: p, answer: {n: {type: number}}"
)


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        (HOOK + "fields: {n: {type: number}}}", "E0203", "lacks `dedupe`"),
        (HOOK + N + ", url: 'https://a'}", "E0201", "a `webhook` has no key `url`"),
        (HOOK + N + ", seq: m}", "E0204", "has no field `m`"),
        (HOOK + N + "}\n  y: " + HOOK + N + "}", "E0203", "`x` listens there already, at /x"),
        (HOOK + N + "}\n  y: " + HOOK.replace("path: /x", "path: /y, tls: {cert: a, key: b}") + N
         + "}", "E0203", "`x` has port 80 with another `tls`"),
        (REST + "every: 5s, max_age: 5s}", "E0203", "`every` 5s is not before `max_age`"),
        (MODEL.replace("about: x", "about: y") + "}\n  y: " + HOOK + N + "}", "E0203",
         "`y` is an event, which is over"),
        (CHAT % "(?P<n>([0-9]+ ?)+)$", "E0203", "repeats a repetition"),
        ("{type: schedule, cron: '0 8 30 2 *'}", "E0203", "no such month has a day 30"),
        (MODEL + ", refresh: 1m}", "E0203", "`refresh` 1m is not before `max_age`"),
        (MODEL.replace("1m", "59s") + "}", "E0203", "`at_most_every` 1m (its default)"),
        (HOOK + N + ", as: state, late: {when: x.n > 1, max_age: 5m}}", "E0203", "is for events"),
        (MODEL + ", budget: {per: 1d}}", "E0203", "limits nothing"),
        (HOOK + "fields: {n: {type: number, optional: true}}, dedupe: {by: n, within: 1h}}",
         "E0203", "cannot be optional"),
        (HOOK + N + ", late: {when: btc.book.imbalance > 0.1, max_age: 5m}}",
         "E0203", "the message alone"),
        (HOOK + N + ", late: {when: x.n > 1, max_age: 5s}}", "E0203", "not younger"),
        (HOOK + N + ", heartbeat: 30d}", "E0203", "between 1ms and 7d"),
        (HOOK + "fields: {n: {type: price}}, dedupe: {by: n, within: 1h}}", "E0203", "needs `of`"),
        (HOOK + "fields: {n: {type: price, of: eth}}}", "E0204", "no market is named `eth`"),
        (HOOK + "fields: {n: {type: enum}}}", "E0203", "needs `values`"),
        (HOOK + "fields: {n: {type: nunber}}}", "E0202", "no type is named"),
        (HOOK + "fields: {n: {type: text, unit: bps}}}", "E0203", "`unit` is"),
        (HOOK + "fields: {n: {type: number}}, target: {a: 1}}", "E0203", "exactly one `enum`"),
        (HOOK + N + ", ips: [10.0.0.300]}", "E0203", "is no address"),
        ("{type: webhook}", "E0203", "lacks `listen`, `auth`, `fields`, `max_age`"),
        ("{type: webhok}", "E0202", "did you mean `webhook`?"),
        ("{type: webhook, listen: {host: 0.0.0.0, port: 80, path: /x}, auth: {token: {env: T}},"
         " max_age: 1m, " + N + "}", "E0203", "nothing is encrypted there"),
        ("{type: webhook, listen: {port: 80, path: /x}, auth: {token: {env: T},"
         " hmac_sha256: {secret: {env: S}}}, max_age: 1m, " + N + "}", "E0203", "is either"),
        ("{type: rest, url: 'http://e.invalid/', every: 30s, max_age: 1m}",
         "E0203", "is not encrypted"),
        ("{type: rest, url: 'https://e.invalid/', every: 10ms, max_age: 1m}",
         "E0203", "at least 1s"),
        ("{type: telegram, token: {env: T}, chats: [1], pattern: '(', max_age: 1m,"
         " fields: {n: {type: number}}}", "E0203", "no regular expression"),
        ("{type: telegram, token: {env: T}, chats: [1], pattern: '(?P<m>a)', max_age: 1m,"
         " fields: {n: {type: number}}}", "E0204", "has no group `n`"),
        ("{type: llm, base_url: 'https://e.invalid', model: m, about: nothing, max_age: 1m,"
         " ready: sentiment}", "E0204", "no source and no signal"),
        ("{type: llm, base_url: 'https://e.invalid', model: m, about: x, max_age: 1m}",
         "E0203", "lacks `prompt`, `answer`"),
        ("{type: schedule, cron: '0 8 * *'}", "E0203", "five fields"),
        ("{type: schedule, cron: '0 8 1 * MON'}", "E0203", "ambiguous"),
        ("{type: schedule, cron: '0 8 * * *', zone: Mars/Base}", "E0203", "no time zone"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_words(source: str, code: str, words: str) -> None:
    checked = load(with_source(source), environ={})
    assert checked.plan is None
    assert code in {d.code for d in checked.findings}
    assert words in as_text(checked)


@pytest.mark.parametrize(
    ("rule", "code", "words"),
    [
        ("trigger: y", "E0204", "no source is named `y`"),
        ("trigger: {zone: UTC}", "E0203", "a `source` or a `cron` time"),
        ("trigger: {cron: '61 8 * * *'}", "E0203", "is no minute"),
        ("trigger: {cron: '0 8 * * *'}\n    for: 3s", "E0203", "a trigger is an instant"),
        ("when: x.n > 1", "E0405", "does not start it"),
        ("when: x.m > 1\n    trigger: x", "E0304", "its fields: n"),
        ("when: x > 1\n    trigger: x", "E0305", "take a field: n"),
    ],
)
def test_a_mistake_in_a_trigger_is_told_in_words(rule: str, code: str, words: str) -> None:
    checked = load(with_source(HOOK + N + "}", rule), environ={})
    assert checked.plan is None
    assert code in {d.code for d in checked.findings}
    assert words in as_text(checked)


def test_a_calendar_may_be_a_parameter() -> None:
    """So that one file buys on Mondays, and at once where somebody wants to see it."""
    text = with_source("{type: schedule, cron: '* * * * *'}", "trigger: {cron: params.at}")
    text += "params: {at: {type: text, default: '0 8 * * MON'}, n: {type: number, default: 1}}\n"

    def cron(**sets: str) -> str:
        checked = load(text, environ={}, sets=sets)
        assert checked.plan is not None, as_text(checked)
        options = checked.plan.sources["r.cron"].options
        assert isinstance(options, SchedulePlan)
        return options.cron

    assert cron() == "0 8 * * MON"
    assert cron(at="*/5 * * * *") == "*/5 * * * *"
    wrong = load(text, environ={}, sets={"at": "soon"})
    assert wrong.plan is None and "five fields are needed" in as_text(wrong)
    for other in ("params.nothing", "params.n"):
        checked = load(text.replace("params.at", other), environ={})
        assert checked.plan is None and other.split(".")[1] in as_text(checked)


@pytest.mark.parametrize("key", ["key: sk-abcdefabcdef", "token: abc-def-ghi"])
def test_a_secret_of_a_source_is_masked(key: str) -> None:
    source = "{type: llm, base_url: 'https://e.invalid', model: m, about: x, max_age: 1m, "
    shown = as_text(load(with_source(source + key + "}"), environ={}))
    assert "E0205" in shown and key.split(": ")[1] not in shown


def test_an_unused_source_is_told() -> None:
    checked = load(with_source(HOOK + N + "}", "when: btc.bid > 0"), environ={})
    assert "source `x` is used by nothing" in as_text(checked)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("0 8 * * MON", ("0", "8", "*", "*", "mon")),
        ("*/15 9-17/4 1,15 jan-mar *", ("0,15,30,45", "9,13,17", "1,15", "1,2,3", "*")),
        ("0 0 * * 0", ("0", "0", "*", "*", "sun")),
        ("0 0 * * 7", ("0", "0", "*", "*", "sun")),
        ("0 0 * * 1-5", ("0", "0", "*", "*", "mon,tue,wed,thu,fri")),
        ("5/20 * * * *", ("5,25,45", "*", "*", "*", "*")),
    ],
)
def test_cron_is_read_as_cron_reads_it(text: str, fields: tuple[str, ...]) -> None:
    cron = parse_cron(text)
    assert (cron.minute, cron.hour, cron.day, cron.month, cron.weekday) == fields


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
             "a * * * *", "5-1 * * * *", "*/0 * * * *", "1-2-3 * * * *", "@daily", "*-3 * * * *"],
)  # fmt: skip
def test_what_is_no_cron_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cron(text)


def test_a_key_that_no_source_has_is_answered_with_those_of_its_type() -> None:
    text = with_source(HOOK + N + ", adress: x}", "trigger: x")
    (found,) = (d for d in load(text).findings if d.code == "E0201")
    note = found.notes[0]
    assert note.startswith("its keys: ") and "listen" in note and "senders" not in note


@pytest.mark.parametrize(
    ("pattern", "hours"),
    [
        (r"^(?P<x>(a+)+)$", True), (r"(?:\s*\w+)*!", True), (r"(?:a|b+){2,5}", True),
        (r"(\w+a)*", True), (r"(?=(a+)+)b", True), (r"(.*,)*", True),
        (r"(?P<a>LONG|SHORT) (?P<s>\w+)(?: stop (?P<n>[0-9.]+(?:e\d+)?))?", False),
        (r"(?:TP\d+: [\d.]+\n)*", False), (r"(?:\w+=\d+;)+", False), (r"(?:a{1,3})+", False),
    ],
)  # fmt: skip
def test_patterns_that_a_text_can_keep_busy_are_known(pattern: str, hours: bool) -> None:
    assert endless(pattern) is hours
