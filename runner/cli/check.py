"""The commands that need no network: validate, plan, explain, schema.

Diagnostics go to standard error, results to standard output (`--format json` and its like are the
result). This module imports nothing that a run would need: `validate` must answer in 300 ms.
"""

from __future__ import annotations

import json as json_
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runner import __version__, spec
from runner.base.errors import UsageError
from runner.lang import render

FOLDER = "strategies"


def validate(
    files: Sequence[str],
    format: str,
    deny_warnings: bool,
    sets: Sequence[str],
    params: Path | None,
    online: bool = False,
) -> int:
    """Check files, folders or `-`; without any, `strategies/`. Return 0 clean, 1 problems."""
    values = read_sets(sets)
    checked = [_load(name, values, params) for name in strategy_files(files)]
    if online:
        from runner.cli.online import add_online

        for one in checked:
            add_online(one)
    if format == "json":
        sys.stdout.write(render.as_json(checked))
    elif format == "sarif":
        sys.stdout.write(render.as_sarif(checked, __version__))
    elif format == "github":
        sys.stdout.write(render.as_github(checked))
    else:
        for one in checked:
            _print(one)
    errors = sum(one.findings.errors for one in checked)
    warnings = sum(one.findings.warnings for one in checked)
    return 1 if errors or (deny_warnings and warnings) else 0


def plan(file: str, sets: Sequence[str], params: Path | None, json: bool) -> int:
    """Say what would run; return 1 after diagnostics when the file has errors."""
    from runner.cli import plan_text

    checked = _load(file, read_sets(sets), params)
    if checked.plan is None:
        print_findings(checked)
        return 1
    if json:
        sys.stdout.write(json_.dumps(plan_text.as_object(checked.plan), ensure_ascii=False) + "\n")
    else:
        print_findings(checked)
        sys.stdout.write(plan_text.as_text(checked.plan))
    return 0


def graph(file: str, sets: Sequence[str], params: Path | None, format: str) -> int:
    """Draw the wiring; return 1 after diagnostics when the file has errors."""
    from runner.app import wiring

    checked = _load(file, read_sets(sets), params)
    print_findings(checked)
    if checked.plan is None:
        return 1
    draw = {"mermaid": wiring.mermaid, "dot": wiring.dot, "svg": wiring.svg}[format]
    sys.stdout.write(draw(checked.plan))
    return 0


def explain(topic: str) -> int:
    """Print the page of a topic, without one what there are pages of; UsageError for others."""
    from runner.cli import pages

    sys.stdout.write(pages.page(topic.strip()) if topic.strip() else pages.overview())
    return 0


def schema(key: str | None, check: bool) -> int:
    """Print the schema or the part of a key; with `check`, compare `schemas/` with ours."""
    from runner.spec import schema as schemas

    if check:
        return _up_to_date(schemas.file(), Path("schemas") / schemas.NAME)
    if key is None:
        sys.stdout.write(schemas.file().read_text(encoding="utf-8"))
        return 0
    found = schemas.find(key)
    if not found:
        raise UsageError(f"no key `{key}`; keys are paths such as rules.trade.hedge")
    body = dict(found)
    shown = body if len(body) > 1 else next(iter(body.values()))
    sys.stdout.write(json_.dumps(shown, indent=2, ensure_ascii=False) + "\n")
    return 0


def _up_to_date(ours: Path, theirs: Path) -> int:
    """Check the schema against draft-07, and the one editors use here against ours."""
    import jsonschema  # 120 ms, which `validate` does not owe

    jsonschema.Draft7Validator.check_schema(json_.loads(ours.read_bytes()))
    if not theirs.is_file():
        raise UsageError(f"there is no {theirs} here; `runner schema > {theirs}` writes it")
    if json_.loads(ours.read_bytes()) == json_.loads(theirs.read_bytes()):
        sys.stdout.write(f"{theirs} is up to date\n")
        return 0
    sys.stderr.write(f"{theirs} is out of date: `runner schema > {theirs}` writes it anew\n")
    return 1


# --- files ---------------------------------------------------------------------------------------


def read_sets(sets: Sequence[str]) -> dict[str, str]:
    """Split `name=value` texts; UsageError for one that is not."""
    values = {}
    for item in sets:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {item}: write name=value")
        values[name.strip()] = value.strip()
    return values


def strategy_files(names: Sequence[str]) -> list[str]:
    """Return the files meant by names of files and folders (none: `strategies/`), `-` as it is."""
    if not names:
        if not Path(FOLDER).is_dir():
            raise UsageError(f"no file given, and there is no folder {FOLDER}/ here")
        names = [FOLDER]
    found: list[str] = []
    for name in names:
        if name != "-" and Path(name).is_dir():
            inside = sorted(
                p for p in Path(name).rglob("*.y*ml*") if p.name.endswith((".yaml", ".yml", ".j2"))
            )
            if not inside:
                raise UsageError(f"{name}: no *.yaml file in it")
            found += [str(path) for path in inside]
        else:
            found.append(name)
    return found


def render_template(file: str, sets: Sequence[str], params: Path | None) -> int:
    """Print what a template becomes; 1 after diagnostics when it cannot be rendered."""
    from runner.lang.diagnostics import Findings
    from runner.spec import template
    from runner.spec.params import read_file

    path = Path(file)
    if not template.is_template(path):
        raise UsageError(f"{file}: a template is a file named *{template.SUFFIX}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (isinstance(error, OSError) and error.strerror) or error
        raise UsageError(f"{file}: {why}") from None
    given = {**(read_file(params) if params else {}), **read_sets(sets)}
    findings = Findings()
    found = template.render(text, given, findings)
    if found is None:
        print_findings(spec.Checked(None, findings, render.Source(file, text)))
        return 1
    sys.stdout.write(found.text)
    return 0


def _load(name: str, values: dict[str, str], params: Path | None) -> spec.Checked:
    if name == "-":
        data = sys.stdin.buffer.read(2_000_000)  # over 1 MiB is refused by the loader
        return spec.load(data, sets=values, params_file=params, name="<stdin>")
    return spec.load(Path(name), sets=values, params_file=params)


def _print(checked: spec.Checked) -> None:
    print_findings(checked)
    if checked.plan is not None and not checked.findings.errors:
        warnings = checked.findings.warnings
        found = "" if not warnings else " with warnings"
        rules, markets = len(checked.plan.rules), len(checked.plan.markets)
        sys.stdout.write(f"{checked.source.name}: ok{found} ({_count(rules, 'rule')}, ")
        sys.stdout.write(f"{_count(markets, 'market')})\n")


def print_findings(checked: spec.Checked) -> None:
    """Write the diagnostics of a file to standard error, in colour on a terminal."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    sys.stderr.write(render.as_text(checked, colour=colour))


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
