"""The program called in this process: as its command line, without the start of an interpreter."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from runner.cli.main import main


def called(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its exit code and what it printed. No run of a strategy: signals.

    `environment` takes the place of this process's.
    """
    line = ["runner", *arguments]
    out, err = io.StringIO(), io.StringIO()
    given = dict(os.environ if environment is None else environment)
    with (
        patch.dict(os.environ, given, clear=True),
        patch.object(sys, "argv", line),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
    return subprocess.CompletedProcess(line, code, out.getvalue(), err.getvalue())
