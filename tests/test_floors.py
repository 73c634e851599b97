"""The house: imports go down, clocks and randomness have one door, no dangerous calls."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "runner"
FLOORS = [
    "base", "market", "lang", "spec", "engine", "exchanges", "net", "sources", "store", "sim",
    "app", "cli",
]  # fmt: skip
SIM_MAY_IMPORT = {"base", "sim"}
CLOCK_CALLS = set(
    "time.time time.time_ns time.monotonic time.monotonic_ns time.perf_counter "
    "time.perf_counter_ns random.random random.Random random.randint random.choice uuid.uuid4 "
    "datetime.now datetime.utcnow os.urandom".split()
)
CLOCK_MODULES = {"base/clock.py", "base/rng.py"}
FORBIDDEN_NAMES = {"eval", "exec"}
EXEC_ALLOWED = {"lang/codegen.py"}
FORBIDDEN_MODULES = {"pickle", "shelve", "marshal"}
PROOFS = {"_approve", "_journaled"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@dataclass
class Facts:
    """What a module imports, calls and names, each with its line."""

    imports: list[tuple[str, int]] = field(default_factory=list)
    calls: list[tuple[str, int]] = field(default_factory=list)
    """of plain names and of `owner.name`"""
    shells: list[int] = field(default_factory=list)
    proofs: list[str] = field(default_factory=list)
    """each mention of a maker of proofs outside an import"""
    paper: list[int] = field(default_factory=list)

    def take(self, node: ast.AST) -> None:
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            self.imports += [(alias.name, line) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            self.imports.append((node.module, line))
            assert all(a.asname is None for a in node.names if a.name in PROOFS), line
        elif isinstance(node, ast.Call):
            self._call(node)
        elif isinstance(node, ast.Name):
            self._name(node.id, line)
        elif isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id == "self"
            self._name("" if own and node.attr in PROOFS else node.attr, line)

    def _call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name):
            self.calls.append((node.func.id, node.lineno))
        elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            self.calls.append((f"{node.func.value.id}.{node.func.attr}", node.lineno))
        for keyword in node.keywords:
            if keyword.arg == "shell" and getattr(keyword.value, "value", None) is True:
                self.shells.append(node.lineno)

    def _name(self, name: str, line: int) -> None:
        if name in PROOFS:
            self.proofs.append(name)
        if "paper" in name.lower():
            self.paper.append(line)


@cache
def facts(path: Path) -> Facts:
    """Read a module once for all tests."""
    found = Facts()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        found.take(node)
    return found


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    floor = name_of(path).split("/")[0]
    if floor not in FLOORS:
        return
    for module, line in facts(path).imports:
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
    if name_of(path) not in CLOCK_MODULES:
        assert [call for call in facts(path).calls if call[0] in CLOCK_CALLS] == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_dangerous_calls(path: Path) -> None:
    allowed = {"exec"} if name_of(path) in EXEC_ALLOWED else set()
    found = facts(path)
    assert [i for i in found.imports if i[0].split(".")[0] in FORBIDDEN_MODULES] == []
    assert [call for call in found.calls if call[0] in FORBIDDEN_NAMES - allowed] == []
    assert found.shells == [], f"{path} uses shell=True"


@pytest.mark.parametrize(
    ("function", "owner"),
    [("_approve", "engine/gate.py"), ("_journaled", "store/journal.py")],
)
def test_an_order_is_approved_and_made_sendable_in_one_place_each(
    function: str, owner: str
) -> None:
    """R-01: each proof has exactly one call site, and nobody else so much as names it."""
    assert function in PROOFS
    uses = [name_of(path) for path in modules() for name in facts(path).proofs if name == function]
    assert uses == [owner]
    assert sum(call == function for call, _ in facts(ROOT / owner).calls) == 1


def test_no_if_paper_in_the_engine() -> None:
    """R-41: nothing below the host knows whether fills are paper."""
    for floor in ("market", "lang", "engine"):
        for path in (ROOT / floor).rglob("*.py"):
            assert facts(path).paper == [], path
