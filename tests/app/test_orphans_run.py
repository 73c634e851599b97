"""Open trades without a rule, in the running program: refused, held, adopted, closed first."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.base.errors import UsageError
from runner.cli.adopting import adoptions, read_fates
from runner.cli.replay import decide_again
from runner.sim.launch import launch
from runner.spec.rule_plan import Care
from tests.app.simlab import CHURN, TYPES, Lab

RENAMED = CHURN.replace("  churn:\n", "  fresh:\n").replace("> -10%", "> 10%")


def test_a_renamed_rule_and_its_open_trade(tmp_path: Path) -> None:
    with launch(
        seed=7, exchanges=list(TYPES.values()), dislocations=False, limit_factor=100, leverage=2
    ) as sim:
        lab = Lab(sim, tmp_path, hold="60s", on_stop="keep")
        child = lab.start()
        lab.until_trading(child)
        assert lab.stop(child)[0] == 0
        held = lab.positions()
        assert len(held) == 2
        lab.text = RENAMED

        code, report, err = lab.run("20s")
        assert code == 3 and lab.positions() == held
        for way in ("--adopt churn=NEW", "--close-orphans", "--hold-orphans"):
            assert way in err
        assert "the open trade of churn" in report["exit"]["reason"]
        code, _, err = lab.run("1s", "--adopt", "churn=nix")
        assert code == 2 and "there are fresh" in err

        child = lab.start("--hold-orphans")
        status = lab.until(child, "ready", lambda s: s["rules"]["fresh"]["state"] == "idle")
        kept = status["rules"]["churn"]
        assert (kept["orphan"], kept["state"]) == ("hold", "active")
        assert "no rule of the file: held" in lab.operate("status").stdout
        code, report, err = lab.stop(child)
        assert code == 0 and lab.positions() == held, err
        assert any("kept, by --hold-orphans" in note for note in report["unaccounted"])
        runs = sorted((tmp_path / "state" / "churn" / "runs").iterdir())
        assert decide_again(runs[-1], False) == 0, "a replay keeps the same trade"

        code, report, err = lab.run("1s", "--adopt", "churn=fresh")
        assert code == 0 and lab.positions() == held, err
        lab.text = CHURN

        child = lab.start("--close-orphans")
        lab.until(child, "closed", lambda s: s["rules"]["fresh"]["state"] == "done")
        lab.until_trading(child)
        code, report, err = lab.stop(child)
        assert report["rules"]["fresh"]["exits"] == 1 and report["rules"]["churn"]["entries"] >= 1


def test_both_forms_of_adopt() -> None:
    assert adoptions(["--adopt", "a=b", "f.yaml"]) == ["--adopt-trade", "a=b", "f.yaml"]
    assert adoptions(["--adopt", "f.yaml"]) == ["--adopt", "f.yaml"]
    assert adoptions(["f.yaml", "--adopt=x"]) == ["f.yaml", "--adopt-trade", "x"]
    assert adoptions(["--adopt", "--adopt", "a.orphan=b"]) == [
        "--adopt", "--adopt-trade", "a.orphan=b",
    ]  # fmt: skip
    fates = read_fates(["a.orphan=b"], close=False, hold=True)
    assert fates.adopt == (("a.orphan", "b"),) and fates.care is Care.HOLD
    for texts, close in ((["x"], False), (["a=b", "c=b"], False), (["a=b", "a=c"], False)):
        with pytest.raises(UsageError):
            read_fates(texts, close=close, hold=False)
    with pytest.raises(UsageError, match="exclude each other"):
        read_fates([], close=True, hold=True)
