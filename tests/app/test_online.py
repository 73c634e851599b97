"""`validate --online` and `runner learn` against the simulator: what only the exchange can tell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.app.learn import learn
from runner.base.clock import SystemClock, VirtualClock
from runner.base.errors import UsageError, WorldError
from runner.cli.main import main
from runner.sim.launch import Running, launch
from runner.spec import catalogue, learned, load
from tests.app.simlab import TYPES, Lab


@pytest.fixture(scope="module")
def market() -> Iterator[Running]:
    with launch(seed=7, exchanges=list(TYPES.values()), dislocations=False) as running:
        yield running


@pytest.fixture
def lab(market: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    lab = Lab(market, tmp_path)
    lab.write()
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    yield lab
    market.clear()
    market.clock(0)


class Said:
    """Runs `runner validate --online` in this process."""

    def __init__(
        self, file: Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.file, self.patch, self.capsys = file, patch, capsys

    def __call__(self) -> tuple[int, str]:
        line = ["runner", "validate", "--online", str(self.file)]
        self.patch.setattr(sys, "argv", line)
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        out, err = self.capsys.readouterr()
        return code, err + out


@pytest.fixture
def said(lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(lab.folder / "churn.yaml", monkeypatch, capsys)


def test_a_file_that_the_exchanges_take_is_clean(said: Said) -> None:
    code, text = said()
    assert code == 0 and "churn.yaml: ok" in text, text


def test_every_absent_secret_is_named_at_its_exchange(
    said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIN_KEY")
    monkeypatch.setenv("BYB_SECRET", " ")
    code, text = said()
    assert code == 1 and text.count("error[E0601]") == 2
    assert "BIN_KEY is not set" in text and "BYB_SECRET is not set" in text
    assert "churn.yaml:6:" in text, "it points into the exchange's line"


def test_an_absent_secret_of_a_source_is_named_at_the_source(said: Said) -> None:
    said.file.write_text(
        said.file.read_text()
        + """
sources:
  voc:
    type: webhook
    listen: {port: 0, path: /voc}
    auth: {token: {env: NO_SUCH_VARIABLE}}
    dedupe: {by: id, within: 1h}
    max_age: 10s
    fields: {id: {type: text}}
"""
    )
    code, text = said()
    assert code == 1 and text.count("error[E0601]") == 1, text
    assert "NO_SUCH_VARIABLE" in text and "voc:" in text


def test_a_key_that_may_withdraw_or_is_wrong_is_refused(
    market: Running, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.fault("key_rights", exchange="binance_usdm", enableWithdrawals=True)
    monkeypatch.setenv("BYB_SECRET", "wrong-0123456789")
    code, text = said()
    assert code == 1 and text.count("error[E0602]") == 2, text
    assert "may withdraw" in text and "10004" in text and "wrong-0123456789" not in text


def test_a_clock_that_is_far_off_is_told(market: Running, said: Said) -> None:
    market.clock(20_000)
    code, text = said()
    assert code == 1 and text.count("error[E0603]") == 2 and "20.0 s" in text, text


def test_an_exchange_that_is_not_there_is_told_beside_what_the_other_says(
    market: Running, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIN_KEY")
    port = market.endpoints["bybit_linear"]["rest"].rsplit(":", 1)[1]
    said.file.write_text(said.file.read_text().replace(f":{port}", ":9"))
    code, text = said()
    assert code == 1 and text.count("error[E0604]") == 1 and text.count("error[E0601]") == 1


def test_a_symbol_that_the_exchange_does_not_list(said: Said) -> None:
    text = said.file.read_text().replace("BTCUSDT", "XRPUSDT").replace(" BTC", " XRP")
    said.file.write_text(text.replace("0.05 XRP", "500 XRP").replace("0.002 XRP", "20 XRP"))
    code, text = said()
    assert code == 1 and text.count("error[E0502]") == 2 and text.count("XRPUSDT") == 2


# -- symbols that the catalogue does not have


def test_what_was_learned_stands_over_the_catalogue_and_has_a_source(
    market: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_INSTRUMENTS", str(tmp_path / "known" / "instruments.json"))
    for kind in TYPES.values():
        place = {k: v for k, v in market.endpoints[kind].items() if k not in ("key", "secret")}
        clock = VirtualClock(wall=1_790_000_000 * 10**9)
        rows = asyncio.run(learn(kind, ["SOLUSDT", "ETHUSDT"], "custom", clock, place))
        learned.keep(kind, rows)
        catalogue.instrument.cache_clear()
        found = catalogue.instrument(kind, "SOLUSDT")
        assert found is not None and (found.base, found.quote) == ("SOL", "USDT")
        assert found.source.startswith("learned on 2026-09-21: GET http://127.0.0.1")
        assert found.tick > 0 and found.min_qty >= found.lot > 0 and found.max_qty > 0
    assert set(learned._content(learned.place())) == set(TYPES.values())
    monkeypatch.setenv("RUNNER_INSTRUMENTS", "/nonexistent/instruments.json")
    catalogue.instrument.cache_clear()
    found = catalogue.instrument("bybit_linear", "SOLUSDT")
    assert found is not None and found.source.startswith("catalogue")


def test_a_symbol_of_neither_is_told_with_the_command_and_then_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNNER_INSTRUMENTS", str(tmp_path / "instruments.json"))
    text = """
version: 1
name: new
exchanges: {byb: {type: bybit_linear, network: testnet}}
markets: {m: {exchange: byb, symbol: BRANDNEWUSDT, streams: {book: {max_age: 1s}}}}
signals: {s: m.mid}
"""
    (finding,) = [d for d in load(text, environ={}).findings if d.code == "E0502"]
    assert "runner learn bybit_linear BRANDNEWUSDT" in finding.help[0]
    row = {"row": "BRANDNEW USDT 0.1 1 1 - 5 -", "date": "2026-11-02", "source": "GET x"}
    learned.keep("bybit_linear", {"BRANDNEWUSDT": row})
    catalogue.instrument.cache_clear()
    assert not [d for d in load(text, environ={}).findings if d.code == "E0502"]
    catalogue.instrument.cache_clear()


def test_what_cannot_be_learned_is_one_message(
    market: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = dict(market.endpoints["bybit_linear"])
    del place["key"], place["secret"]

    def ask(symbol: str, url: str = "") -> None:
        given = place | ({"rest": url} if url else {})
        asyncio.run(learn("bybit_linear", [symbol], "custom", SystemClock(), given))

    with pytest.raises(WorldError, match="symbol invalid NOPEUSDT"):
        ask("NOPEUSDT")
    with pytest.raises(WorldError, match="cannot read the instruments"):
        ask("SOLUSDT", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="what it is quoted in"):
        ask("BTCPERP")
    damaged = tmp_path / "instruments.json"
    monkeypatch.setenv("RUNNER_INSTRUMENTS", str(damaged))
    for content in ("{", "[]", '{"bybit_linear": {"A": {"row": 1}}}'):
        damaged.write_text(content)
        learned._content.cache_clear()
        with pytest.raises(WorldError, match="damaged"):
            learned.find("bybit_linear", "A")
    learned._content.cache_clear()
