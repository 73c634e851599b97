"""Templates (`*.yaml.j2`): rendered once, in a process of their own, before reading (R-68).

Opt-in by the file's name. The child has no environment, no secrets, no files; it is killed after
50 ms of computing. What it returns is text, and is checked like any other file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGKILL, SIGPROF, SIGXCPU

from runner.lang.diagnostics import Diagnostic, Findings, Mark

SUFFIX = ".yaml.j2"
LONGEST_SOURCE = 4096
LONGEST_ANSWER = 1_000_000
PATIENCE_S = 20.0
"""for a child on a machine that is busy; what it computes is bounded by itself"""
_CHILD = Path(__file__).with_name("template_child.py")
_KILLED = frozenset({-SIGPROF, -SIGKILL, -SIGXCPU})


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered template: its text, and the template's line for each of its lines."""

    text: str
    lines: tuple[int, ...]
    template: tuple[str, ...]


def is_template(file: Path) -> bool:
    """Return whether a file is one by its name."""
    return file.name.endswith(SUFFIX)


def render(source: str, given: Mapping[str, str], findings: Findings) -> Rendered | None:
    """Render a template with the values of `--set` and `--params` as `given`; None after E0101."""
    import subprocess  # costs a `validate` without templates some of its 300 ms

    if len(source.encode()) > LONGEST_SOURCE:
        return _refuse(findings, f"a template has at most {LONGEST_SOURCE} bytes")
    if any(c < " " and c not in "\n\r\t" for c in source):
        return _refuse(findings, "a control character in the template")
    try:
        child = subprocess.run(
            [sys.executable, "-I", str(_CHILD)],
            input=json.dumps({"source": source, "given": dict(given)}).encode(),
            capture_output=True,
            env={},
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _refuse(findings, "the template takes too long")
    if child.returncode in _KILLED:
        return _refuse(findings, "the template takes too long", "killed after 50 ms of computing")
    if child.returncode or len(child.stdout) > LONGEST_ANSWER:
        return _refuse(findings, "the template cannot be rendered", "it needs too much memory")
    answer = json.loads(child.stdout)
    if "error" in answer:
        line = int(answer["line"]) or 1
        return _refuse(findings, f"the template cannot be rendered: {answer['error']}", "", line)
    return Rendered(answer["text"], tuple(answer["lines"]), tuple(source.split("\n")))


def tell_lines(findings: Findings, rendered: Rendered) -> None:
    """Add to every finding the line of the template that its line came from."""
    findings.items[:] = [
        replace(d, notes=(*d.notes, note)) if (note := _note(d.mark.line, rendered)) else d
        for d in findings.items
    ]


def _note(line: int, rendered: Rendered) -> str:
    if not 1 <= line <= len(rendered.lines):
        return ""
    number = min(rendered.lines[line - 1], len(rendered.template))
    text = rendered.template[number - 1].strip()
    return f"from line {number} of the template: `{text[:100]}`"


def _refuse(findings: Findings, message: str, label: str = "", line: int = 1) -> Rendered | None:
    findings.add(Diagnostic("E0101", message, Mark(line, 1, 2), label))
    return None
