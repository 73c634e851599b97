"""The house: imports go down, clocks and randomness have one door, no dangerous calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "runner"
FLOORS = [
    "base", "market", "lang", "spec", "engine", "exchanges", "net", "sources", "store", "sim",
    "app", "cli",
]  # fmt: skip
SIM_MAY_IMPORT = {"base", "sim"}
CLOCK_CALLS = {
    ("time", "time"), ("time", "time_ns"), ("time", "monotonic"), ("time", "monotonic_ns"),
    ("time", "perf_counter"), ("time", "perf_counter_ns"), ("random", "random"),
    ("random", "Random"), ("random", "randint"), ("random", "choice"), ("uuid", "uuid4"),
    ("datetime", "now"), ("datetime", "utcnow"), ("os", "urandom"),
}  # fmt: skip
CLOCK_MODULES = {"base/clock.py", "base/rng.py"}
FORBIDDEN_NAMES = {"eval", "exec"}
EXEC_ALLOWED = {"lang/codegen.py"}
FORBIDDEN_MODULES = {"pickle", "shelve", "marshal"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    floor = name_of(path).split("/")[0]
    if floor not in FLOORS:
        return
    for module, line in imports(ast.parse(path.read_text())):
        if not module.startswith("runner."):
            continue
        other = module.split(".")[1]
        if other not in FLOORS:
            continue
        assert FLOORS.index(other) <= FLOORS.index(floor), f"{path}:{line} imports {module}"
        if floor == "sim":
            assert other in SIM_MAY_IMPORT, f"{path}:{line}: the simulator shares no code"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_clocks_and_randomness_have_one_door_each(path: Path) -> None:
    if name_of(path) in CLOCK_MODULES:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            call = (node.func.value.id, node.func.attr)
            assert call not in CLOCK_CALLS, f"{path}:{node.lineno} calls {'.'.join(call)}"


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_dangerous_calls(path: Path) -> None:
    name = name_of(path)
    tree = ast.parse(path.read_text())
    for module, line in imports(tree):
        assert module.split(".")[0] not in FORBIDDEN_MODULES, f"{path}:{line} imports {module}"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_NAMES:
            assert name in EXEC_ALLOWED and node.func.id == "exec", f"{path}:{node.lineno}"
        for keyword in node.keywords:
            shell = keyword.arg == "shell" and getattr(keyword.value, "value", None) is True
            assert not shell, f"{path}:{node.lineno} uses shell=True"


@pytest.mark.parametrize(
    ("function", "owner"),
    [("_approve", "engine/gate.py"), ("_journaled", "store/journal.py")],
)
def test_an_order_is_approved_and_made_sendable_in_one_place_each(
    function: str, owner: str
) -> None:
    """R-01: each proof has exactly one call site."""
    calls = [
        name_of(path)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == function)
            or (isinstance(node.func, ast.Attribute) and node.func.attr == function)
        )
    ]
    assert calls == [owner]


def test_no_if_paper_in_the_engine() -> None:
    """R-41: nothing below the host knows whether fills are paper."""
    for floor in ("market", "lang", "engine"):
        for path in (ROOT / floor).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(node, "id", None) or getattr(node, "attr", None) or ""
                assert "paper" not in str(name).lower(), f"{path}:{node.lineno}"  # type: ignore[attr-defined]
