"""Our own bug: a redacted traceback goes to a file, not over the user's screen."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path

from runner import __version__
from runner.base.secret import redact


def write_report(error: BaseException) -> Path:
    """Write the traceback of `error`, without secrets, and return the file."""
    text = "".join(traceback.format_exception(error))
    head = f"runner {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
    command = " ".join(sys.argv[1:])
    descriptor, name = tempfile.mkstemp(prefix="runner-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(redact(f"{head}arguments: {command}\n\n{text}"))
    return Path(name)
