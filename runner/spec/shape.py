"""Check the shape of a file against the schema: keys, kinds, words, what is not there yet.

A walk of our own over nodes, not over plain values: every finding needs the exact place of a key,
an absent key is reported once at its section, and a union's branch is chosen by what stands there
instead of reporting the failure of each. (A test holds this walk and `jsonschema` to the same
verdicts; importing it here would cost a third of the 300 ms that `validate` may take.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Dict
from typing import Any

from runner.lang.diagnostics import Diagnostic, Findings, Mark, Related
from runner.lang.nodes import Entry, Mapping, Node, Scalar, Sequence
from runner.spec.schema import Schema, resolved, root
from runner.spec.source_keys import taken_by
from runner.spec.source_plan import SourceType
from runner.spec.suggest import hint

_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}
_PLACES = {
    "bool": "a condition",
    "size": "an amount or a notional",
    "money": "a notional",
    "amount": "an amount",
    "ratio": "a ratio",
    "duration": "a duration",
    "number": "a number",
    "price": "a price",
    "bars": "a count of bars",
    "any": "an expression",
}
_VERBS_HELP = (
    "a rule has one of `trade` (opens, later closes), `order` (one order), `quote` (two-sided)"
    " and `do` (commands)"
)

_BLUEPRINT = (
    "with `inputs` it is a blueprint, which is checked where a strategy uses it;"
    " `runner explain blueprint`"
)


def check_shape(node: Node, findings: Findings) -> None:
    """Report whatever in the file is not of the schema's shape; mark it bad."""
    _Shape(findings).check(node, root(), "", node.mark)


def choose(schema: Schema, node: Node) -> Schema:
    """Return the branch of a union that fits what stands there; the first when none does."""
    schema = resolved(schema)
    branches = [resolved(b) for b in schema.get("anyOf", ())]
    if not branches:
        return schema
    fitting = (b for b in branches if _fits(b, node))
    return next(fitting, {**schema, "type": [t for b in branches for t in _types(b)]})


