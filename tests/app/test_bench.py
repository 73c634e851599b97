"""`runner bench`, with counts so small that only the shape of a result is looked at."""

from __future__ import annotations

import platform

import msgspec
import pytest

from runner.app.bench import by_ccxt, doors, gate, journal, loopback, main, order, replay, traces
from runner.base.errors import UsageError

SAMPLE = {"n", "p50", "p95", "p99", "most"}


def test_every_twentieth_frame_sends_one_order() -> None:
    result = order.run(frames=400, warm_up=40)
    assert result["orders"] == 20
    assert result["frames_per_s"] > 0
    assert set(result["order_us"]) == SAMPLE and result["order_us"]["n"] == 20
    assert result["quiet_us"]["n"] == 380 and result["all_us"]["n"] == 400


def test_the_loopback_measures_ours_beside_two_clients_by_hand() -> None:
    for _ in range(20):  # a busy machine delays frames until their book is too old to trade on
        result = loopback.run(rounds=1, frames=100)
        assert result["triggers"] == 5
        if result["orders"]:
            break
    assert 0 < result["orders"] <= 5
    for name in ("ours_us", "hand_us", "hand_without_journal_us"):
        assert 0 < result[name]["n"] <= 5, name
    assert result["ratio"] > 0 and result["ratio_without_journal"] > 0


def test_the_doors_measure_messages_beside_ticks() -> None:
    for _ in range(20):  # see above: a frame behind which others wait fires nothing
        result = doors.run(messages=10, warm_up=1)
        assert result["messages"] == 10 and result["turned_away"] == 0
        if result["tick_us"]["n"] and result["message_us"]["n"]:
            break
    for name in ("message", "message_work", "accepted", "door", "message_far", "tick", "tick_far"):
        assert 0 < result[f"{name}_us"]["n"] <= 10, name
    assert result["accepted_us"]["p50"] < result["message_us"]["p50"]
    over = result["message_us"]["p99"] - result["tick_us"]["p99"]
    assert result["over_tick_p99_us"] == round(over, 1)


def test_the_bench_beside_ccxt_asks_for_ccxt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_ccxt, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install '\.\[conformance\]'"):
        main.run(["ccxt"], json=True, budget=None)


def test_replay_reads_what_it_has_written_and_never_fires() -> None:
    result = replay.run(tops=2_000, frames=2_000)
    assert result["tops_ratio"] > 0 and result["frames_ratio"] > 0
    assert result["frames_decoded"] == 2_000


def test_traces_are_paired_with_their_absence() -> None:
    result = traces.run(pairs=2, frames=400, tops=1_000)
    assert result["pairs"] == 2
    assert all(ratio > 0 for key, ratio in result.items() if key.endswith("_ratio"))


def test_the_journal_commits_groups_that_the_gate_approved() -> None:
    result = journal.run(groups=5, every_ns=100_000)
    assert result["commit_us"]["n"] == result["raw_us"]["n"] == 5


def test_the_gate_judges_one_entry_with_all_its_checks() -> None:
    result = gate.run(judgements=50)
    assert result["checks"] >= 18 and result["judge_us"]["n"] == 45


def test_a_table_names_the_targets_beside_the_figures() -> None:
    text = main.table("loopback", {"ratio": 1.4, "orders": 3})
    assert "1.40   (target: <= 1.5)" in text and text.count("target") == 1


def test_a_budget_fails_a_ratio_above_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"orders": 3, "ratio": 1.4, "ours_us": dict.fromkeys(SAMPLE, 1.5)}
    monkeypatch.setattr(main, "BENCHES", {"loopback": lambda: figures})
    assert main.run(["loopback"], json=True, budget=1.5) == 0
    told = msgspec.json.decode(capsys.readouterr().out)
    assert told.pop("interpreter") == main.interpreter()
    assert told == {"loopback": figures}
    assert main.run([], json=False, budget=1.3) == 1
    shown = capsys.readouterr()
    assert "above the budget 1.3" in shown.err
    assert "ours" in shown.out and "1.50" in shown.out
    assert shown.out.startswith(main.interpreter())
    figures["orders"] = 0
    assert main.run([], json=True, budget=9.0) == 1, "nothing measured is not a pass"


def test_it_names_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"CONFIG_ARGS": "'--prefix=/usr' '--enable-optimizations'"}
    monkeypatch.setattr("sysconfig.get_config_var", options.get)
    assert platform.python_version() in main.interpreter()
    assert main.interpreter().endswith(", --enable-optimizations")
    options.clear()
    assert "optimizations" not in main.interpreter()


def test_what_does_not_exist_is_not_measured() -> None:
    with pytest.raises(UsageError, match="no bench lopback"):
        main.run(["lopback"], json=False, budget=None)
    with pytest.raises(UsageError, match="loopback"):
        main.run(["journal"], json=False, budget=1.5)
