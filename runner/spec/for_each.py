"""`for_each`: one entry of the file for each of several values, written out before any check.

`for_each: {base: [BTC, ETH]}` on a market or a rule makes one of each, on the file one of every
entry whose name holds `{base}`. `{base}` stands in names and symbols: beside a small letter or `_`
it is written small (`bin_{base}` is `bin_btc`), elsewhere as given (`{base}USDT`, `0.02 {base}`).
Nodes keep their places, so that a diagnostic points at the line that everything came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from runner.lang.diagnostics import Diagnostic, Findings, Mark
from runner.lang.nodes import Entry, Mapping, Node, Scalar, Sequence
from runner.lang.reader import MOST_NODES

MOST_VALUES = 50
MOST_TOGETHER = 200
_KEY = "for_each"
_SECTIONS = ("markets", "rules")
_VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,19}\Z")
_VALUE = re.compile(r"[A-Za-z0-9]{1,20}\Z")
_HOLE = re.compile(r"\{([a-z][a-z0-9_]{0,19})\}")
_PROSE = frozenset({"about"})
"""what is not substituted: there is no text interpolation"""

Values = dict[str, list[str]]
Chosen = dict[str, str]


def write_out(root: Mapping, findings: Findings) -> bool:
    """Replace what stands for several entries by these; return whether there was any.

    Mistakes are E0203, the file goes on.
    """
    writer = _Writer(findings)
    writer.file(root)
    return writer.used


def fold_places(findings: Findings) -> None:
    """Let what is said several times of one place of the file count as one mistake."""
    findings.items[:] = [
        d if d.cause else replace(d, cause=f"{d.code} {d.mark}") for d in findings.items
    ]


class _Writer:
    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._made = 0
        self.used = False

    def file(self, root: Mapping) -> None:
        """Write out the file's own `for_each`, then those of markets and rules."""
        values = self._values(root, _KEY)
        if values:
            for entry in list(root):
                root.entries[entry.key.text] = replace(entry, value=self._all(entry.value, values))
        for section in _SECTIONS:
            node = root.get(section)
            if isinstance(node, Mapping):
                self._section(node, section)

    def _section(self, section: Mapping, path: str) -> None:
        if not any(isinstance(e.value, Mapping) and _KEY in e.value for e in section):
            return
        entries: dict[str, Entry] = {}
        for entry in section:
            name, value = entry.key.text, entry.value
            values = self._values(value, f"{path}.{name}.{_KEY}")
            made = [entry]
            if values:
                made = list(self._entries(entry, values, list(values)))
            for each in made:
                self._put(entries, each, path)
        section.entries = entries

    def _all(self, node: Node, values: Values) -> Node:
        """Write out every entry below whose name holds a variable of the file."""
        if isinstance(node, Sequence):
            return replace(node, items=[self._all(item, values) for item in node.items])
        if not isinstance(node, Mapping):
            return node
        entries: dict[str, Entry] = {}
        for entry in node:
            named = [name for name in _HOLE.findall(entry.key.text) if name in values]
            for each in self._entries(entry, values, list(dict.fromkeys(named))):
                below = replace(each, value=self._all(each.value, values))
                self._put(entries, below, "")
        return replace(node, entries=entries)

    def _entries(self, entry: Entry, values: Values, names: list[str]) -> Iterator[Entry]:
        """Yield an entry once for each choice of the variables `names`."""
        absent = [name for name in names if f"{{{name}}}" not in entry.key.text]
        if absent:
            self._fault(
                f"the name `{entry.key.text}` does not hold `{{{absent[0]}}}`",
                entry.key.mark,
                "all would have one name",
                f"e.g. `{entry.key.text}_{{{absent[0]}}}`",
            )
            return
        for chosen in product(*(values[name] for name in names)):
            picked = dict(zip(names, chosen, strict=True))
            if not picked:
                yield entry
            else:
                value = self._filled(entry.value, picked)
                if self._made > MOST_NODES:
                    return
                yield Entry(self._scalar(entry.key, picked), value)

    def _put(self, entries: dict[str, Entry], entry: Entry, path: str) -> None:
        name = entry.key.text
        if name in entries and entries[name] is not entry:
            self._fault(f"`{name}` is there already", entry.key.mark, "written out by `for_each`")
            return
        entries[name] = entry

    # -- reading `for_each`

    def _values(self, node: Node, path: str) -> Values:
        """Take the variables of an entry away from it; {} when it has none or they are wrong."""
        if not isinstance(node, Mapping) or _KEY not in node:
            return {}
        at = node.entries.pop(_KEY)
        self.used = True
        found: Values = {}
        if not isinstance(at.value, Mapping) or not at.value.entries:
            self._fault("`for_each` is a mapping of names to lists", at.key.mark, "",
                        "for_each: {base: [BTC, ETH]}")  # fmt: skip
            return {}
        for entry in at.value:
            words = self._words(entry)
            if not words:
                return {}
            found[entry.key.text] = words
        together = 1
        for words in found.values():
            together *= len(words)
        if together > MOST_TOGETHER:
            self._fault(f"`for_each` makes {together} of each", at.key.mark,
                        f"at most {MOST_TOGETHER}")  # fmt: skip
            return {}
        return found

    def _words(self, entry: Entry) -> list[str]:
        name, node = entry.key.text, entry.value
        if _VARIABLE.match(name) is None:
            self._fault(f"`{name[:40]}` is no name of a variable", entry.key.mark,
                        "small letters, digits and `_`")  # fmt: skip
            return []
        items = node.items if isinstance(node, Sequence) else []
        words = [item.text for item in items if isinstance(item, Scalar)]
        good = all(_VALUE.match(word) for word in words) and len(words) == len(items)
        if not good or not 1 <= len(words) <= MOST_VALUES or len(set(words)) < len(words):
            self._fault(f"`{name}` needs a list of 1 to {MOST_VALUES} different words",
                        node.mark, "", "letters and digits: [BTC, ETH, SOL]")  # fmt: skip
            return []
        return words

    # -- filling in

    def _filled(self, node: Node, chosen: Chosen) -> Node:
        self._made += 1
        if self._made > MOST_NODES:
            if self._made == MOST_NODES + 1:
                self._fault(f"`for_each` writes out more than {MOST_NODES} values", node.mark)
            return node
        if isinstance(node, Scalar):
            return self._scalar(node, chosen)
        if isinstance(node, Sequence):
            return replace(node, items=[self._filled(item, chosen) for item in node.items])
        entries: dict[str, Entry] = {}
        for entry in node:
            key = self._scalar(entry.key, chosen)
            prose = entry.key.text in _PROSE
            value = entry.value if prose else self._filled(entry.value, chosen)
            self._put(entries, Entry(key, value), "")
        return replace(node, entries=entries)

    def _scalar(self, node: Scalar, chosen: Chosen) -> Scalar:
        text = fill(node.text, chosen)
        if text == node.text:
            return node
        source = replace(node.source, text=fill(node.source.text, chosen), exact=False)
        return replace(node, text=text, value=text, source=source)

    def _fault(self, message: str, mark: Mark, label: str = "", help: str = "") -> None:
        more = (help,) if help else ()
        self._findings.add(Diagnostic("E0203", message, mark, label, _KEY, help=more))


def fill(text: str, chosen: Chosen) -> str:
    """Put values in the place of their variables: small inside of names, elsewhere as given."""

    def put(hole: re.Match[str]) -> str:
        value = chosen.get(hole.group(1))
        if value is None:
            return hole.group()
        beside = text[hole.start() - 1 : hole.start()] + text[hole.end() : hole.end() + 1]
        return value.lower() if any(c == "_" or c.islower() for c in beside) else value

    return _HOLE.sub(put, text)