def _types(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _kind(node: Node) -> str:
    if isinstance(node, Mapping):
        return "object"
    if isinstance(node, Sequence):
        return "array"
    match node.value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
    return "string"


def _fits(schema: Schema, node: Node) -> bool:
    kinds, kind = _types(schema), _kind(node)
    return not kinds or kind in kinds or (kind == "integer" and "number" in kinds)


def _meant(node: Mapping, known: Dict[str, Any], path: str) -> Dict[str, Any]:
    """Return the keys that a mapping may have: of a source those of its type, where it says one."""
    kind = node.get("type")
    if not path.startswith("sources.") or path.count(".") != 1 or not isinstance(kind, Scalar):
        return known
    types = {each.value: each for each in SourceType}
    if kind.text not in types:
        return known
    taken = taken_by(types[kind.text])
    return {key: part for key, part in known.items() if key in taken}


_BEGIN_HELP = "`runner init` writes a strategy to begin from"


class _Shape:
    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def check(self, node: Node, schema: Schema, path: str, key: Mark) -> None:
        if node.bad:
            return
        schema = choose(schema, node)
        if not _fits(schema, node):
            self._wrong_kind(node, schema, path, key)
        elif isinstance(node, Mapping):
            self._mapping(node, schema, path, key)
        elif isinstance(node, Sequence):
            self._sequence(node, schema, path, key)
        else:
            self._scalar(node, schema, path)

    # --- kinds -----------------------------------------------------------------------------------

    def _wrong_kind(self, node: Node, schema: Schema, path: str, key: Mark) -> None:
        node.bad = True
        name = _last(path) or "the file"
        wanted = _wanted(schema)
        found = _KINDS.get(_kind(node), "nothing")
        empty = isinstance(node, Scalar) and node.value is None
        mark = key if empty else node.mark
        message = f"`{name}` has no value" if empty else f"`{name}` must be {wanted}"
        if not path:
            message = "a strategy file is a mapping of keys"
        label = f"expected {wanted}" if empty else f"found {found}"
        self._add("E0203", message, mark, label, path, help=_example(schema))

    def _sequence(self, node: Sequence, schema: Schema, path: str, key: Mark) -> None:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        size = len(node.items)
        if size < least or (most is not None and size > most):
            wanted = f"{least}" if least == most else f"at least {least}"
            if size >= least:
                wanted = f"at most {most}"
            message = f"`{_last(path)}` needs {wanted} entries, found {size}"
            self._add("E0203", message, key, "", path)
            node.bad = True
        item = schema.get("items")
        for i, child in enumerate(node.items):
            if isinstance(item, dict):
                self.check(child, item, f"{path}.{i}", child.mark)
        if schema.get("uniqueItems"):
            self._unique(node, path)

    def _unique(self, node: Sequence, path: str) -> None:
        seen: dict[str, Mark] = {}
        for child in node.items:
            if isinstance(child, Scalar) and not child.bad:
                if child.text in seen:
                    related = (Related(seen[child.text], "first time"),)
                    message = f"`{child.text}` stands twice in `{_last(path)}`"
                    self._add("E0203", message, child.mark, "", path, related)
                seen[child.text] = child.mark

    def _scalar(self, node: Scalar, schema: Schema, path: str) -> None:
        words = schema.get("enum")
        if words is not None and node.value not in words:
            self._not_a_word(node, schema, path)
        elif node.text in schema.get("x-later", ()):
            node.bad = True
            self._later(node.mark, f"`{_last(path)}: {node.text}`", path)
        elif (pattern := _pattern(schema)) and not re.search(pattern, node.text):
            self._bad_pattern(node, schema, path)
        elif _kind(node) == "integer" and "minimum" in schema:
            low, high = schema["minimum"], schema["maximum"]
            if not low <= int(node.text.replace("_", "")) <= high:
                node.bad = True
                label = f"from {low} to {high}"
                self._add("E0203", f"`{_last(path)}` is out of range", node.mark, label, path)
        elif isinstance(node.value, str) and len(node.text) < schema.get("minLength", 0):
            node.bad = True
            self._add("E0203", f"`{_last(path)}` is empty", node.mark, "", path)

    def _not_a_word(self, node: Scalar, schema: Schema, path: str) -> None:
        node.bad = True
        words = [str(w) for w in schema["enum"]]
        present = [w for w in words if w not in schema.get("x-later", ())]
        name = _last(path)
        code = "E0202" if name == "type" and path.count(".") == 2 else "E0203"
        message = f"`{_cut(node.text)}` is not a value of `{name}`"
        if code == "E0202":
            message = f"no type is named `{_cut(node.text)}`"
        notes = (f"it may be: {', '.join(present)}",)
        self._add(code, message, node.mark, hint(node.text, words), path, notes=notes)

    def _bad_pattern(self, node: Scalar, schema: Schema, path: str) -> None:
        node.bad = True
        name = _last(path)
        if name == "type":
            kinds = ("ratio", "number", "duration", "bool", "text", "enum", "USDT", "BTC")
            notes = ("it may be: ratio, number, duration, bool, text, enum, or a currency",)
            message = f"no type is named `{_cut(node.text)}`"
            self._add("E0202", message, node.mark, hint(node.text, kinds), path, notes=notes)
            return
        message = f"`{name}` cannot be `{_cut(node.text)}`"
        notes = (f"it must match {_pattern(schema)}",)
        self._add("E0203", message, node.mark, "", path, notes=notes, help=_example(schema))

    # --- mappings --------------------------------------------------------------------------------

    def _mapping(self, node: Mapping, schema: Schema, path: str, key: Mark) -> None:
        known: dict[str, Any] = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        for entry in node:
            name = entry.key.text
            inner = f"{path}.{name}".lstrip(".")
            if entry.key.bad:
                entry.value.bad = True
            elif name in known:
                self._known(entry, resolved(known[name]), inner)
            elif isinstance(extra, dict):
                if self._name(entry, schema, path):
                    self.check(entry.value, extra, inner, entry.key.mark)
            elif extra is False:
                self._unknown(entry, _meant(node, known, path), path)
        self._absent(node, schema, path, key)
        if "x-verbs" in schema:
            self._one_verb(node, schema["x-verbs"], path, key)

    def _known(self, entry: Entry, schema: Schema, path: str) -> None:
        if schema.get("x-later") is True:
            entry.value.bad = True
            self._later(entry.key.mark, f"`{entry.key.text}`", path)
        else:
            self.check(entry.value, schema, path, entry.key.mark)

    def _later(self, mark: Mark, what: str, path: str) -> None:
        self._add(
            "E0207",
            f"{what} is not in this version yet",
            mark,
            "known, but nothing would act on it",
            path,
            help=("leave it out; `runner explain E0207` lists what is still to come",),
        )

    def _name(self, entry: Entry, schema: Schema, path: str) -> bool:
        pattern = _pattern(schema.get("propertyNames", {}))
        if not pattern or re.search(pattern, entry.key.text):
            return True
        entry.value.bad = True
        message = f"`{_cut(entry.key.text)}` cannot be a name here"
        notes = (_rule_of_names(pattern),)
        small = entry.key.text.lower()
        label = f"did you mean `{_cut(small)}`?" if re.search(pattern, small) else ""
        self._add("E0203", message, entry.key.mark, label, path, notes=notes)
        return False

    def _unknown(self, entry: Entry, known: Dict[str, Any], path: str) -> None:
        entry.value.bad = True
        name = entry.key.text
        where = f"`{_last(path)}`" if path else "a strategy file"
        now = [k for k, s in known.items() if resolved(s).get("x-later") is not True]
        notes = (f"its keys: {', '.join(sorted(now))}",) if now else ()
        label = hint(name, known) if len(self._findings.items) < 200 else ""
        inner = f"{path}.{name}".lstrip(".")
        message = f"{where} has no key `{_cut(name)}`"
        help = (_BLUEPRINT,) if (name, path) == ("inputs", "") else ()
        self._add("E0201", message, entry.key.mark, label, inner, notes=notes, help=help)

    def _absent(self, node: Mapping, schema: Schema, path: str, key: Mark) -> None:
        absent = [k for k in schema.get("required", ()) if k not in node]
        if len(node.entries) < schema.get("minProperties", 0):
            message = f"`{_last(path)}` is empty"
            self._add("E0203", message, key, "", path, help=_example(schema))
        elif len(node.entries) > schema.get("maxProperties", 1_000_000):
            message = f"`{_last(path)}` takes one of {', '.join(schema['properties'])}"
            self._add("E0203", message, key, "", path)
        if absent:
            node.bad = node.bad or not path
            what = ", ".join(f"`{k}`" for k in absent)
            where = f"`{_last(path)}`" if path else "the file"
            help = _example(schema) if path else (_BEGIN_HELP,)
            self._add("E0203", f"{where} lacks {what}", key, "", path, help=help)

    def _one_verb(self, node: Mapping, verbs: list[str], path: str, key: Mark) -> None:
        present = [entry for entry in node if entry.key.text in verbs]
        name = _last(path)
        if not present:
            message = f"rule `{name}` has no verb"
            self._add("E0206", message, key, "", path, help=(_VERBS_HELP,))
        elif len(present) > 1:
            message = f"rule `{name}` has more than one verb"
            related = (Related(present[0].key.mark, "the first"),)
            for entry in present:
                entry.value.bad = True
            self._add("E0206", message, present[1].key.mark, "", path, related, help=(_VERBS_HELP,))

    def _add(
        self,
        code: str,
        message: str,
        mark: Mark,
        label: str,
        path: str,
        related: tuple[Related, ...] = (),
        notes: tuple[str, ...] = (),
        help: tuple[str, ...] = (),
    ) -> None:
        self._findings.add(Diagnostic(code, message, mark, label, path, related, notes, help))


def _example(schema: Schema) -> tuple[str, ...]:
    example = schema.get("x-example")
    return (f"e.g. `{example}`",) if example else ()


def _wanted(schema: Schema) -> str:
    """Say what may stand at a place: `a condition`, `a list`, `a notional or a mapping`."""
    if "x-expr" in schema:
        return _PLACES[schema["x-expr"]["type"]]
    branches = [resolved(b) for b in schema.get("anyOf", ())]
    words = [_wanted(b) for b in branches] or [_KINDS.get(k, "a value") for k in _types(schema)]
    return " or ".join(dict.fromkeys(words))


def _pattern(schema: Schema) -> str:
    """Return what a text must match; `for_each` is written out by now."""
    return str(schema.get("x-written", schema.get("pattern", "")))


def _rule_of_names(pattern: str) -> str:
    if pattern.startswith("^[a-z]"):
        return "a name is lower-case letters, digits and `_`, and begins with a letter"
    return f"it must match {pattern}"


def _last(path: str) -> str:
    parts = [p for p in path.split(".") if not p.isdigit()]
    return parts[-1] if parts else ""


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else flat[:57] + "..."
