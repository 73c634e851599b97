"""`runner tap` and `runner top`: a running strategy watched from another process."""

from __future__ import annotations

import json as json_
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.app.control import ask, control_path, follow
from runner.app.why.text import decision
from runner.base.errors import UsageError, WorldError
from runner.cli.operate import find
from runner.cli.spans import at_least
from runner.cli.top_text import screen
from runner.store.lock import alive

_CLEAR = "\x1b[H\x1b[J"


def tap(what: str, name: str | None, state: Path | None, *, limit: int | None, json: bool) -> int:
    """Print the values of a stream, a signal or a rule as they pass, until `limit` or Ctrl-C."""
    at_least(1, limit, "--limit")
    rows = follow(control_path(find(name, state).place), "tap", name=what)
    first = next(rows, {"ok": False, "error": "the strategy has ended"})
    if not first.get("ok"):
        raise UsageError(str(first.get("error")))
    count = 0
    try:
        for row in rows:
            if "error" in row:
                raise WorldError(row["error"])
            out = json_.dumps(row, ensure_ascii=False) if json else _line(row)
            sys.stdout.write(out + "\n")
            sys.stdout.flush()
            count += "dropped" not in row
            if limit is not None and count >= limit:
                break
    except KeyboardInterrupt:
        return 0
    finally:
        rows.close()
    return 0


def _line(row: Mapping[str, Any]) -> str:
    if "dropped" in row:
        return f"... {row['dropped']} rows were not read in time"
    if "rule" in row:
        return "\n".join(decision(row))
    at = row["at"][11:23]
    if "signal" in row:
        return f"{at}  {row['signal']}  {row['shown']}"
    values = "  ".join(f"{k} {'missing' if v is None else v}" for k, v in row["values"].items())
    state = "" if row["state"] == "live" else f"  {row['state']}"
    return f"{at}  {row['stream']}  seq {row['seq']}{state}  {values}"


def top(name: str | None, state: Path | None, *, every_s: float, once: bool) -> int:
    """Show a running strategy, drawn anew four times a second; once, where no terminal reads."""
    place = find(name, state).place
    path, shown = control_path(place), ""
    once = once or not sys.stdout.isatty()
    try:
        while True:
            try:
                shown = screen(ask(path, "snapshot"))
            except WorldError:
                if not shown or alive(place.lock):
                    raise
                sys.stdout.write(f"\n{place.name} has ended; `runner why` tells how\n")
                return 0
            sys.stdout.write(shown if once else _CLEAR + shown)
            sys.stdout.flush()
            if once:
                return 0
            time.sleep(every_s)
    except KeyboardInterrupt:
        return 0
