"""Secrets are resolved from references; what is missing is said once, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.app.credentials import resolve
from runner.base.errors import WorldError
from runner.spec.market_plan import ExchangePlan, Network
from runner.spec.parts import SecretRef


def exchange(name: str, **auth: SecretRef) -> ExchangePlan:
    return ExchangePlan(name=name, type="binance_usdm", network=Network.TESTNET, auth=auth)


def test_environment_and_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("s3cret-value\n")
    path.chmod(0o600)
    plans = {"bin": exchange("bin", key=SecretRef(env="BIN_KEY"), secret=SecretRef(file=str(path)))}
    warnings: list[str] = []
    got = resolve(plans, {"BIN_KEY": "k3y-value"}, warnings.append)["bin"]
    assert (got.key.reveal(), got.secret.reveal()) == ("k3y-value", "s3cret-value")
    assert warnings == [] and len(got.fingerprint) == 12 and "k3y" not in repr(got)


def test_all_that_is_missing_is_in_one_message(tmp_path: Path) -> None:
    plans = {
        "bin": exchange("bin", key=SecretRef(env="NO_KEY"), secret=SecretRef(env="NO_SECRET")),
        "byb": exchange("byb", key=SecretRef(file=str(tmp_path / "absent"))),
    }
    with pytest.raises(WorldError) as error:
        resolve(plans, {}, lambda text: None)
    text = str(error.value)
    assert all(word in text for word in ("NO_KEY", "NO_SECRET", "absent", "byb.auth.secret"))


def test_a_file_that_others_may_write_is_refused_and_one_they_may_read_is_warned_of(
    tmp_path: Path,
) -> None:
    path = tmp_path / "secret"
    path.write_text("value-of-it")
    plans = {"bin": exchange("bin", key=SecretRef(file=str(path)), secret=SecretRef(env="S"))}
    path.chmod(0o666)
    with pytest.raises(WorldError, match="others may write"):
        resolve(plans, {"S": "x-secret-x"}, lambda text: None)
    path.chmod(0o644)
    warnings: list[str] = []
    resolve(plans, {"S": "x-secret-x"}, warnings.append)
    assert len(warnings) == 1 and "others may read" in warnings[0]
