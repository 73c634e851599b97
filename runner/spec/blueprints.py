"""`use`: markets, signals, sizes and rules of another file, under a prefix.

Theory of operation. A blueprint is a file with typed `inputs:`. Its text is put behind that of the
strategy, after a line that names it, so that every place of both has a line of its own, a run's
record holds all it was made of, and a replay needs no other file. Its entries join the strategy's
sections as `prefix_name`; in its expressions names of its own get the prefix, an input that is a
market or an exchange becomes the one given, and `inputs.x` a param: `params.prefix_x`, or the
strategy's own param when it is given as `params.y`.

A blueprint cannot use another, so there are no cycles; its path is relative and stays in the folder
above the strategy's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.lang.diagnostics import Diagnostic, Findings, Mark
from runner.lang.nodes import Entry, Mapping, Node, Scalar, Sequence
from runner.lang.reader import decode, read
from runner.lang.render import Part, Source
from runner.spec.for_each import write_out
from runner.spec.schema import Schema, resolved
from runner.spec.schema import root as whole_schema
from runner.spec.shape import choose
from runner.spec.suggest import hint

MOST = 20
LARGEST = 65_536
MARK = "# -- blueprint "
"""begins the line between a strategy and a blueprint in their common text"""
DIVIDES = f"a line begins with `{MARK.strip()}`, which divides files"
_KEYS = frozenset({"version", "name", "about", "inputs", "markets", "signals", "sizing", "rules"})
_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,19}\Z")
_WORDS = re.compile(r"\"[^\"]*\"|'[^']*'|(?<![\w.])[A-Za-z_]\w*(?:\.\w+)*(?!\w|\s*\()")
_SPACES = {"position": "markets", "account": "exchanges", "rule": "rules", "sizing": "sizing"}


@dataclass(slots=True)
class Names:
    """What names of a blueprint become."""

    markets: dict[str, str] = field(default_factory=dict)
    exchanges: dict[str, str] = field(default_factory=dict)
    signals: dict[str, str] = field(default_factory=dict)
    sizing: dict[str, str] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    """value inputs, by the params that hold them: `params.pair_enter`"""

    def of(self, kind: str) -> dict[str, str]:
        """Return the names of a section."""
        found: dict[str, str] = getattr(self, kind, {})
        return found

    def written(self, text: str) -> str:
        """Rewrite an expression."""
        return _WORDS.sub(lambda word: self._word(word.group()), text)

    def _word(self, word: str) -> str:
        first, *more = word.split(".")
        if first == "inputs" and more:
            return ".".join([self.inputs.get(more[0], f"inputs.{more[0]}"), *more[1:]])
        if first in _SPACES and more:
            names = self.of(_SPACES[first])
            return ".".join([first, names.get(more[0], more[0]), *more[1:]])
        name = self.markets.get(first) or self.signals.get(first) or first
        return ".".join([name, *more])


def divided(text: str) -> bool:
    """Return whether a file has a line that would divide it in the record of a run."""
    return text.startswith(MARK) or f"\n{MARK}" in text


def split(text: str) -> tuple[str, dict[str, str]]:
    """Take a common text apart: the strategy's, and the blueprints' by their paths."""
    if f"\n{MARK}" not in text:
        return text, {}
    main, *parts = text.split(f"\n{MARK}")
    found = dict(part.split("\n", 1) for part in parts if "\n" in part)
    return main + "\n", found


def join(root: Mapping, source: Source, folder: Path | None, findings: Findings) -> Source:
    """Put the blueprints that a strategy uses into its sections; return the common text.

    `folder` is the strategy's; None: the blueprints are part of the text that was given.
    """
    if "use" not in root:
        return source
    joiner = _Joiner(root, source, folder, findings)
    joiner.run(root.entries.pop("use"))
    return joiner.source


def tell_use(findings: Findings, source: Source) -> None:
    """Say of every finding in a blueprint where it is used."""
    findings.items[:] = [
        replace(d, notes=(*d.notes, part.note)) if (part := source.part(d.mark.line)) else d
        for d in findings.items
    ]


class _Joiner:
    def __init__(
        self, root: Mapping, source: Source, folder: Path | None, findings: Findings
    ) -> None:
        self._root = root
        self._folder = folder
        self._findings = findings
        main, self._known = split(source.text) if folder is None else (source.text, {})
        self.source = replace(source, text=main)
        self._offsets: dict[str, int] = {}

    def run(self, use: Entry) -> None:
        """Join each blueprint of the section."""
        items = use.value.items if isinstance(use.value, Sequence) else [use.value]
        if len(items) > MOST:
            self._fault("E0203", f"a strategy uses at most {MOST} blueprints", use.key.mark)
            return
        for item in items:
            if isinstance(item, Mapping) and not item.bad:
                self._one(item)
            else:
                self._fault("E0203", "`use` takes a file and what it is given", use.key.mark, "",
                            "use: {file: ../blueprints/pair.yaml, with: {left: bin}}")  # fmt: skip

    def _one(self, item: Mapping) -> None:
        for entry in item:
            if entry.key.text not in ("file", "with", "prefix"):
                self._fault("E0201", f"unknown key `{entry.key.text}`", entry.key.mark)
        at = item.get("file")
        if not isinstance(at, Scalar) or not at.text:
            self._fault("E0203", "`use` needs the `file` of a blueprint", item.mark)
            return
        prefix = item.get("prefix")
        name = prefix.text if isinstance(prefix, Scalar) else Path(at.text).name.split(".")[0]
        if _PREFIX.match(name) is None:
            self._fault("E0203", f"`{name[:40]}` is no prefix", at.mark, "", "prefix: pair")
            return
        blueprint = self._read(at, item.mark.line)
        if blueprint is not None:
            self._merge(item, blueprint, name)

    # -- the file

    def _read(self, at: Scalar, line: int) -> Mapping | None:
        text = self._text(at)
        if text is None:
            return None
        if divided(text):
            self._fault("E0203", DIVIDES, at.mark)
            return None
        if at.text not in self._offsets:
            joined = f"{self.source.text.rstrip()}\n{MARK}{at.text}\n"
            self._offsets[at.text] = first = joined.count("\n")
            note = f"used by line {line} of {self.source.name}"
            part = Part(first + 1, str(Path(self.source.name).parent / at.text), note)
            self.source = replace(self.source, text=joined + text, parts=(*self.source.parts, part))
        node = read("\n" * self._offsets[at.text] + text, self._findings)
        if node is None or not isinstance(node, Mapping):
            return None
        for entry in node:
            if entry.key.text not in _KEYS:
                label = hint(entry.key.text, _KEYS)
                self._fault(
                    "E0201", f"a blueprint has no `{entry.key.text}`", entry.key.mark, label
                )
        write_out(node, self._findings)
        return node

    def _text(self, at: Scalar) -> str | None:
        if at.text in self._known:
            return self._known[at.text]
        if self._folder is None:
            self._fault("E0204", f"`{at.text[:60]}` cannot be found from here", at.mark,
                        "there is no file for it to be relative to")  # fmt: skip
            return None
        path = Path(at.text)
        above = self._folder.resolve().parent
        target = (self._folder / path).resolve()
        if path.is_absolute() or not target.is_relative_to(above) or path.suffix != ".yaml":
            self._fault("E0204", f"`{at.text[:60]}` is no path of a blueprint", at.mark,
                        "relative, at most one folder up, *.yaml")  # fmt: skip
            return None
        try:
            data = target.read_bytes()
        except OSError as error:
            self._fault("E0204", f"{at.text}: {error.strerror}", at.mark)
            return None
        if len(data) > LARGEST:
            self._fault("E0203", f"a blueprint has at most {LARGEST} bytes", at.mark)
            return None
        return decode(data, self._findings)

    # -- joining

    def _merge(self, item: Mapping, blueprint: Mapping, prefix: str) -> None:
        names = Names()
        for section in ("markets", "signals", "sizing", "rules"):
            for entry in _entries(blueprint.get(section)):
                names.of(section)[entry.key.text] = f"{prefix}_{entry.key.text}"
        if not self._inputs(item, blueprint, prefix, names):
            return
        schema = whole_schema()["properties"]
        for section in ("markets", "signals", "sizing", "rules"):
            shape = resolved(schema[section]).get("additionalProperties", {})
            for entry in _entries(blueprint.get(section)):
                value = _renamed(entry.value, shape, names)
                self._put(section, names.of(section)[entry.key.text], entry.key, value)

    def _put(self, section: str, name: str, key: Scalar, value: Node) -> None:
        node = self._root.get(section)
        if node is None:
            node = Mapping(key.mark)
            heading = replace(key, text=section, value=section)
            self._root.entries[section] = Entry(heading, node)
        if not isinstance(node, Mapping):
            return
        if name in node:
            self._fault("E0203", f"`{section}.{name}` is there already", key.mark)
            return
        node.entries[name] = Entry(replace(key, text=name, value=name), value)

    def _inputs(self, item: Mapping, blueprint: Mapping, prefix: str, names: Names) -> bool:
        """Bind the inputs; whether all that must be given are."""
        given = {e.key.text: e for e in _entries(item.get("with"))}
        missing = []
        for entry in _entries(blueprint.get("inputs")):
            name = entry.key.text
            kind = entry.value.get("type") if isinstance(entry.value, Mapping) else None
            word = kind.text if isinstance(kind, Scalar) else ""
            value = given.pop(name, None)
            if word in ("market", "exchange"):
                if value is None:
                    missing.append(name)
                elif isinstance(value.value, Scalar):
                    self._refer(f"{word}s", name, value.value, names)
            elif isinstance(entry.value, Mapping):
                if value is None and "default" not in entry.value:
                    missing.append(name)
                else:
                    self._param(prefix, entry, entry.value, word, value, names)
        for name, entry in given.items():
            label = hint(name, [e.key.text for e in _entries(blueprint.get("inputs"))])
            self._fault("E0201", f"the blueprint has no input `{name}`", entry.key.mark, label)
        if missing:
            listed = ", ".join(f"`{name}`" for name in missing)
            self._fault("E0203", f"the blueprint needs {listed}", item.mark, "with: {...}")
        return not missing

    def _refer(self, kind: str, name: str, value: Scalar, names: Names) -> None:
        """Let an input be a market or an exchange of the strategy."""
        there = [entry.key.text for entry in _entries(self._root.get(kind))]
        if value.text not in there:
            self._fault("E0204", f"no {kind[:-1]} is named `{value.text}`", value.mark,
                        hint(value.text, there))  # fmt: skip
        names.of(kind)[name] = value.text

    def _param(
        self, prefix: str, key: Entry, node: Mapping, kind: str, given: Entry | None, names: Names
    ) -> None:
        """Let a value be a param of the strategy: its own, or one under the prefix."""
        name = key.key.text
        value = given.value if given is not None else None
        if isinstance(value, Scalar) and value.text.startswith("params."):
            names.inputs[name] = value.text
            own = value.text.removeprefix("params.")
            params = {e.key.text: e.value for e in _entries(self._root.get("params"))}
            param = params.get(own)
            has = param.get("type") if isinstance(param, Mapping) else None
            if isinstance(has, Scalar) and has.text != kind:
                self._fault("E0316", f"`{name}` is {kind}, `{value.text}` is {has.text}",
                            value.mark)  # fmt: skip
            elif has is None:
                self._fault("E0304", f"no param is named `{own}`", value.mark, hint(own, params))
            return
        names.inputs[name] = f"params.{prefix}_{name}"
        entries = dict(node.entries)
        if given is not None:
            entries["default"] = Entry(replace(given.key, text="default", value="default"),
                                       given.value)  # fmt: skip
        self._put("params", f"{prefix}_{name}", key.key, replace(node, entries=entries))

    def _fault(self, code: str, message: str, mark: Mark, label: str = "", help: str = "") -> None:
        more = (help,) if help else ()
        self._findings.add(Diagnostic(code, message, mark, label, "use", help=more))


def _entries(node: Node | None) -> Iterator[Entry]:
    if isinstance(node, Mapping):
        yield from (entry for entry in node if not entry.key.bad)


def _renamed(node: Node, schema: Schema, names: Names) -> Node:
    """Return a node of a blueprint with the names that stand in its expressions rewritten."""
    shape = choose(schema, node)
    if isinstance(node, Scalar):
        kind = shape.get("x-reference")
        if kind is not None:
            return _said(node, names.of(kind).get(node.text, node.text))
        return _said(node, names.written(node.text)) if "x-expr" in shape else node
    if isinstance(node, Sequence):
        return replace(node, items=[_renamed(i, shape.get("items", {}), names) for i in node.items])
    below = shape.get("properties", {})
    extra = shape.get("additionalProperties")
    extra = extra if isinstance(extra, dict) else {}
    entries = {
        e.key.text: replace(e, value=_renamed(e.value, below.get(e.key.text, extra), names))
        for e in node
    }
    return replace(node, entries=entries)


def _said(node: Scalar, text: str) -> Scalar:
    if text == node.text:
        return node
    return replace(node, text=text, value=text, source=replace(node.source, text=text, exact=False))
