"""Signals, sizings and params that nothing uses (W0409)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.lang.diagnostics import Mark
from runner.lang.nodes import Mapping, Node, Scalar, Sequence
from runner.spec.context import Context, section
from runner.spec.signals import names_in

_PARAM = re.compile(r"(?<![\w.])params\.(\w+)")
_DEFINING = ("signals.", "params.", "exchanges.", "markets.", "tests.")
_READING = re.compile(r"(rules|signals|sizing)\.|sources\.[^.]*\.about")
_NAME = re.compile(r"(?<![\w.])[a-z]\w*")
_PROSE = ("about", "tests")
_SIZING = re.compile(r"(?<![\w.])sizing\.(\w+)")


def check(root: Mapping, signal_texts: dict[str, str], ctx: Context) -> None:
    """Report names that no rule uses, directly or through a signal that one uses.

    By the texts, not the trees: an expression in error still uses what it names.
    """
    places = [(path, text) for path, text in _texts(root, "") if not path.startswith(_DEFINING)]
    texts = [text for path, text in places if not path.startswith("sizing.")]
    used_sizing = {name for text in texts for name in _SIZING.findall(text)}
    texts += [text for path, text in places if _named(path, "sizing", used_sizing)]
    used = _used_signals(texts, signal_texts)
    for entry in section(root, "signals"):
        name = entry.key.text
        if name not in used and not ctx.has_error(f"signals.{name}"):
            _report("signal", name, entry.key.mark, f"signals.{name}", ctx)
    for entry in section(root, "sizing"):
        name = entry.key.text
        if name not in used_sizing and not ctx.has_error(f"sizing.{name}"):
            _report("sizing", name, entry.key.mark, f"sizing.{name}", ctx)
    said = [text for path, text in _texts(root, "") if _READING.match(path)]
    read = {name for text in said for name in _NAME.findall(text)}
    for entry in section(root, "sources"):
        name = entry.key.text
        if name not in read and not ctx.has_error(f"sources.{name}"):
            _report("source", name, entry.key.mark, f"sources.{name}", ctx)
    params = {name for _, text in _texts(root, "") for name in _PARAM.findall(text)}
    for entry in section(root, "params"):
        name = entry.key.text
        if name not in params and not ctx.has_error(f"params.{name}"):
            _report("param", name, entry.key.mark, f"params.{name}", ctx)


def _texts(node: Node, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every value that may be an expression, in error or not."""
    if isinstance(node, Scalar):
        yield path, node.text
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _texts(item, path)
    else:
        for entry in node:
            # `about` is prose, but of a language model what it is told of
            if entry.key.text not in _PROSE or path.startswith("sources."):
                yield from _texts(entry.value, f"{path}.{entry.key.text}".lstrip("."))


def _named(path: str, section_: str, names: set[str]) -> bool:
    parts = path.split(".")
    return len(parts) > 1 and parts[0] == section_ and parts[1] in names


def _used_signals(texts: list[str], signal_texts: dict[str, str]) -> set[str]:
    used: set[str] = set()
    waiting = set().union(*(names_in(t) for t in texts)) & signal_texts.keys() if texts else set()
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting |= (names_in(signal_texts[name]) & signal_texts.keys()) - used
    return used


def _report(kind: str, name: str, mark: Mark, path: str, ctx: Context) -> None:
    ctx.add("W0409", f"{kind} `{name}` is used by nothing", mark, "", path)
