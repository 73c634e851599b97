"""Write diagnostics: text for people (carets under the source), JSON, SARIF and CI annotations.

The text form follows the compilers that explain best: the message, the place, the lines concerned
with carets under what is wrong and dashes under what explains it, then notes and help.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from runner.base.secret import redact
from runner.lang.diagnostics import Diagnostic, Findings, Mark

MOST_SHOWN = 100
"""diagnostics of one file written out; beyond it a line says how many more there are"""

WIDEST = 180
"""characters of a source line shown; a longer one is cut around what is marked"""

FORMAT = "1.0"

_SECRET = re.compile(
    r"(?i)((?<![\w.])(?:[a-z_]*(?:api|private|access)_?key|key|[a-z_]*secret|passphrase|password)"
    r"['\"]?\s*:\s*)(?!['\"]?[\w-]*\{(?:rule|month|week|day|hour)\})([^\s{},\[\]*]+)"
)
"""a value beside a key that names a secret: the file may not have been read far enough to know.
The `key` of an order is none: it holds `{rule}` or a time."""


@dataclass(frozen=True, slots=True)
class Part:
    """A blueprint, whose text begins at line `first` of a strategy's; `note` says who uses it."""

    first: int
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its file, its lines, and which of them each line of the text came from."""

    name: str
    lines: tuple[str, ...]
    of: tuple[int, ...]

    def place(self, mark: Mark, text: str) -> Mark | None:
        """Return where a mark of the rendered text belongs; `text` is the rendered line.

        The whole line, unless that is in the text as it is in the template.
        """
        if not 1 <= mark.line <= len(self.of):
            return None
        number = min(self.of[mark.line - 1], len(self.lines))
        line = self.lines[number - 1].rstrip("\r")
        if line == text:
            return Mark(number, mark.column, mark.end)
        return Mark(number, 1, len(line) + 1)


@dataclass(frozen=True, slots=True)
class Source:
    """A file as the user named it, and its text, with that of the blueprints it uses behind it."""

    name: str
    text: str
    parts: tuple[Part, ...] = ()
    template: Template | None = None
    """what the text was rendered from"""

    def part(self, line: int) -> Part | None:
        """Return the blueprint that a line of the text belongs to."""
        return next((part for part in reversed(self.parts) if line >= part.first), None)

    def place(self, line: int) -> tuple[str, int]:
        """Return the file that a line of the text is of, and its number there."""
        part = self.part(line)
        return (self.name, line) if part is None else (part.name, line - part.first + 1)

    @property
    def file(self) -> str:
        """The file that a machine finds: of a rendered text, the template."""
        return self.name if self.template is None else self.template.name

    def found(self, mark: Mark) -> tuple[str, Mark]:
        """Return file and place for a machine to go to: of a rendered text, the template's."""
        name, line = self.place(mark.line)
        if self.template is not None and name == self.name:
            text = self.text.split("\n")[line - 1] if line <= self.text.count("\n") + 1 else ""
            written = self.template.place(mark, text.rstrip("\r"))
            return self.file, written or Mark(1, 1, 2)
        return name, Mark(line, mark.column, mark.end)


class Checked(Protocol):
    """What the writers need of a file that was checked (`spec.Checked` has it)."""

    @property
    def source(self) -> Source: ...

    @property
    def findings(self) -> Findings: ...


@dataclass(frozen=True, slots=True)
class Style:
    """ANSI colours, or nothing."""

    error: str = ""
    warning: str = ""
    accent: str = ""
    bold: str = ""
    off: str = ""


PLAIN = Style()
COLOUR = Style("\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m")


@dataclass(frozen=True, slots=True)
class _Label:
    mark: Mark
    message: str
    primary: bool


def settle(findings: Findings) -> list[Diagnostic]:
    """Order the diagnostics by place and fold those of one cause into the first, counted."""
    first: dict[str, int] = {}
    shown: list[Diagnostic] = []
    for d in findings:
        if d.cause and d.cause in first:
            at = first[d.cause]
            shown[at] = replace(shown[at], more_places=shown[at].more_places + 1 + d.more_places)
            continue
        if d.cause:
            first[d.cause] = len(shown)
        shown.append(d)
    return shown


