"""The program called in this process: as its command line, without the start of an interpreter."""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from unittest.mock import patch

from runner.cli.main import main


def called(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; return its exit code and what it printed.

    `environment` takes the place of this process's. What a program does to its process (its umask,
    its ways to take signals) is undone. A connection that was being opened when it ended is closed
    by the end of a process, without a word: here it is taken away as silently.
    """
    line = ["runner", *arguments]
    out, err = io.StringIO(), io.StringIO()
    given = dict(os.environ if environment is None else environment)
    with (
        _undone(),
        patch.dict(os.environ, given, clear=True),
        patch.object(sys, "argv", line),
        redirect_stdout(out),
        redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
        gc.collect()
    return subprocess.CompletedProcess(line, code, out.getvalue(), err.getvalue())


@contextmanager
def _undone() -> Iterator[None]:
    mask = os.umask(0o077)
    os.umask(mask)
    ways = {}
    if threading.current_thread() is threading.main_thread():  # no other can set them, or did
        ways = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        os.umask(mask)
        for each, way in ways.items():
            signal.signal(each, way)
