"""Templates: what they may do, where diagnostics point, and that nothing gets out of the box."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.base.errors import UsageError
from runner.cli.check import render_template
from runner.lang.diagnostics import Findings
from runner.lang.render import as_github, as_json, as_sarif, as_text
from runner.spec import load
from runner.spec.template import render
from runner.spec.template_child import LONGEST_TEXT
from runner.spec.template_child import render as inside

TEMPLATE = """\
{# several alike #}
{%- set coins = ["BTC", "ETH"] -%}
version: 1
name: templated
exchanges:
  binance: {type: binance_usdm, network: testnet}
markets:
{%- for c in coins %}
  bin_{{ c|lower }}: {exchange: binance, symbol: {{ c }}USDT, streams: {book: {max_age: 1s}}}
{%- endfor %}
rules:
{%- for c in coins %}
  r_{{ c|lower }}:
    when: bin_{{ c|lower }}.book.spread > 0
    order: {market: bin_{{ c|lower }}, side: buy, size: {{ given.clip|default("500 USDT") }}}
{%- endfor %}
risk:
  max_order: 600 USDT
  max_position: {bin_btc: 1 BTC, bin_eth: 2 ETH}
  max_orders: {count: 40, per: 1m}
  max_daily_loss: 20 USDT
"""
ESCAPES = [
    "{{ ''.__class__ }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ [].__class__ }}",
    "{{ ().__class__.__bases__[0] }}", "{{ given.__class__ }}", "{{ given.__init__ }}",
    "{{ given['__class__'] }}", "{{ ''['__class__'] }}", "{{ ''|attr('__class__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}", "{{ [''|attr]|first }}",
    "{{ range.__globals__ }}", "{{ range.__code__ }}", "{{ range.__self__ }}",
    "{{ lipsum.__globals__['os'] }}", "{{ lipsum() }}", "{{ cycler('a') }}", "{{ joiner(',') }}",
    "{{ namespace(a=1) }}", "{{ dict(a=1) }}", "{{ config }}", "{{ request }}", "{{ self }}",
    "{{ self.__init__ }}", "{{ self._TemplateReference__context }}", "{{ environment }}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}", "{% macro m() %}{% endmacro %}{{ m.name }}",
    "{% macro m() %}{% endmacro %}{{ m._environment }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop.changed.__func__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop.cycle('a') }}{% endfor %}",
    "{% include '/etc/passwd' %}", "{% import 'os' as os %}", "{% extends 'a' %}",
    "{% from 'os' import environ %}", "{{ ''.format(1) }}", "{{ '{0.__class__}'.format(1) }}",
    "{{ 'a'.join(['b']) }}", "{{ '%s'|format(1) }}", "{{ [1]|map('upper')|list }}",
    "{{ [1].append(2) }}", "{{ {}.update(a=1) }}", "{{ {'a': 1}.pop('a') }}", "{{ 1|pprint }}",
    "{{ [1, 2]|random }}", "{{ 'a'|xmlattr }}", "{{ ''.mro() }}", "{{ 1 .real }}",
    "{{ {}.fromkeys }}", "{{ given.items.__self__ }}", "{{ given.get('PATH') }}",
]  # fmt: skip
GREEDY = [
    "{{ 'x' * 1000000000 }}", "{{ [0] * 1000000000 }}", "{{ 10 ** 1000000 }}",
    "{{ '%01000000000d' % 1 }}", "{{ range(1001)|list }}", "{{ range(10**12)|list }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for i in range(1000) %}" + "x" * 100 + "{% endfor %}",
]  # fmt: skip
SLOW = [
    "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "{% set a = 'xxxxxxxxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 60 + "{{ a|length }}",
    "{% macro m(n) %}{% for i in range(900) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endfor %}"
    "{% endmacro %}{{ m(5) }}",
    "{% for a in range(1000)|batch(1)|batch(1) %}{% for b in range(1000) %}"
    "{{ range(1000)|sum == 1 }}{% endfor %}{% endfor %}",
]  # fmt: skip


def write(folder: Path, text: str) -> Path:
    path = folder / "t.yaml.j2"
    path.write_text(text)
    return path


def test_a_template_becomes_a_strategy(tmp_path: Path) -> None:
    checked = load(write(tmp_path, TEMPLATE), sets={"clip": "200 USDT"}, environ={})
    assert checked.plan is not None, as_text(checked)
    assert list(checked.plan.markets) == ["bin_btc", "bin_eth"]
    assert "{" + "%" not in checked.plan.text and "200 USDT" in checked.plan.text
    again = load(checked.plan.text, environ={})
    assert again.plan is not None and again.plan.sha == checked.plan.sha


def test_a_diagnostic_names_the_rendered_line_and_the_line_of_the_template(tmp_path: Path) -> None:
    wrong = TEMPLATE.replace(".spread > 0", ".sprad > 0")
    told = as_text(load(write(tmp_path, wrong), environ={}))
    assert "t.yaml.j2 (rendered):10:" in told and "did you mean `spread`?" in told
    assert "from line 14 of the template: `when: bin_{{ c|lower }}.book.sprad > 0`" in told


def test_machines_are_sent_to_the_template(tmp_path: Path) -> None:
    wrong = TEMPLATE.replace(".spread > 0", ".sprad > 0").replace("version: 1", "verzion: 1")
    path = write(tmp_path, wrong)
    checked = load(path, environ={})
    body = json.loads(as_json([checked]))
    assert body["file"] == str(path)
    found = {(d["line"], d["column"], d["end_column"]): d for d in body["diagnostics"]}
    spread = "    when: bin_{{ c|lower }}.book.sprad > 0"
    assert found[14, 1, len(spread) + 1]["rendered"]["line"] in (10, 13)
    assert (3, 1, 8) in found, "a line that is in the template as it is keeps its columns"
    assert all("file" not in d for d in body["diagnostics"])
    sarif = json.loads(as_sarif([checked], "0"))["runs"][0]["results"]
    places = [each["locations"][0]["physicalLocation"] for each in sarif]
    assert {each["artifactLocation"]["uri"] for each in places} == {str(path)}
    assert {3, 14} <= {each["region"]["startLine"] for each in places}
    assert f"file={path},line=14,col=1" in as_github([checked])


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a: 1\nb: {{ nobody }}\n", "'nobody' is undefined", 2),
        ("a: 1\n{% for x in %}\n", "TemplateSyntaxError", 2),
        ("a: 1\n\nb: {{ 1 / 0 }}\n", "division by zero", 3),
        ("a: " + "x" * 5000, "at most 4096 bytes", 1),
        ("a: \x02" + "1\x03\n", "control character", 1),
    ],
)
def test_a_template_that_cannot_be_rendered_is_a_diagnostic(
    text: str, message: str, line: int, tmp_path: Path
) -> None:
    checked = load(write(tmp_path, text), environ={})
    (only,) = checked.findings
    assert checked.plan is None and only.code == "E0101"
    assert message in only.message and only.mark.line == line


def test_a_value_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    """A typing error in `--set` must not pass because the file is a template."""
    with pytest.raises(UsageError, match="no parameter `clpi`"):
        load(write(tmp_path, TEMPLATE), sets={"clpi": "200 USDT"}, environ={})


def test_braces_in_a_plain_file_point_to_templates(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("version: 1\nname: {{ x }}\n")
    (only,) = load(path, environ={}).findings
    assert only.code == "E0102" and "`.yaml.j2`" in only.help[0]


def test_render_prints_the_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render_template(str(write(tmp_path, "a: {{ given.x }}\n")), ["x=1"], None) == 0
    assert capsys.readouterr().out == "a: 1\n"
    assert render_template(str(write(tmp_path, "a: {{ given.y }}\n")), [], None) == 1
    with pytest.raises(UsageError):
        render_template(str(tmp_path / "t.yaml"), [], None)


@pytest.mark.parametrize("payload", ESCAPES)
def test_nothing_of_python_is_in_reach(payload: str) -> None:
    """Every way out is an error, or writes nothing but what the template itself says."""
    found = inside(payload, {"PATH": "/bin"})
    assert "error" in found, found


@pytest.mark.parametrize("payload", GREEDY)
def test_no_short_text_makes_a_long_one(payload: str) -> None:
    found = inside(payload, {})
    assert "error" in found and len(str(found)) < 500


def test_a_power_is_refused_for_what_it_is() -> None:
    assert "`**` is not there in a template" in inside("{{ 2 ** 3 }}", {})["error"]


def test_what_computes_for_long_is_killed() -> None:
    def told(payload: str) -> str:
        findings = Findings()
        assert render(payload, {}, findings) is None
        return next(iter(findings)).message

    with ThreadPoolExecutor(2) as pool:
        messages = list(pool.map(told, SLOW))
    assert all("takes too long" in m or "too much" in m for m in messages), messages


def test_the_child_has_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "hunter2")
    findings = Findings()
    assert os.environ["CANARY"] and render("{{ CANARY }}", {}, findings) is None
    assert "hunter2" not in next(iter(findings)).message


def test_the_result_is_bounded() -> None:
    row = "{% for i in range(800) %}" + "y" * 90 + "{% endfor %}"
    assert LONGEST_TEXT < 800 * 90 and "longer than" in inside(row, {})["error"]


def test_there_are_at_least_forty_payloads() -> None:
    assert len(ESCAPES) + len(GREEDY) + len(SLOW) >= 60
