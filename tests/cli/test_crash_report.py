"""Our own bugs: exit 70, a report in a file, and no secret in it nor on the screen."""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from pathlib import Path

import pytest

from runner.base.secret import Secret
from runner.cli import check
from runner.cli.main import main

CANARY = "canary-7f3a9c-of-the-crash"


def test_a_bug_is_exit_70_with_a_redacted_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = Secret(CANARY)

    def broken(*_: object) -> int:
        raise ZeroDivisionError(f"GET /x?signature=0123456789abcdef with {secret.reveal()}")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(check, "plan", broken)
    monkeypatch.setattr(sys, "argv", ["runner", "plan", f"{CANARY}.yaml"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 70
    said = capsys.readouterr()
    (report,) = tmp_path.glob("runner-bug-*.txt")
    assert str(report) in said.err and "Traceback" not in said.err
    written = report.read_text() + said.err + said.out
    assert "ZeroDivisionError" in written, "the report says what happened"
    for trace in (CANARY, CANARY[:13], base64.b64encode(CANARY.encode()).decode()[:12]):
        assert trace not in written
    assert not re.search(r"signature=[0-9a-f]{6}", written)
    assert report.stat().st_mode & 0o077 == 0
