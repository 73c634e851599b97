"""validate, plan, explain, schema: exit codes, streams, formats, and what they must not load."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from runner.base.errors import UsageError
from runner.cli import check, pages
from runner.engine.limits import Mode
from runner.engine.rule import RuleState
from runner.lang.functions import FUNCTIONS
from runner.lang.pages import pages as code_pages
from runner.spec import schema
from tests.inprocess import called
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
ARB = str(ROOT / "strategies" / "arb.yaml")
DCA = str(ROOT / "strategies" / "dca.yaml")
BROKEN = str(ROOT / "tests" / "golden" / "broken.yaml")
WARNED = str(ROOT / "tests" / "golden" / "W0409.yaml")
PROGRAM = "import sys; from runner.cli.main import main; sys.exit(main())"
HEAVY = ("aiohttp", "picows", "uvloop", "websockets", "sqlite3", "apscheduler", "jsonschema")


def runner(*args: str, cwd: Path = ROOT, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-c", PROGRAM, *args]
    return subprocess.run(
        command, cwd=cwd, input=stdin, capture_output=True, env=env, timeout=PATIENCE_S
    )


# --- validate ------------------------------------------------------------------------------------


def test_a_clean_file_is_exit_0_and_says_so_on_standard_output() -> None:
    done = runner("validate", ARB)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"ok (2 rules, 2 markets)" in done.stdout


def test_a_broken_file_is_exit_1_with_diagnostics_on_standard_error() -> None:
    done = runner("validate", "broken.yaml", cwd=ROOT / "tests" / "golden")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == Path(BROKEN).with_suffix(".out").read_text()


def test_without_arguments_it_checks_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = called("validate")
    assert done.returncode == 0
    assert done.stdout.count(": ok") == len(list((ROOT / "strategies").glob("*.yaml")))


def test_time_zones_are_known_on_a_machine_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONTZPATH", "")
    text = (
        (ROOT / "strategies" / "dca.yaml").read_text().replace("zone: UTC", "zone: Europe/Berlin")
    )
    done = runner("validate", "-", stdin=text.encode())
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("option", ["--at", "--before", "--every"])
def test_a_span_that_cannot_be_read_names_its_option(option: str) -> None:
    done = called("test", ARB, "--from", "tests", option, "noon")
    assert done.returncode == 2 and f"{option} noon: write a duration" in done.stderr


def test_pages_name_only_commands_that_there_are() -> None:
    there = set(re.findall(r"^  ([a-z-]+)  ", called("--help").stdout, re.MULTILINE))
    texts = [schema.file().read_text(), *(str(page) for page in code_pages().values())]
    named = set(re.findall(r"`runner ([a-z-]+)", " ".join(texts)))
    assert len(there) > 20 and named and named <= there


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("streams", "code"),
    [(">&-", 0), (">&- 2>&- <&-", 0), (">/dev/full", 3), ("| exit 0", 0)],
    ids=str,
)
def test_closed_and_full_streams_are_no_bug_of_ours(
    streams: str, code: int, unbuffered: str
) -> None:
    line = f"{shlex.quote(sys.executable)} -c {shlex.quote(PROGRAM)} validate {ARB} {streams}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        ["/bin/sh", "-c", line], stderr=subprocess.PIPE, env=env, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == code and b"bug" not in done.stderr
    assert code == 0 or b"No space left" in done.stderr


@pytest.mark.parametrize("args", [("schema",), ("plan", ARB), ("test", DCA)], ids=lambda a: a[0])
def test_a_reader_that_leaves_is_no_error_and_no_good_verdict(args: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", PROGRAM, *args]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert (child.wait(PATIENCE_S), child.stderr.read()) == (141, b"")


def test_a_dash_reads_standard_input() -> None:
    done = runner("validate", "-", stdin=b"version: 1\n")
    assert done.returncode == 1 and b"<stdin>:1:1" in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("none.yaml",),
        ("--nonsense",),
        (ARB, "--set", "clap=1"),
        (ARB, "--set", "clip"),
        (ARB, "--format", "x"),
    ],
)
def test_a_wrong_command_line_is_exit_2(args: tuple[str, ...]) -> None:
    done = called("validate", *args)
    assert done.returncode == 2 and done.stderr and "Traceback" not in done.stderr


def test_warnings_fail_only_when_denied(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.validate([WARNED], "text", False, [], None) == 0
    assert "ok with warnings" in capsys.readouterr().out
    assert check.validate([WARNED], "text", True, [], None) == 1


@pytest.mark.parametrize("format", ["json", "sarif"])
def test_machine_formats_are_one_object_on_standard_output(
    format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.validate([BROKEN], format, False, [], None) == 1
    out, err = capsys.readouterr()
    assert err == "" and isinstance(json.loads(out), dict)


def test_github_annotations_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.validate([BROKEN], "github", False, [], None) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 19 and all(line.startswith("::") for line in lines)


def test_a_folder_without_strategies_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no \*\.yaml"):
        check.validate([str(tmp_path)], "text", False, [], None)


def test_a_file_that_is_not_text_is_a_diagnostic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    assert check.validate([str(tmp_path / "a.yaml")], "text", False, [], None) == 1
    assert "E0101" in capsys.readouterr().err


def test_validate_loads_nothing_that_only_a_run_needs() -> None:
    code = (
        "import sys\nfrom runner.cli.check import validate\n"
        f"assert validate([{ARB!r}], 'text', False, [], None) == 0\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=PATIENCE_S
    )
    assert done.stdout.decode().splitlines()[-1] == "[]", done.stderr


# --- plan ----------------------------------------------------------------------------------------


def test_plan_says_costs_limits_and_what_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.plan(ARB, [], None, False) == 0
    text = capsys.readouterr().out
    for part in (
        "spread-arb-btc",
        "no order can reach a mainnet",
        "btcusdt@bookTicker",
        "orderbook.50.BTCUSDT",
        "10bps bin + 11bps byb = 21bps; collars may take 6bps more",
        "0.02 BTC on bin",
        "excludes buy_bin_sell_byb",
        "fees of the catalogue",
        "positions stay",
    ):
        assert part in " ".join(text.split()), part


def test_plan_shows_the_parameters_in_force(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.plan(ARB, ["clip=800USDT"], None, False) == 0
    assert "clip = 800USDT" in capsys.readouterr().out


def test_plan_of_a_live_network_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "live.yaml"
    file.write_text(Path(ARB).read_text().replace("network: testnet", "network: live", 1))
    assert check.plan(str(file), [], None, False) == 0
    assert "LIVE" in capsys.readouterr().out


def test_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.plan(ARB, [], None, True) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["rules"]["sell_bin_buy_byb"]["excludes"] == ["buy_bin_sell_byb"]
    assert body["markets"]["bin"]["streams"]["book"] == {"max_age_ms": 250.0}


def test_plan_of_a_broken_file_is_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.plan(BROKEN, [], None, False) == 1
    out, err = capsys.readouterr()
    assert out == "" and "15 errors" in err


# --- explain, schema -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", list(code_pages()))
def test_every_code_is_explained(code: str) -> None:
    text = pages.page(code)
    assert text.startswith(code) and "wrong:" in text and "right:" in text


@pytest.mark.parametrize("state", [*RuleState, *(mode.shown for mode in Mode)])
def test_every_state_that_status_shows_is_explained(state: str) -> None:
    assert f"  {state:<10}  " in pages.page(state)
    assert f"  {state:<10}  " in pages.page("states")


def test_the_overview_names_only_topics_that_have_a_page() -> None:
    done = called("explain")
    assert done.returncode == 0
    rows = re.split(r"\n  (?=\w+  )", done.stdout)[1:]
    named = [word for row in rows for word in re.split(r"[,;:]\s+|\s{2,}|\n", row)]
    topics = {w for w in named if re.fullmatch(r"[a-zA-Z_0-9.]+|\w+ -?\d+", w)}
    topics -= {"keys", "functions", "values", "refusals", "codes"}
    assert len(topics) > 60 and {"E0403", "binance -2019", "price_walk", "clamp"} <= topics
    for topic in topics:
        assert pages.page(topic), topic


def test_every_key_is_explained() -> None:
    for path, part in schema.paths():
        if not path.endswith("*"):
            assert part["description"].split()[0] in pages.page(path), path


@pytest.mark.parametrize("name", [*FUNCTIONS, "entered"])
def test_every_function_is_explained(name: str) -> None:
    assert pages.page(name).startswith(f"{name}(")


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        ("rules.hedge.policy", "together | thin_first"),
        ("e0403", "leaves where it enters"),
        ("max_age", "missing"),
        ("book.imbalance", "bid_qty"),
        ("this.exit_return", "until"),
        ("stop", "needs this process"),
        ("carry_cost", "pays (+)"),
        ("sources", "* type"),
        ("do", "flatten"),
        ("use", "with"),
        ("breakers", "* when"),
        ("llm", "* model"),
        ("sources.webhook", "* listen"),
        ("telegram", "* pattern"),
        ("rss", "sources.*.format"),
        ("account.bybit.position.BTCUSDT", "whoever made it"),
    ],
)
def test_topics(topic: str, says: str) -> None:
    assert says in pages.page(topic)


@pytest.mark.parametrize("args", [("binance", "-2019"), ("bybit_linear", "110007")])
def test_codes_of_exchanges(args: tuple[str, ...]) -> None:
    done = called("explain", *args)
    assert done.returncode == 0 and "what to do:" in done.stdout


def test_an_unknown_topic_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean `zscore`"):
        pages.page("zscor")


def test_schema_prints_itself_or_one_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.schema(None, False) == 0
    assert json.loads(capsys.readouterr().out) == schema.root()
    assert check.schema("rules.trade.hedge.policy", False) == 0
    assert json.loads(capsys.readouterr().out)["default"] == "together"
    with pytest.raises(UsageError, match="no key"):
        check.schema("rules.nothing", False)


def test_schema_check_compares_the_folder_with_this_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert check.schema(None, True) == 0
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / schema.NAME).write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert check.schema(None, True) == 1
