"""Read `params:` and put values in force: `--set`, then `--params`, then `env:`, then `default`.

A wrong value in the file is a finding; one on the command line a `UsageError` (exit 2), one in the
environment a `WorldError` (exit 3): each is the fault of another place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace
from pathlib import Path

from runner.base.errors import UsageError, WorldError
from runner.lang import types
from runner.lang.check import Want, check
from runner.lang.diagnostics import Findings, Mark, Text
from runner.lang.display import show
from runner.lang.nodes import Mapping, Node, Scalar, Sequence
from runner.lang.reader import decode, read
from runner.lang.scope import ParamScope, Scope
from runner.lang.types import Sort, Type
from runner.spec.context import Context, fold, section, text
from runner.spec.plan import ParamPlan
from runner.spec.suggest import hint, nearest

Value = float | str | bool

_NAMED_TYPES = {
    "ratio": types.RATIO,
    "number": types.NUMBER,
    "duration": types.DURATION,
    "bool": types.BOOL,
    "text": types.TEXT,
}
_GIVEN = re.compile(r"\bgiven(?:\.|\[['\"])(\w+)")
_EXAMPLES = {"ratio": "15bps", "number": "2.5", "duration": "250ms", "bool": "true"}


@dataclass(frozen=True, slots=True)
class Given:
    """Values from outside the file, as text."""

    sets: Dict[str, str]
    file: Dict[str, str]
    file_name: str
    environ: Dict[str, str]
    read: frozenset[str] = frozenset()
    """names that a template reads as `given.NAME`: they need not be parameters of the result"""

    def of_template(self, template: str) -> Given:
        """Return the same values for a file that was rendered with them."""
        return replace(self, read=frozenset(_GIVEN.findall(template)))


def read_params(root: Mapping, given: Given, ctx: Context) -> dict[str, ParamPlan]:
    """Read the section; fill `ctx.values` and the scope's params."""
    plans: dict[str, ParamPlan] = {}
    scopes: dict[str, ParamScope] = {}
    params = section(root, "params")
    _only_known(params, given)
    for entry in params:
        name = entry.key.text
        if isinstance(entry.value, Mapping) and not entry.key.bad:
            ctx.free_name(name, entry.key.mark, "params")
            scope, shown = _param(name, entry.value, given, ctx)
            scopes[name] = scope
            if scope.default is not None:
                ctx.values[name] = scope.default
                kind = text(entry.value, "type") or ""
                plans[name] = ParamPlan(name, kind, shown, scope.default)
        else:
            scopes[name] = ParamScope(name, types.UNKNOWN, None)
    ctx.scope = Scope(
        params=scopes, pegs=ctx.scope.pegs, sources=ctx.scope.sources, exchanges={}, rules={}
    )
    return plans


def _param(name: str, node: Mapping, given: Given, ctx: Context) -> tuple[ParamScope, str]:
    path = f"params.{name}"
    type_ = _type(node, ctx, path)
    default = _in_file(node.get("default"), type_, ctx, f"{path}.default")
    low, high = read_range(node, type_, ctx, path)
    bounds = (low, high)
    at = node.get("default")
    if default is not None and at is not None and not _inside(default, bounds):
        label = f"outside of the range {_range_text(node)}"
        ctx.add("E0203", f"the default of `{name}` is outside of its range", at.mark, label, path)
    shown = at.text if isinstance(at, Scalar) else ""
    outer = _from_outside(name, node, type_, bounds, given)
    if outer is not None and default is not None:
        default, shown = outer
    return ParamScope(name, type_, default, low, high), shown


def _type(node: Mapping, ctx: Context, path: str) -> Type:
    kind = text(node, "type")
    if kind is None:
        return types.UNKNOWN
    if kind == "enum":
        words = node.get("values")
        if not isinstance(words, Sequence):
            if "values" not in node:
                message = "an `enum` needs `values`, the words it may be"
                ctx.add("E0203", message, node.key("type"), "", path)
            return types.TEXT
        return types.one_of(w.text for w in words.items if isinstance(w, Scalar))
    if kind in _NAMED_TYPES:
        return _NAMED_TYPES[kind]
    return types.amount(ctx.scope.currency(kind))


def read_range(
    node: Mapping, type_: Type, ctx: Context, path: str
) -> tuple[float | None, float | None]:
    at = node.get("range")
    if not isinstance(at, Sequence) or at.bad or len(at.items) != 2:
        return None, None
    if type_.sort is not Sort.NUMERIC:
        ctx.add("E0203", "only a number can have a range", node.key("range"), "", path)
        return None, None
    ends = [_in_file(item, type_, ctx, f"{path}.range") for item in at.items]
    low, high = (e if isinstance(e, float) else None for e in ends)
    if low is not None and high is not None and low > high:
        ctx.add("E0203", "a range goes from the smaller to the larger", at.mark, "", path)
        return None, None
    return low, high


