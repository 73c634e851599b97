"""Instruments that `runner learn` asked an exchange for, beside the catalogue that ships.

One JSON file of the user: `$RUNNER_INSTRUMENTS`, else `runner/instruments.json` below
`$XDG_DATA_HOME` or `~/.local/share`. By type and symbol it holds a row as the catalogue's, the day
and what was asked. It stands over the catalogue: it is newer, and its owner asked for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from runner.base.errors import WorldError

Row = dict[str, str]
"""`row`, `date`, `source`"""


def place(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file; it need not exist."""
    if environ.get("RUNNER_INSTRUMENTS"):
        return Path(environ["RUNNER_INSTRUMENTS"]).expanduser()
    base = environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "runner" / "instruments.json"


def find(exchange_type: str, symbol: str) -> Row | None:
    """Return what was learned of a symbol. WorldError when the file cannot be understood."""
    return _content(place()).get(exchange_type, {}).get(symbol)


def keep(exchange_type: str, rows: Mapping[str, Row]) -> Path:
    """Add rows to the file, replacing older ones; return the file."""
    file = place()
    content = {name: dict(found) for name, found in _content(file).items()}
    content.setdefault(exchange_type, {}).update(rows)
    draft = file.with_name(file.name + ".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        draft.replace(file)
    except OSError as error:
        raise WorldError(f"cannot write {file}: {error.strerror}") from error
    _content.cache_clear()
    return file


@lru_cache(maxsize=4)
def _content(file: Path) -> dict[str, dict[str, Row]]:
    try:
        content: dict[str, dict[str, Row]] = json.loads(file.read_text(encoding="utf-8"))
        for row in (row for found in content.values() for row in found.values()):
            if not all(isinstance(row[key], str) for key in ("row", "date", "source")):
                raise ValueError("a row is not made of texts")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WorldError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise WorldError(f"{file} is damaged ({error}); delete it and learn anew") from error
    return content
