"""Pages of diagnostics: `codes.md` holds one per code, read when `explain` asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from textwrap import dedent

_FILE = Path(__file__).with_name("codes.md")
_HEAD = re.compile(r"^## ([EW]\d{4}) (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """What `runner explain CODE` says."""

    code: str
    title: str
    cause: str
    bad: str
    good: str


@lru_cache(maxsize=1)
def pages() -> dict[str, Page]:
    """Return all pages by code, in the order of the codes."""
    parts = _HEAD.split(_FILE.read_text(encoding="utf-8"))[1:]
    return {
        c: _page(c, t, body) for c, t, body in zip(*(parts[i::3] for i in range(3)), strict=True)
    }


def _page(code: str, title: str, body: str) -> Page:
    cause, rest = body.split("\nbad:\n", 1)
    bad, good = rest.split("\ngood:\n", 1)
    return Page(code, title, cause.strip(), dedent(bad).strip("\n"), dedent(good).strip("\n"))