def _range_text(node: Mapping) -> str:
    at = node.get("range")
    assert isinstance(at, Sequence)
    return " to ".join(i.text for i in at.items if isinstance(i, Scalar))


def _in_file(node: Node | None, type_: Type, ctx: Context, path: str) -> Value | None:
    """Read a literal of the file; None after a finding."""
    if not isinstance(node, Scalar) or node.bad or type_.unknown:
        return None
    if type_.sort is Sort.TEXT:
        if type_.choices and node.text not in type_.choices:
            words = f"it may be: {', '.join(type_.choices)}"
            label = hint(node.text, type_.choices)
            ctx.add("E0203", f"no value `{node.text}`", node.mark, label, path, notes=(words,))
            return None
        return node.text
    if type_ == types.BOOL and isinstance(node.value, bool):
        return node.value
    return _literal(node.source, type_, ctx.findings, path)


def _literal(source: Text, type_: Type, findings: Findings, path: str) -> Value | None:
    if type_ == types.BOOL and source.text in ("true", "false"):
        return source.text == "true"
    names = [name for name, _ in type_.dims if name not in (types.SECONDS, types.BARS)]
    scope = Scope(pegs={name: name for name in names})
    expr = check(source, scope, Want((type_,), str(type_)), findings, path)
    return None if expr is None else fold(expr, {})


def check_value(name: str, node: Node, ctx: Context, path: str) -> bool:
    """Check a value that the file gives a param elsewhere (the `set` of a test)."""
    param = ctx.scope.params[name]
    value = _in_file(node, param.type, ctx, path)
    if value is None:
        return False
    if _inside(value, (param.low, param.high)):
        return True
    message = f"the value of `{name}` is outside of its range"
    ctx.add("E0203", message, node.mark, "", path)
    return False


def _inside(value: Value, bounds: tuple[float | None, float | None]) -> bool:
    low, high = bounds
    if not isinstance(value, float):
        return True
    return (low is None or value >= low - 1e-12) and (high is None or value <= high + 1e-12)


# --- values from outside -------------------------------------------------------------------------


def _from_outside(
    name: str, node: Mapping, type_: Type, bounds: tuple[float | None, float | None], given: Given
) -> tuple[Value, str] | None:
    variable = text(node, "env") or ""
    if name in given.sets:
        what, value = f"--set {name}", given.sets[name]
    elif name in given.file:
        what, value = f"{given.file_name}: {name}", given.file[name]
    elif variable and given.environ.get(variable):
        what, value = f"environment variable {variable}", given.environ[variable]
    else:
        return None
    try:
        return _outer(what, value, type_, bounds), value
    except UsageError as error:
        if what.startswith("environment"):
            raise WorldError(str(error)) from None
        raise


def _outer(what: str, value: str, type_: Type, bounds: tuple[float | None, float | None]) -> Value:
    if type_.sort is Sort.TEXT:
        if type_.choices and value not in type_.choices:
            raise UsageError(f"{what}: `{value}` is not one of {', '.join(type_.choices)}")
        return value
    findings = Findings()
    found = _literal(Text(value, Mark(1, 1, len(value) + 1)), type_, findings, what)
    if found is None:
        reason = next(iter(findings)).message if findings.items else f"not a {type_}"
        raise UsageError(f"{what}: {reason} (a value like {_example(type_)})")
    if not _inside(found, bounds):
        low, high = ("" if b is None else show(b, type_) for b in bounds)
        raise UsageError(f"{what}: {value} is outside of the parameter's range [{low}, {high}]")
    return found


def _example(type_: Type) -> str:
    return _EXAMPLES.get(str(type_), f"500 {type_.currency}" if type_.currency else "2.5")


def _only_known(params: Mapping, given: Given) -> None:
    for what, names in (("--set", given.sets), (given.file_name, given.file)):
        for name in names:
            if name not in params and name not in given.read:
                meant = nearest(name, params.entries)
                more = f"; did you mean `{meant}`?" if meant else ""
                raise UsageError(f"{what}: the strategy has no parameter `{name}`{more}")


def read_file(path: Path) -> dict[str, str]:
    """Read a `--params` file: a YAML mapping of names to values. UsageError when it is not one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"--params {path}: {error.strerror or error}") from None
    findings = Findings()
    source = decode(data, findings)
    node = None if source is None else read(source, findings)
    for found in findings:
        raise UsageError(f"--params {path}:{found.mark.line}: {found.message}")
    if not isinstance(node, Mapping):
        raise UsageError(f"--params {path}: it must be a mapping of parameters to values")
    values = {}
    for entry in node:
        if not isinstance(entry.value, Scalar) or entry.value.value is None:
            line = entry.key.mark.line
            raise UsageError(f"--params {path}:{line}: `{entry.key.text}` must have one value")
        values[entry.key.text] = entry.value.text
    return values
