"""Did you mean: the nearest of a few known names."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 48
"""characters; a longer word is no typing error, and comparing it would cost"""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that `word` was probably meant to be, or None."""
    if not word or len(word) > LONGEST:
        return None
    best: tuple[float, str] | None = None
    folded = word.lower().replace("-", "_")
    names = list(known)
    for name in names:
        cost = _distance(folded, name.lower())
        if cost <= max(1, len(name) // 3) and (best is None or cost < best[0]):
            best = (cost, name)
    if best is not None:
        return best[1]
    longer = (n for n in names if len(folded) >= 3 and n.lower().startswith(folded))
    return next(longer, None)


def hint(word: str, known: Iterable[str]) -> str:
    """Return the label ``did you mean `x`?`` or an empty text."""
    found = nearest(word, known)
    return f"did you mean `{found}`?" if found else ""


def _distance(a: str, b: str) -> int:
    """Count insertions, deletions, replacements and swaps of neighbours (optimal alignment)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