def counts(shown: Sequence[Diagnostic]) -> tuple[int, int]:
    """Return (errors, warnings) of settled diagnostics."""
    errors = sum(1 for d in shown if d.is_error)
    return errors, len(shown) - errors


def as_text(checked: Checked, colour: bool = False) -> str:
    """Write all diagnostics of a file and the line that counts them; "" when there are none."""
    shown = settle(checked.findings)
    if not shown:
        return ""
    style = COLOUR if colour else PLAIN
    hidden = _secrets(shown)
    lines = checked.source.text.split("\n")
    parts = [_diagnostic(d, checked.source, lines, hidden, style) for d in shown[:MOST_SHOWN]]
    if len(shown) > MOST_SHOWN:
        parts.append(f"... and {len(shown) - MOST_SHOWN} more")
    parts.append(f"{checked.source.name}: {summary(shown)}")
    return redact("\n\n".join(parts)) + "\n"


def summary(shown: Sequence[Diagnostic]) -> str:
    """Say how many errors and warnings there are, leaving out what there is none of."""
    errors, warnings = counts(shown)
    parts = []
    if errors:
        parts.append(_plural(errors, "error"))
    if warnings:
        parts.append(_plural(warnings, "warning"))
    return ", ".join(parts) or "no problems"


def _plural(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _secrets(shown: Iterable[Diagnostic]) -> list[Mark]:
    return [mark for d in shown for mark in d.masked]


def _diagnostic(
    d: Diagnostic, source: Source, lines: Sequence[str], hidden: Sequence[Mark], style: Style
) -> str:
    name, number = source.place(d.mark.line)
    labels = [_Label(r.mark, r.message, False) for r in d.related]
    labels.append(_Label(d.mark, d.label, True))
    labels.sort(key=lambda label: (label.mark.line, label.mark.column))
    width = len(str(max(source.place(label.mark.line)[1] for label in labels)))
    bar = f"{' ' * width} {style.accent}|{style.off}"
    tint = style.error if d.is_error else style.warning
    word = "error" if d.is_error else "warning"
    arrow = f"{' ' * width}{style.accent}-->{style.off} {name}:{number}:{d.mark.column}"
    out = [f"{tint}{word}[{d.code}]{style.off}: {style.bold}{_headline(d)}{style.off}", arrow, bar]
    previous = 0
    for label in labels:
        if previous and label.mark.line > previous + 1:
            out.append(" " * width + "...")
        line = _masked(_line(lines, label.mark.line), label.mark.line, hidden)
        shown, mark = _window(line, label.mark)
        if label.mark.line != previous:
            where, local = source.place(label.mark.line)
            if where != name:
                out.append(f"{' ' * width}{style.accent}:::{style.off} {where}:{local}")
            out.append(f"{style.accent}{local:>{width}} |{style.off} {shown}".rstrip())
        out.append(f"{bar} {_underline(mark, label, tint, style)}".rstrip())
        previous = label.mark.line
    if d.notes or d.help:
        out.append(bar)
        sign = f"{' ' * width} {style.accent}={style.off}"
        out += [f"{sign} note: {note}" for note in d.notes]
        out += [f"{sign} help: {text}" for text in d.help]
    return "\n".join(out)


def _headline(d: Diagnostic) -> str:
    if not d.more_places:
        return d.message
    return f"{d.message} (and {d.more_places} more {'place' if d.more_places == 1 else 'places'})"


def _underline(mark: Mark, label: _Label, tint: str, style: Style) -> str:
    sign = ("^" if label.primary else "-") * max(1, mark.end - mark.column)
    text = f"{sign} {label.message}".rstrip()
    colour = tint if label.primary else style.accent
    return " " * (mark.column - 1) + f"{colour}{text}{style.off}"


def _line(lines: Sequence[str], number: int) -> str:
    if not 1 <= number <= len(lines):
        return ""
    text = lines[number - 1].rstrip("\r")
    return "".join(c if c.isprintable() or c == " " else " " for c in text)


def _masked(line: str, number: int, hidden: Sequence[Mark]) -> str:
    for mark in hidden:
        if mark.line == number:
            stars = "*" * (min(mark.end - 1, len(line)) - mark.column + 1)
            line = line[: mark.column - 1] + stars + line[mark.end - 1 :]
    return _SECRET.sub(lambda m: m.group(1) + "*" * len(m.group(2)), line)


def _window(line: str, mark: Mark) -> tuple[str, Mark]:
    """Cut a very long line around the mark; return what is shown and the mark in it."""
    if len(line) <= WIDEST:
        return line, Mark(mark.line, mark.column, min(mark.end, mark.column + WIDEST))
    start = max(0, mark.column - 1 - WIDEST // 3)
    lead = "..." if start else ""
    piece = lead + line[start : start + WIDEST] + "..."
    column = mark.column - start + len(lead)
    return piece, Mark(mark.line, column, min(mark.end - start + len(lead), len(piece) + 1))


# --- machines ------------------------------------------------------------------------------------


def as_object(checked: Checked) -> dict[str, Any]:
    """Return the JSON object of one file (`format` 1.0, language.md section 8.2)."""
    shown = settle(checked.findings)
    errors, warnings = counts(shown)
    return {
        "format": FORMAT,
        "file": checked.source.file,
        "errors": errors,
        "warnings": warnings,
        "diagnostics": [_object(d, checked.source) for d in shown],
    }


def _object(d: Diagnostic, source: Source) -> dict[str, Any]:
    name, mark = source.found(d.mark)
    out: dict[str, Any] = {
        "code": d.code,
        "severity": "error" if d.is_error else "warning",
        "message": d.message,
        "label": d.label,
        "line": mark.line,
        "column": mark.column,
        "end_column": mark.end,
        "path": d.path,
        "related": [
            {"line": at.line, "column": at.column, "message": r.message}
            for r in d.related
            for _, at in [source.found(r.mark)]
        ],
        "notes": list(d.notes),
        "help": list(d.help),
        "docs": f"runner explain {d.code}",
    }
    if name != source.file:
        out["file"] = name
    if source.template is not None and name == source.file:
        rendered = {"line": d.mark.line, "column": d.mark.column, "end_column": d.mark.end}
        out["rendered"] = rendered
    if d.more_places:
        out["more_places"] = d.more_places
    return out


def as_json(files: Sequence[Checked]) -> str:
    """Write one object; with several files, one whose `files` holds theirs."""
    if len(files) == 1:
        body = as_object(files[0])
    else:
        parts = [as_object(f) for f in files]
        body = {
            "format": FORMAT,
            "errors": sum(p["errors"] for p in parts),
            "warnings": sum(p["warnings"] for p in parts),
            "files": parts,
        }
    return redact(json.dumps(body, ensure_ascii=False)) + "\n"


def as_github(files: Sequence[Checked]) -> str:
    """Write workflow commands, which GitHub shows beside the lines of a pull request."""
    out = []
    for checked in files:
        for d in settle(checked.findings):
            kind = "error" if d.is_error else "warning"
            name, mark = checked.source.found(d.mark)
            place = f"file={_property(name)},line={mark.line},col={mark.column}"
            title = f"endColumn={mark.end},title={d.code}"
            text = "\n".join([_headline(d), *d.notes, *d.help])
            out.append(f"::{kind} {place},{title}::{_data(text)}")
    return redact("".join(line + "\n" for line in out))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def as_sarif(files: Sequence[Checked], version: str) -> str:
    """Write SARIF 2.1.0, which code scanners read."""
    results = [_result(c.source, d) for c in files for d in settle(c.findings)]
    driver = {
        "name": "runner",
        "version": version,
        "rules": [{"id": code} for code in sorted({str(r["ruleId"]) for r in results})],
    }
    body = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
        ],
    }
    return redact(json.dumps(body, ensure_ascii=False)) + "\n"


def _result(source: Source, d: Diagnostic) -> dict[str, Any]:
    return {
        "ruleId": d.code,
        "level": "error" if d.is_error else "warning",
        "message": {"text": "\n".join([_headline(d), *d.notes, *d.help])},
        "locations": [_location(source, d.mark, d.label)],
        "relatedLocations": [_location(source, r.mark, r.message) for r in d.related],
    }


def _location(source: Source, mark: Mark, message: str) -> dict[str, Any]:
    name, at = source.found(mark)
    region = {"startLine": at.line, "startColumn": at.column, "endColumn": at.end}
    place: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": name}, "region": region}
    }
    if message:
        place["message"] = {"text": message}
    return place
